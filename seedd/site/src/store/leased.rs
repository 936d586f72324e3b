//! Leases with the machines that have them.

use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;

use super::{StoreError, Tx, parsed};

/// A current lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    pub ip: Ipv4Addr,
    pub mac: Mac,
    /// By the clock by which leases expire, in seconds.
    pub expires_at: u64,
    /// What the client calls itself.
    pub hostname: Option<String>,
    /// The machine with this MAC address, and its name while it is a node.
    pub machine: Option<i64>,
    pub node: Option<String>,
}

impl Tx<'_> {
    /// Leases that have not expired at `steady`, sorted by address.
    pub fn leased(&self, steady: u64) -> Result<Vec<Leased>, StoreError> {
        let mut q = self.tx.prepare_cached(
            "SELECT lease.ip, lease.mac, expires_at, lease.hostname, machine.id,
               (SELECT node.hostname FROM enrollment JOIN node ON node.enrollment = enrollment.id
                WHERE enrollment.machine = machine.id AND revoked IS NULL LIMIT 1)
             FROM lease LEFT JOIN machine ON machine.mac = lease.mac WHERE expires_at > ?1",
        )?;
        let mut rows = q.query([i64::try_from(steady).unwrap_or(i64::MAX)])?;
        let mut all = Vec::new();
        while let Some(r) = rows.next()? {
            all.push(Leased {
                ip: parsed(&r.get::<_, String>(0)?, "lease.ip")?,
                mac: parsed(&r.get::<_, String>(1)?, "lease.mac")?,
                expires_at: r.get(2)?,
                hostname: r.get(3)?,
                machine: r.get(4)?,
                node: r.get(5)?,
            });
        }
        all.sort_by_key(|l| l.ip);
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::super::leases::LeaseRow;
    use super::*;

    #[test]
    fn current_leases_are_sorted_by_address_and_know_their_machine() {
        let store = Store::in_memory().unwrap();
        let mac = |n: u8| Mac([2, 0, 0, 0, 0, n]);
        let lease = |n: u8, expires_at| LeaseRow {
            mac: mac(n),
            ip: Ipv4Addr::new(10, 44, 0, n),
            expires_at,
            hostname: Some("pc".to_owned()),
            client_id: None,
        };
        store.save_leases(&[lease(100, 51), lease(9, 60), lease(20, 50)]).unwrap();
        let seen: Result<Option<i64>, StoreError> = store.write(|tx| tx.see_machine(mac(9), None, 1));
        let found = store.read(|tx| tx.leased(50)).unwrap();
        let short: Vec<_> = found.iter().map(|l| (l.ip.octets()[3], l.machine, l.node.clone())).collect();
        assert_eq!(short, [(9, seen.unwrap(), None), (100, None, None)]);
    }
}
