//! The seed's clock in the web interface.

use cluster_seed::events::EventKind;
use host::clock::now_ms;
use site::hint;
use site::store::events::NewEvent;
use web::api::{ApiError, ClockView};

use super::{App, unexpected};
use crate::clock::{self, PROGRAM_DATE, tool};

/// Latest time that can be set (2200-01-01), in Unix seconds.
const LATEST: u64 = 7_258_118_400;

/// Unix milliseconds as readable text.
fn told(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| format!("{ms} ms"), |t| t.to_string())
}

impl App {
    /// The date of the snapshot in use, in Unix seconds.
    pub(super) fn snapshot_date(&self) -> Option<u64> {
        let id = self.store.snapshot().ok().flatten()?;
        clock::snapshot_date(&self.site.join("snapshots").join(id.to_string()), &self.spec.spec.darksite.suite)
    }

    /// Asks chrony, so it is not called for every page.
    pub fn view_clock(&self) -> ClockView {
        clock::view(tool::tracking().as_ref(), now_ms(), self.snapshot_date())
    }

    /// Sets the clock for `who`.
    pub fn set_clock(&self, who: &str, to_ms: u64) -> Result<ClockView, ApiError> {
        let earliest = self.snapshot_date().unwrap_or(PROGRAM_DATE).max(PROGRAM_DATE);
        if !(earliest..=LATEST).contains(&(to_ms / 1000)) {
            let hint = format!("enter a time after {} and before {}", told(earliest * 1000), told(LATEST * 1000));
            return Err(ApiError::BadRequest { why: format!("{} is not a plausible time", told(to_ms)), hint: Some(hint) });
        }
        if let Some(tracking) = tool::tracking().filter(|t| t.state == cluster_seed::time::TimeState::Synchronised) {
            let why = format!("the clock follows the time server {}", tracking.source);
            return Err(ApiError::Conflict { why, hint: Some("time.servers of cluster.yaml names the servers".to_owned()) });
        }
        let before = now_ms();
        tool::set(to_ms).map_err(|e| match hint::of(&e) {
            Some(hint) => ApiError::Conflict { why: format!("{e:#}"), hint: Some(hint) },
            None => unexpected(e),
        })?;
        let text = format!("the clock was set from {} to {}", told(before), told(to_ms));
        self.write(|tx| {
            let event = NewEvent { actor: Some(who), ..NewEvent::new(EventKind::ClockSet, &text) };
            Ok(tx.event(now_ms(), &event)?)
        })?;
        clock::write_config(&self.spec);
        // Drop replay state that lies in the future of the new time.
        self.planes_changed.send_modify(|v| *v += 1);
        Ok(self.view_clock())
    }
}
