//! DHCP leases, written in group commits before their ACKs are sent.

use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;
use rusqlite::params;

use super::{Store, StoreError, parsed};

/// A lease as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    pub mac: Mac,
    pub ip: Ipv4Addr,
    /// Unix seconds.
    pub expires_at: u64,
    pub hostname: Option<String>,
    /// Option 61 (RFC 2132 section 9.14), without its code and length.
    pub client_id: Option<Vec<u8>>,
}

impl Store {
    /// Commits all of them or none. There is one row per address; the last lease replaces earlier ones.
    pub fn save_leases(&self, leases: &[LeaseRow]) -> Result<(), StoreError> {
        self.write(|tx| {
            let mut q = tx.tx.prepare_cached(
                "INSERT INTO lease (ip, mac, expires_at, hostname, client_id) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (ip) DO UPDATE SET mac = excluded.mac, expires_at = excluded.expires_at,
                   hostname = excluded.hostname, client_id = excluded.client_id",
            )?;
            for l in leases {
                let expires = i64::try_from(l.expires_at).unwrap_or(i64::MAX);
                q.execute(params![l.ip.to_string(), l.mac.to_string(), expires, l.hostname, l.client_id])?;
            }
            Ok(())
        })
    }

    pub fn leases(&self) -> Result<Vec<LeaseRow>, StoreError> {
        self.read(|tx| {
            let mut q = tx.tx.prepare("SELECT ip, mac, expires_at, hostname, client_id FROM lease ORDER BY expires_at, ip")?;
            let mut rows = q.query([])?;
            let mut all = Vec::new();
            while let Some(r) = rows.next()? {
                all.push(LeaseRow {
                    ip: parsed(&r.get::<_, String>(0)?, "lease.ip")?,
                    mac: parsed(&r.get::<_, String>(1)?, "lease.mac")?,
                    expires_at: r.get(2)?,
                    hostname: r.get(3)?,
                    client_id: r.get(4)?,
                });
            }
            Ok(all)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_an_address_counts() {
        let store = Store::in_memory().unwrap();
        let lease = |n: u8, expires_at| LeaseRow {
            mac: cluster_seed::ids::Mac([2, 0, 0, 0, 0, n]),
            ip: "10.44.0.100".parse().unwrap(),
            expires_at,
            hostname: None,
            client_id: Some(vec![1, n]),
        };
        store.save_leases(&[lease(1, 100), lease(2, 200)]).unwrap();
        let all = store.leases().unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].mac.0[5], all[0].expires_at, all[0].client_id.as_deref()), (2, 200, Some(&[1, 2][..])));
    }
}
