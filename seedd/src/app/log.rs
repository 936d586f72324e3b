//! Keeps the event log bounded: hourly signed checkpoints, and deletion of the oldest rows before one.

use cluster_seed::log::LogCheckpoint;
use cluster_seed::seal::Sealed;
use host::clock::{now, steady};
use std::sync::atomic::Ordering;
use web::api::ApiError;

use super::{App, unexpected};

/// Seconds between two checkpoints.
const EVERY: u64 = 3_600;
/// Number of rows at which the oldest are deleted, and number of rows kept then: about 200 MB with indexes.
const MOST_ROWS: i64 = 500_000;
const KEPT_ROWS: i64 = 400_000;

impl App {
    /// Called by the watchdog: writes a checkpoint if one is due, and does a bounded part of a deletion.
    pub fn keep_log(&self) -> Result<(), ApiError> {
        let last = self.checkpointed.load(Ordering::Relaxed);
        if last == 0 || steady().saturating_sub(last) >= EVERY {
            self.sign_log()?;
        }
        self.bound_log(MOST_ROWS, KEPT_ROWS)
    }

    /// Signs the current log. Does nothing while the seed is sealed, or if nothing was written since the last checkpoint.
    pub fn sign_log(&self) -> Result<(), ApiError> {
        let signed = self.with_keys(|keys| {
            self.write(|tx| {
                let Some((event, hash)) = tx.log_head()? else { return Ok(()) };
                let hash = hash.parse().map_err(|e: cluster_seed::ids::IdError| unexpected(e))?;
                let sealed = Sealed::sign(&LogCheckpoint { event, hash, at: now() }, &keys.site).map_err(unexpected)?;
                Ok(tx.add_checkpoint(event, &sealed)?)
            })
        });
        match signed {
            Ok(()) => self.checkpointed.store(steady().max(1), Ordering::Relaxed),
            Err(ApiError::Sealed) => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Deletes the oldest rows once there are more than `most`, up to the newest checkpoint that leaves `keep` rows.
    pub fn bound_log(&self, most: i64, keep: i64) -> Result<(), ApiError> {
        let gone = self.store.write(|tx| {
            if tx.log_rows()? > most
                && let Some(event) = tx.prunable(keep)?
            {
                tx.set_log_floor(event)?;
            }
            tx.prune_log()
        })?;
        if gone > 0 {
            tracing::info!(rows = gone, "oldest rows of the event log deleted up to a signed checkpoint");
        }
        Ok(())
    }
}
