//! The budget for what machines without an identity make the seed write beside events and enrollments, which have limits of their own
//! (`flight::recorder::gate`, `app::admission`): that a refused machine was seen, and how often a token was refused.

use std::sync::{Mutex, PoisonError};

/// Writes at once, and how many more in each second.
const MOST: u64 = 256;
const PER_SECOND: u64 = 4;

/// Writes that are left, and the second up to which they were counted.
pub struct Strangers(Mutex<(u64, u64)>);

impl Default for Strangers {
    fn default() -> Self {
        Strangers(Mutex::new((MOST, 0)))
    }
}

impl Strangers {
    /// Takes one write; false if none is left. `now` is in seconds of the steady clock.
    pub fn take(&self, now: u64) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, at) = *held;
        let left = left.saturating_add(now.saturating_sub(at).saturating_mul(PER_SECOND)).min(MOST);
        *held = (left.saturating_sub(1), at.max(now));
        left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_its_budget_and_then_a_few_writes_a_second() {
        let strangers = Strangers::default();
        let taken = |now: u64| (0..10_000).filter(|_| strangers.take(now)).count() as u64;
        assert_eq!(taken(1_000), MOST);
        assert_eq!((taken(1_000), taken(1_001), taken(1_003)), (0, PER_SECOND, 2 * PER_SECOND));
        assert_eq!(taken(1_000), 0, "a clock that goes back gives nothing");
        assert_eq!(taken(90_000), MOST, "a quiet day is no larger flood");
    }
}
