//! How often power may be changed, and how many controllers are waited for at once: a relay that clatters harms disks,
//! controllers lock accounts, and one that is silent must not hold what others need.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// Seconds between two actions on one machine.
pub const PAUSE: u64 = 2;
/// Actions within a minute on all machines together: a rack that is switched on at once trips its fuse.
pub const PER_MINUTE: usize = 30;

/// Controllers spoken to at once. Well below the calls that the web interface has at a time.
pub const MAX_AT_ONCE: usize = 12;

#[derive(Debug, Default)]
struct Inner {
    last: HashMap<i64, u64>,
    recent: Vec<u64>,
    busy: HashSet<i64>,
}

/// Why an action was not started.
#[derive(Debug, PartialEq, Eq)]
pub enum Busy {
    /// The same controller is being spoken to.
    Machine,
    /// Too many others are.
    All,
}

/// A controller that is being spoken to, until it is dropped.
#[derive(Debug)]
pub struct Turn<'t> {
    throttle: &'t PowerThrottle,
    machine: i64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.throttle.0.lock().unwrap_or_else(PoisonError::into_inner).busy.remove(&self.machine);
    }
}

/// `now` counts steadily ([`host::clock::steady`]).
#[derive(Debug, Default)]
pub struct PowerThrottle(Mutex<Inner>);

impl PowerThrottle {
    /// Begins to speak to a machine's controller.
    pub fn begin(&self, machine: i64) -> Result<Turn<'_>, Busy> {
        let inner = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.busy.contains(&machine) {
            return Err(Busy::Machine);
        }
        if inner.busy.len() >= MAX_AT_ONCE {
            return Err(Busy::All);
        }
        inner.busy.insert(machine);
        Ok(Turn { throttle: self, machine })
    }

    /// An action on a machine ended: the pause counts from here.
    pub fn ended(&self, machine: i64, now: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.insert(machine, now);
    }

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
    fn one_controller_is_spoken_to_once_and_silent_ones_leave_places() {
        let t = PowerThrottle::default();
        let turns: Vec<Turn<'_>> = (0..MAX_AT_ONCE as i64 - 1).map(|m| t.begin(m).unwrap()).collect();
        assert_eq!(t.begin(0).unwrap_err(), Busy::Machine);
        let last = t.begin(99).unwrap();
        assert_eq!(t.begin(100).unwrap_err(), Busy::All);
        drop(last);
        assert!(t.begin(100).is_ok(), "a place that was left");
        drop(turns);
        assert!(t.begin(0).is_ok());
    }

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
        t.ended(1, 110);
        assert_eq!(t.take(1, 111), Err(1), "a slow action is followed by a pause as well");
        assert_eq!(t.take(99, 103), Err(57));
        assert_eq!(t.take(99, 160), Ok(()));
    }
}
