//! Bounds of the event log: checkpoints that the site key signed, and the deletion of what is behind one.

use cluster_seed::log::LogCheckpoint;
use cluster_seed::seal::{Sealed, VerifyingKey, key_from_text};
use rusqlite::{OptionalExtension as _, params};
use serde::Serialize;

use super::{StoreError, Tx};
use crate::setting;

/// Every checkpoint of the last two days is kept, one of each day after that: both counted in checkpoints.
const RECENT: usize = 48;
/// Most checkpoints kept.
const MOST: usize = 448;
/// Seconds between two that are kept once they are not recent any more.
const APART: u64 = 86_400;
/// Rows deleted in one transaction: others wait for it.
const PRUNED_AT_ONCE: i64 = 20_000;

/// A row of the log as it is exported. `hash` is the SHA-256 of the previous row's hash and these fields, each as
/// `LENGTH:TEXT;`, in the order previous, at, kind, text, machine, enrollment, actor, and facts where there are any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainedRow {
    pub id: i64,
    /// Unix milliseconds.
    pub at: u64,
    pub kind: String,
    pub text: String,
    pub machine: Option<i64>,
    pub enrollment: Option<String>,
    pub actor: Option<String>,
    /// JSON, as it was hashed.
    pub facts: Option<String>,
    pub hash: String,
}

fn key(event: i64) -> String {
    format!("{}{event:019}", setting::CHECKPOINT)
}

/// A checkpoint under the key that it claims: what it says, not who said it. See [`Tx::broken_checkpoint`].
fn read(text: &str) -> Result<LogCheckpoint, StoreError> {
    let corrupt = || StoreError::Corrupt { what: "log.checkpoint" };
    let sealed: Sealed<LogCheckpoint> = serde_json::from_str(text).map_err(|_| corrupt())?;
    let key = key_from_text(sealed.claimed_key()).map_err(|_| corrupt())?;
    sealed.open(&key).map_err(|_| corrupt())
}

impl Tx<'_> {
    /// Number of the event up to which rows were deleted, and its hash; `(0, "")` if none was.
    pub(super) fn log_floor(&self) -> Result<(i64, String), StoreError> {
        let corrupt = || StoreError::Corrupt { what: "log.floor" };
        let Some(text) = self.setting(setting::LOG_FLOOR)? else { return Ok((0, String::new())) };
        let floor = text.parse().map_err(|_| corrupt())?;
        let checkpoint = self.checkpoint(floor)?.ok_or_else(corrupt)?;
        Ok((floor, checkpoint.hash.to_string()))
    }

    fn checkpoint(&self, event: i64) -> Result<Option<LogCheckpoint>, StoreError> {
        self.setting(&key(event))?.map(|text| read(&text)).transpose()
    }

    /// Every checkpoint, the oldest first.
    pub fn checkpoints(&self) -> Result<Vec<Sealed<LogCheckpoint>>, StoreError> {
        let corrupt = |_| StoreError::Corrupt { what: "log.checkpoint" };
        self.settings_under(setting::CHECKPOINT)?.iter().map(|(_, text)| serde_json::from_str(text).map_err(corrupt)).collect()
    }

    /// The newest checkpoint as the site signed it, and how many there are.
    pub fn newest_checkpoint(&self) -> Result<(Option<Sealed<LogCheckpoint>>, usize), StoreError> {
        let all = self.settings_under(setting::CHECKPOINT)?;
        let newest = all.last().map(|(_, text)| serde_json::from_str(text)).transpose();
        Ok((newest.map_err(|_| StoreError::Corrupt { what: "log.checkpoint" })?, all.len()))
    }

    /// The first checkpoint that covers an event.
    pub fn checkpoint_over(&self, event: i64) -> Result<Option<Sealed<LogCheckpoint>>, StoreError> {
        // Names have the number in 19 digits, so their order is that of the numbers.
        let first = key(event);
        let found = self.settings_under(setting::CHECKPOINT)?.into_iter().find(|(name, _)| *name >= first);
        let found = found.map(|(_, text)| serde_json::from_str(&text)).transpose();
        found.map_err(|_| StoreError::Corrupt { what: "log.checkpoint" })
    }

    /// Number of the oldest event that is kept; 0 if there is none.
    pub fn oldest_event(&self) -> Result<i64, StoreError> {
        Ok(self.tx.query_row("SELECT coalesce(min(id), 0) FROM event", [], |r| r.get(0))?)
    }

    /// Number and hash of the newest event, for a checkpoint.
    pub fn log_head(&self) -> Result<Option<(i64, String)>, StoreError> {
        let newest = "SELECT id, hash FROM event ORDER BY id DESC LIMIT 1";
        Ok(self.tx.query_row(newest, [], |r| Ok((r.get(0)?, r.get(1)?))).optional()?)
    }

    /// Rows after event `after` with everything that their hashes cover, at most `limit`.
    pub fn chained_rows(&self, after: i64, limit: u32) -> Result<Vec<ChainedRow>, StoreError> {
        let mut q = self.tx.prepare_cached(
            "SELECT id, at, kind, text, machine, enrollment, actor, facts, hash FROM event WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let rows = q.query_map(params![after, limit], |r| {
            let (id, at, kind, text) = (r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?);
            let (machine, enrollment, actor) = (r.get(4)?, r.get(5)?, r.get(6)?);
            Ok(ChainedRow { id, at, kind, text, machine, enrollment, actor, facts: r.get(7)?, hash: r.get(8)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Rows in the log.
    pub fn log_rows(&self) -> Result<i64, StoreError> {
        Ok(self.last_event()? - self.log_floor()?.0)
    }

    /// Keeps a checkpoint, and thins those that are no longer recent.
    pub fn add_checkpoint(&self, event: i64, sealed: &Sealed<LogCheckpoint>) -> Result<(), StoreError> {
        let text = serde_json::to_string(sealed).map_err(|_| StoreError::Corrupt { what: "log.checkpoint" })?;
        self.set(&key(event), &text)?;
        let floor = self.log_floor()?.0;
        let all = self.settings_under(setting::CHECKPOINT)?;
        let all = all.iter().map(|(_, text)| read(text)).collect::<Result<Vec<_>, _>>()?;
        let old = all.len().saturating_sub(RECENT);
        let (mut kept, mut last) = (all.len() - old, 0);
        // The newest of the old ones first, so that the number kept is bounded from the near end.
        for c in all[..old].iter().rev() {
            let apart = last == 0 || c.at + APART <= last;
            if c.event == floor || (apart && kept < MOST) {
                (kept, last) = (kept + 1, c.at);
            } else {
                self.unset(&key(c.event))?;
            }
        }
        Ok(())
    }

    /// The newest checkpoint that leaves at least `keep` rows, if rows before it can be deleted.
    pub fn prunable(&self, keep: i64) -> Result<Option<i64>, StoreError> {
        let (last, floor) = (self.last_event()?, self.log_floor()?.0);
        let events = self.settings_under(setting::CHECKPOINT)?;
        let events = events.iter().filter_map(|(k, _)| k[setting::CHECKPOINT.len()..].parse::<i64>().ok());
        Ok(events.filter(|e| *e > floor && *e <= last - keep).max())
    }

    /// Moves the floor to a checkpoint: from then on the chain begins there.
    pub fn set_log_floor(&self, event: i64) -> Result<(), StoreError> {
        self.checkpoint(event)?.ok_or(StoreError::NotFound("checkpoint"))?;
        self.set(setting::LOG_FLOOR, &event.to_string())
    }

    /// Deletes rows behind the floor, a bounded number; returns how many.
    pub fn prune_log(&self) -> Result<usize, StoreError> {
        let floor = self.log_floor()?.0;
        let sql = "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE id <= ?1 ORDER BY id LIMIT ?2)";
        Ok(self.tx.execute(sql, params![floor, PRUNED_AT_ONCE])?)
    }

    /// The first checkpoint that the site key did not sign, or whose event has another hash now.
    pub fn broken_checkpoint(&self, site: &VerifyingKey) -> Result<Option<i64>, StoreError> {
        let floor = self.log_floor()?.0;
        let mut hash = self.tx.prepare_cached("SELECT hash FROM event WHERE id = ?1")?;
        for (name, text) in self.settings_under(setting::CHECKPOINT)? {
            let named = name[setting::CHECKPOINT.len()..].parse().unwrap_or_default();
            let sealed: Result<Sealed<LogCheckpoint>, _> = serde_json::from_str(&text);
            let Some(c) = sealed.ok().and_then(|s| s.open(site).ok()).filter(|c| c.event == named) else {
                return Ok(Some(named));
            };
            let row: Option<String> = hash.query_row([c.event], |r| r.get(0)).optional()?;
            let gone = c.event <= floor && row.is_none();
            if !gone && row.as_deref() != Some(c.hash.to_string().as_str()) {
                return Ok(Some(c.event));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use cluster_seed::events::EventKind;
    use cluster_seed::ids::Digest;
    use cluster_seed::seal::SigningKey;

    use super::super::Store;
    use super::super::events::NewEvent;
    use super::*;

    fn site() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn write(store: &Store, count: u64) {
        let done: Result<(), StoreError> = store.write(|tx| {
            for n in 0..count {
                tx.event(n, &NewEvent::new(EventKind::SeedStarted, "started"))?;
            }
            Ok(())
        });
        done.unwrap();
    }

    fn sign(store: &Store, at: u64, by: &SigningKey) -> i64 {
        let done: Result<i64, StoreError> = store.write(|tx| {
            let (event, hash) = tx.log_head()?.unwrap();
            let hash: Digest = hash.parse().unwrap();
            tx.add_checkpoint(event, &Sealed::sign(&LogCheckpoint { event, hash, at }, by).unwrap())?;
            Ok(event)
        });
        done.unwrap()
    }

    #[test]
    fn rows_behind_a_checkpoint_can_go_and_the_rest_still_proves_itself() {
        let store = Store::in_memory().unwrap();
        write(&store, 50);
        assert_eq!(sign(&store, 10, &site()), 50);
        write(&store, 30);
        assert_eq!(store.read(|tx| tx.prunable(31)).unwrap(), None, "too near");
        assert_eq!(store.read(|tx| tx.prunable(30)).unwrap(), Some(50));
        let gone: Result<usize, StoreError> = store.write(|tx| {
            tx.set_log_floor(50)?;
            tx.prune_log()
        });
        assert_eq!(gone.unwrap(), 50);
        assert_eq!(store.read(|tx| tx.events_after(0, 100)).unwrap()[0].id, 51);
        assert_eq!((store.read(|tx| tx.broken_event()).unwrap(), store.read(|tx| tx.log_rows()).unwrap()), (None, 30));
        assert_eq!(store.read(|tx| tx.broken_checkpoint(&site().verifying_key())).unwrap(), None);
        assert_eq!(store.read(|tx| tx.oldest_event()).unwrap(), 51);
        let over = |event| store.read(|tx| tx.checkpoint_over(event)).unwrap();
        let open = |sealed: Sealed<LogCheckpoint>| sealed.open(&site().verifying_key()).unwrap().event;
        assert_eq!((over(50).map(open), over(51).map(|_| ())), (Some(50), None));
        let (newest, count) = store.read(|tx| tx.newest_checkpoint()).unwrap();
        assert_eq!((newest.map(open), count), (Some(50), 1));
        let deleted: Result<usize, StoreError> = store.write(|tx| Ok(tx.tx.execute("DELETE FROM event WHERE id = 51", [])?));
        assert!(deleted.is_err(), "in front of the checkpoint every row is kept");
        let floor: Result<(), StoreError> = store.write(|tx| tx.set_log_floor(60));
        assert!(floor.is_err(), "a floor is a checkpoint");
    }

    #[test]
    fn a_log_that_was_computed_again_does_not_fit_its_checkpoints() {
        let store = Store::in_memory().unwrap();
        write(&store, 3);
        let at = sign(&store, 10, &site());
        let other = Store::in_memory().unwrap();
        let done: Result<(), StoreError> = other.write(|tx| {
            for n in 0..3 {
                tx.event(n, &NewEvent::new(EventKind::SeedStarted, "another story"))?;
            }
            let kept = store.read(|tx| tx.setting(&key(at)))?.unwrap();
            tx.set(&key(at), &kept)
        });
        done.unwrap();
        assert_eq!(other.read(|tx| tx.broken_event()).unwrap(), None, "the chain itself fits");
        assert_eq!(other.read(|tx| tx.broken_checkpoint(&site().verifying_key())).unwrap(), Some(at));
        let forged = sign(&other, 10, &SigningKey::from_bytes(&[8; 32]));
        assert_eq!(other.read(|tx| tx.broken_checkpoint(&site().verifying_key())).unwrap(), Some(forged));
    }

    #[test]
    fn checkpoints_of_years_are_thinned_and_the_floor_stays() {
        let store = Store::in_memory().unwrap();
        for hour in 0..2_000u64 {
            write(&store, 1);
            sign(&store, 1 + hour * 3_600, &site());
            if hour == 5 {
                let done: Result<(), StoreError> = store.write(|tx| tx.set_log_floor(6));
                done.unwrap();
            }
        }
        let kept = store.read(|tx| tx.checkpoints()).unwrap().len();
        assert!((RECENT..=RECENT + 2_000 / 24 + 2).contains(&kept), "{kept}");
        assert_eq!(store.read(|tx| tx.log_floor()).unwrap().0, 6);
    }
}
