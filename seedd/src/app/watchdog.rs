//! Expires enrollments: those not approved in time, and machines that went silent during an installation. Time counts only
//! while the daemon runs, by the monotonic clock.

use std::collections::HashMap;
use std::sync::PoisonError;

use cluster_seed::cluster::EnrollmentPolicy;
use cluster_seed::enrollment::{EnrollmentEvent, EnrollmentState};
use cluster_seed::events::EventKind;
use cluster_seed::trouble::Trouble;
use host::clock::{now, now_ms, steady};
use site::mode::Mode;
use site::store::enrollments::EnrollmentRecord;
use web::api::ApiError;

use super::admission::{REVEAL_SECONDS, SILENT_SECONDS};
use super::confirm::CONFIRM_SECONDS;
use super::records::event_of;
use super::{App, unexpected};

impl App {
    /// One round; returns how many enrollments were ended.
    pub fn watch(&self) -> Result<u32, ApiError> {
        if self.mode()? != Mode::Active {
            return Ok(0);
        }
        let policy = &self.spec.spec.enrollment;
        let waiting = self.store.read(|tx| tx.enrollments_waiting())?;
        // Messages of an unapproved machine do not extend its time.
        let mark = |r: &EnrollmentRecord| if waits_for_a_person(r.state) { r.created } else { r.touched };
        let marks: Vec<_> = waiting.iter().map(|r| (r.id, mark(r))).collect();
        let silent = self.silence.lock().unwrap_or_else(PoisonError::into_inner).of(&marks, steady());
        let unheard: HashMap<_, _> = self.unheard(&waiting).into_iter().collect();
        let polled = self.polled();
        let seen: Vec<(i64, u64)> = waiting.iter().filter_map(|r| Some((r.machine, *polled.get(&r.id)?))).collect();
        self.store.write(|tx| tx.touch_machines(&seen))?;
        if let Err(error) = self.beat(steady(), self.listens()) {
            tracing::error!(%error, "checking which nodes are silent");
        }
        let mut ended = 0;
        for record in waiting {
            let age = silent.get(&record.id).copied().unwrap_or_default();
            let Some((event, why)) = end_of(&record, age, unheard.get(&record.id).copied(), policy) else { continue };
            let done = self.write(|tx| {
                tx.advance(&record, event, Some(why), now())?;
                self.retire(tx, &record)?;
                if event == EnrollmentEvent::Failed {
                    tx.set_trouble(record.id, Trouble::Silent)?;
                }
                tx.event(now_ms(), &event_of(&record, EventKind::EnrollmentEnded, why, None))?;
                Ok(())
            });
            match done {
                Ok(()) => ended += 1,
                // It changed state in the meantime: nothing to expire.
                Err(ApiError::Conflict { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        if ended > 0 {
            self.resign_peers().map_err(unexpected)?;
        }
        self.prune_unapproved()?;
        // The command line may have put another snapshot in use.
        self.resign_apt_keys().map_err(unexpected)?;
        Ok(ended)
    }
}

/// No code has been entered yet.
fn waits_for_a_person(state: EnrollmentState) -> bool {
    matches!(state, EnrollmentState::Discovered | EnrollmentState::Pending)
}

/// Whether an enrollment expires now, and why. `age` counts from its creation until its code is entered, then from the
/// machine's last report; `unheard` from its last poll. All in seconds.
fn end_of(
    record: &EnrollmentRecord,
    age: u64,
    unheard: Option<u64>,
    policy: &EnrollmentPolicy,
) -> Option<(EnrollmentEvent, &'static str)> {
    let (pending, install) = (u64::from(policy.pending_minutes) * 60, u64::from(policy.install_minutes) * 60);
    let expired = |limit: u64, why| (age >= limit).then_some((EnrollmentEvent::Expired, why));
    match record.state {
        EnrollmentState::Issued | EnrollmentState::Installing => {
            (age >= install).then_some((EnrollmentEvent::Failed, "the machine stopped reporting during the installation"))
        }
        EnrollmentState::Confirming => {
            (age >= CONFIRM_SECONDS.min(pending)).then_some((EnrollmentEvent::Denied, "the machine did not confirm the code"))
        }
        EnrollmentState::Approved => expired(pending, "the machine never fetched its identity"),
        EnrollmentState::Discovered => expired(REVEAL_SECONDS.min(pending), "the machine sent a hello but no keys"),
        _ if unheard.is_some_and(|s| s >= SILENT_SECONDS) => {
            Some((EnrollmentEvent::Expired, "the machine stopped polling before it was approved"))
        }
        _ => expired(pending, "not approved in time"),
    }
}
