//! Row counts, for the metrics.

use rusqlite::params;

use super::{StoreError, Tx};

/// Row counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tallies {
    /// By state; only states that occur.
    pub enrollments: Vec<(String, u32)>,
    pub machines: u32,
    pub nodes: u32,
    pub leases: u32,
    pub events: u64,
}

impl Tx<'_> {
    /// `steady` is in seconds of the clock by which leases expire.
    pub fn tallies(&self, steady: u64) -> Result<Tallies, StoreError> {
        let mut q = self.tx.prepare_cached("SELECT state, count(*) FROM enrollment GROUP BY state ORDER BY state")?;
        let enrollments = q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<Result<_, _>>()?;
        let steady = i64::try_from(steady).unwrap_or(i64::MAX);
        let leases = self.tx.query_row("SELECT count(*) FROM lease WHERE expires_at > ?1", params![steady], |r| r.get(0))?;
        let machines = self.tx.query_row("SELECT count(*) FROM machine", [], |r| r.get(0))?;
        // The log is append-only, so its last id is its length.
        let events = u64::try_from(self.last_event()?).unwrap_or(0);
        Ok(Tallies { enrollments, machines, nodes: self.count_live_nodes()?, leases, events })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;

    #[test]
    fn what_is_there_is_counted() {
        let store = Store::in_memory().unwrap();
        let none = store.read(|tx| tx.tallies(0)).unwrap();
        assert_eq!(none, Tallies::default());
        let lease = |n: u8, expires_at| crate::store::leases::LeaseRow {
            mac: cluster_seed::ids::Mac([2, 0, 0, 0, 0, n]),
            ip: std::net::Ipv4Addr::new(10, 44, 0, n),
            expires_at,
            hostname: None,
            client_id: None,
        };
        store.save_leases(&[lease(1, 99), lease(2, 100), lease(3, 101)]).unwrap();
        store.write(|tx| tx.see_machine(cluster_seed::ids::Mac([2, 0, 0, 0, 0, 1]), None, 1)).unwrap();
        let some: Tallies = store.read(|tx| tx.tallies(99)).unwrap();
        assert_eq!((some.leases, some.machines), (2, 1));
    }
}
