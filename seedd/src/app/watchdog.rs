//! Ends what waits too long: nobody approved it, or the machine went silent in the middle of an install. Time counts
//! while the daemon runs, by a clock that does not jump.

use std::sync::PoisonError;

use cluster_seed::enrollment::{EnrollmentEvent, EnrollmentState};
use cluster_seed::events::EventKind;
use host::clock::{now, now_ms, steady};
use site::mode::Mode;
use web::api::ApiError;

use super::approve::event_of;
use super::{App, unexpected};

impl App {
    /// One round; returns how many enrollments were ended.
    pub fn watch(&self) -> Result<u32, ApiError> {
        if self.mode()? != Mode::Active {
            return Ok(0);
        }
        let policy = &self.spec.spec.enrollment;
        let waiting = self.store.read(|tx| tx.enrollments_waiting())?;
        let marks: Vec<_> = waiting.iter().map(|r| (r.id, r.touched)).collect();
        let silent = self.silence.lock().unwrap_or_else(PoisonError::into_inner).of(&marks, steady());
        let mut ended = 0;
        for record in waiting {
            let (event, minutes, why) = match record.state {
                EnrollmentState::Issued | EnrollmentState::Installing => {
                    (EnrollmentEvent::Failed, policy.install_minutes, "the machine went silent during the install")
                }
                EnrollmentState::Approved => {
                    (EnrollmentEvent::Expired, policy.pending_minutes, "the machine never fetched its identity")
                }
                _ => (EnrollmentEvent::Expired, policy.pending_minutes, "nobody approved it in time"),
            };
            if silent.get(&record.id).is_none_or(|s| *s < u64::from(minutes) * 60) {
                continue;
            }
            let done = self.write(|tx| {
                tx.advance(&record, event, Some(why), now())?;
                self.retire(tx, &record)?;
                tx.event(now_ms(), &event_of(&record, EventKind::EnrollmentEnded, why, None))?;
                Ok(())
            });
            match done {
                Ok(()) => ended += 1,
                // It moved on while we looked: good.
                Err(ApiError::Conflict { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        if ended > 0 {
            self.resign_peers().map_err(unexpected)?;
        }
        Ok(ended)
    }
}
