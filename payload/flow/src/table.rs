//! Tables of counters with a limit on their rows.

use std::collections::BTreeMap;

/// The key of a row.
pub trait Row: Ord + Clone {
    /// The row that stands for those beyond the limit: few different ones.
    fn folded(&self) -> Self;
}

/// Sums of `N` counters per row. Rows beyond the limit are added up in folded ones.
#[derive(Debug, Clone)]
pub struct Table<R, const N: usize> {
    rows: BTreeMap<R, [u64; N]>,
    limit: usize,
}

impl<R: Row, const N: usize> Table<R, N> {
    pub fn new(limit: usize) -> Self {
        Table { rows: BTreeMap::new(), limit }
    }

    pub fn add(&mut self, row: &R, delta: &[u64; N]) {
        if let Some(sums) = self.rows.get_mut(row) {
            return sum(sums, delta);
        }
        let row = if self.rows.len() < self.limit { row.clone() } else { row.folded() };
        sum(self.rows.entry(row).or_insert([0; N]), delta);
    }

    pub fn rows(&self) -> impl Iterator<Item = (&R, &[u64; N])> {
        self.rows.iter()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

fn sum<const N: usize>(sums: &mut [u64; N], delta: &[u64; N]) {
    for (sum, more) in sums.iter_mut().zip(delta) {
        *sum = sum.saturating_add(*more);
    }
}

/// Turns counters that only grow into what was added since the last look.
#[derive(Debug)]
pub struct Seen<K, const N: usize> {
    last: BTreeMap<K, ([u64; N], u64)>,
}

impl<K: Ord + Copy, const N: usize> Default for Seen<K, N> {
    fn default() -> Self {
        Seen { last: BTreeMap::new() }
    }
}

impl<K: Ord + Copy, const N: usize> Seen<K, N> {
    /// What was added; `None` if nothing. A counter that is lower than before began again. `now`: seconds.
    pub fn delta(&mut self, key: K, counters: [u64; N], now: u64) -> Option<[u64; N]> {
        let (before, _) = *self.last.entry(key).or_insert(([0; N], now));
        if before == counters {
            return None;
        }
        self.last.insert(key, (counters, now));
        let again = counters.iter().zip(&before).any(|(now, then)| now < then);
        let mut added = counters;
        if !again {
            added.iter_mut().zip(&before).for_each(|(now, then)| *now -= then);
        }
        Some(added)
    }

    /// Forgets keys that did not change for `idle` seconds, and returns them.
    pub fn idle(&mut self, now: u64, idle: u64) -> Vec<K> {
        let old: Vec<K> = self.last.iter().filter(|(_, (_, at))| now >= at.saturating_add(idle)).map(|(key, _)| *key).collect();
        old.iter().for_each(|key| {
            self.last.remove(key);
        });
        old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Row for (u8, u16) {
        fn folded(&self) -> Self {
            (self.0, 0)
        }
    }

    #[test]
    fn rows_beyond_the_limit_are_added_up() {
        let ports = [10, 11, 12, 13];
        for (limit, wanted) in [(3, vec![0, 10, 11, 12]), (4, vec![10, 11, 12, 13]), (5, vec![10, 11, 12, 13])] {
            let mut table: Table<(u8, u16), 1> = Table::new(limit);
            ports.iter().chain(&ports).for_each(|port| table.add(&(1, *port), &[1]));
            assert_eq!(table.rows().map(|((_, port), _)| *port).collect::<Vec<_>>(), wanted, "limit {limit}");
            assert_eq!(table.rows().map(|(_, n)| n[0]).sum::<u64>(), 8, "nothing is lost");
        }
    }

    #[test]
    fn what_was_added_since_the_last_look() {
        let mut seen: Seen<u8, 2> = Seen::default();
        assert_eq!(seen.delta(1, [5, 50], 0), Some([5, 50]));
        assert_eq!(seen.delta(1, [5, 50], 10), None);
        assert_eq!(seen.delta(1, [7, 50], 20), Some([2, 0]));
        // The entry was removed and made again.
        assert_eq!(seen.delta(1, [1, 9], 30), Some([1, 9]));
        assert_eq!(seen.delta(2, [0, 0], 30), None);
    }

    #[test]
    fn keys_that_do_not_change_are_forgotten() {
        let mut seen: Seen<u8, 1> = Seen::default();
        seen.delta(1, [5], 100);
        seen.delta(1, [5], 150);
        seen.delta(2, [5], 150);
        assert!(seen.idle(159, 60).is_empty());
        assert_eq!(seen.idle(160, 60), [1]);
        assert_eq!(seen.idle(210, 60), [2]);
        assert!(seen.idle(999, 60).is_empty());
    }
}
