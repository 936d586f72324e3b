//! How often an API token may be used.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cluster_seed::people::ApiTokenId;

/// Requests with one token in one minute.
const PER_MINUTE: u32 = 600;
/// Length of a window, in seconds.
const WINDOW: u64 = 60;
/// Tokens that are counted; the table is emptied beyond it.
const MAX_ENTRIES: usize = 4_096;

/// Requests of each token in the current minute.
#[derive(Default)]
pub struct Budgets(Mutex<HashMap<ApiTokenId, (u64, u32)>>);

impl Budgets {
    /// Counts a request; or the seconds until the next one is possible. `now` is monotonic.
    pub fn take(&self, id: ApiTokenId, now: u64) -> Result<(), u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_ENTRIES && !all.contains_key(&id) {
            all.clear();
        }
        let (began, count) = all.entry(id).or_insert((now, 0));
        if now.saturating_sub(*began) >= WINDOW {
            (*began, *count) = (now, 0);
        }
        if *count >= PER_MINUTE {
            return Err((*began + WINDOW).saturating_sub(now).max(1));
        }
        *count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_budget_of_its_own_for_each_minute() {
        let budgets = Budgets::default();
        let (one, other) = ("00000001".parse().unwrap(), "00000002".parse().unwrap());
        for _ in 0..PER_MINUTE {
            assert_eq!(budgets.take(one, 100), Ok(()));
        }
        assert_eq!((budgets.take(one, 100), budgets.take(one, 159), budgets.take(other, 100)), (Err(60), Err(1), Ok(())));
        assert_eq!(budgets.take(one, 160), Ok(()));
    }

    #[test]
    fn the_table_is_bounded() {
        let budgets = Budgets::default();
        for n in 0..=MAX_ENTRIES as u32 {
            budgets.take(format!("{n:08x}").parse().unwrap(), 5).unwrap();
        }
        assert!(budgets.0.lock().unwrap().len() <= MAX_ENTRIES);
    }
}
