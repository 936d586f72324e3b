//! How often an API token may be used, and how often a node may send what becomes events.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Requests with one token, and messages of one node, in one minute.
const PER_MINUTE: u32 = 600;
/// Length of a window, in seconds.
const WINDOW: u64 = 60;
/// Tokens or nodes that are counted: more than a site has nodes. The table is emptied beyond it.
const MAX_ENTRIES: usize = 16_384;

/// Requests of each token, or messages of each node, in the current minute.
pub struct Budgets<K>(Mutex<HashMap<K, (u64, u32)>>);

impl<K> Default for Budgets<K> {
    fn default() -> Self {
        Budgets(Mutex::default())
    }
}

impl<K: Eq + Hash> Budgets<K> {
    /// Counts a request; or the seconds until the next one is possible. `now` is monotonic.
    pub fn take(&self, id: K, now: u64) -> Result<(), u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_ENTRIES && !all.contains_key(&id) {
            all.retain(|_, (began, _)| now.saturating_sub(*began) < WINDOW);
            if all.len() >= MAX_ENTRIES {
                all.clear();
            }
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
    use cluster_seed::people::ApiTokenId;

    use super::*;

    #[test]
    fn a_token_has_a_budget_of_its_own_for_each_minute() {
        let budgets = Budgets::<ApiTokenId>::default();
        let (one, other) = ("00000001".parse().unwrap(), "00000002".parse().unwrap());
        for _ in 0..PER_MINUTE {
            assert_eq!(budgets.take(one, 100), Ok(()));
        }
        assert_eq!((budgets.take(one, 100), budgets.take(one, 159), budgets.take(other, 100)), (Err(60), Err(1), Ok(())));
        assert_eq!(budgets.take(one, 160), Ok(()));
    }

    #[test]
    fn the_table_is_bounded() {
        let budgets = Budgets::<ApiTokenId>::default();
        for n in 0..=MAX_ENTRIES as u32 {
            budgets.take(format!("{n:08x}").parse().unwrap(), 5).unwrap();
        }
        assert!(budgets.0.lock().unwrap().len() <= MAX_ENTRIES);
    }
}
