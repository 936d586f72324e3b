//! How often power may be changed: a relay that clatters harms disks, and controllers lock accounts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Seconds between two actions on one machine.
pub const PAUSE: u64 = 2;
/// Actions within a minute on all machines together: a rack that is switched on at once trips its fuse.
pub const PER_MINUTE: usize = 30;

#[derive(Debug, Default)]
struct Inner {
    last: HashMap<i64, u64>,
    recent: Vec<u64>,
}

/// `now` counts steadily ([`host::clock::steady`]).
#[derive(Debug, Default)]
pub struct PowerThrottle(Mutex<Inner>);

impl PowerThrottle {
    /// Notes an action on a machine, or says how many seconds it has to wait.
    pub fn take(&self, machine: i64, now: u64) -> Result<(), u64> {
        let inner = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.recent.retain(|at| now.saturating_sub(*at) < 60);
        inner.last.retain(|_, at| now.saturating_sub(*at) < PAUSE);
        if let Some(at) = inner.last.get(&machine) {
            return Err(PAUSE.saturating_sub(now.saturating_sub(*at)).max(1));
        }
        if inner.recent.len() >= PER_MINUTE {
            let oldest = inner.recent.first().copied().unwrap_or(now);
            return Err((60 - now.saturating_sub(oldest).min(59)).max(1));
        }
        inner.recent.push(now);
        inner.last.insert(machine, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_machine_waits_a_moment_and_all_together_a_minute() {
        let t = PowerThrottle::default();
        assert_eq!(t.take(1, 100), Ok(()));
        assert_eq!(t.take(1, 100), Err(PAUSE));
        assert_eq!(t.take(1, 101), Err(1));
        assert_eq!(t.take(1, 102), Ok(()));
        for machine in 2..PER_MINUTE as i64 {
            assert_eq!(t.take(machine, 102), Ok(()), "{machine}");
        }
        assert_eq!(t.take(99, 103), Err(57));
        assert_eq!(t.take(99, 160), Ok(()));
    }
}
