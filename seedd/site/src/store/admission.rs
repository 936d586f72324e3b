//! What is kept of machines that nobody approved: bounded, and the first to go.

use std::net::IpAddr;

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::EnrollmentId;
use rusqlite::{OptionalExtension as _, params};

use super::{StoreError, Tx, parsed};

/// Enrollments that still wait for a person: they can be pushed out by others. One whose code was typed (Confirming) cannot.
const OPEN: &str = "state IN ('Discovered','Pending')";
/// Enrollments that ended without an approval, so that no node was ever made of them.
const UNUSED: &str = "state IN ('Denied','Expired') AND id NOT IN (SELECT enrollment FROM node)";
/// Of a machine that never became a node, has nothing open, and no note of an operator.
const STRANGER: &str = "NOT EXISTS (SELECT 1 FROM enrollment e WHERE e.machine = machine.id
       AND NOT (e.state IN ('Denied','Expired') AND e.id NOT IN (SELECT enrollment FROM node)))
     AND NOT EXISTS (SELECT 1 FROM machine_note o WHERE o.machine = machine.id)";

/// The states of members, as a list for SQL.
pub(super) fn members() -> String {
    let states = EnrollmentState::ALL.iter().filter(|s| s.is_member()).map(|s| format!("'{}'", s.as_str()));
    states.collect::<Vec<_>>().join(",")
}

/// Whose open enrollments are meant.
#[derive(Debug, Clone, Copy)]
pub enum Whose {
    Machine(i64),
    Address(IpAddr),
    Anybody,
}

impl Tx<'_> {
    /// How many enrollments wait for a person.
    pub fn count_open(&self, whose: Whose) -> Result<u32, StoreError> {
        let count = |condition: &str, value: &dyn rusqlite::ToSql| {
            self.tx.query_row(&format!("SELECT count(*) FROM enrollment WHERE {OPEN} AND {condition}"), [value], |r| r.get(0))
        };
        Ok(match whose {
            Whose::Machine(id) => count("machine = ?1", &id)?,
            Whose::Address(ip) => count("ip = ?1", &ip.to_string())?,
            Whose::Anybody => count("?1", &true)?,
        })
    }

    /// The open enrollment that makes room for another: the oldest of `whose`, or with [`Whose::Anybody`] the oldest of
    /// the address that holds the most.
    pub fn to_push_out(&self, whose: Whose) -> Result<Option<EnrollmentId>, StoreError> {
        let first = |condition: &str, value: &dyn rusqlite::ToSql| {
            let sql = format!("SELECT id FROM enrollment WHERE {OPEN} AND {condition} ORDER BY created, rowid LIMIT 1");
            self.tx.query_row(&sql, [value], |r| r.get::<_, String>(0)).optional()
        };
        let found = match whose {
            Whose::Machine(id) => {
                // The one at the machine's own address goes last: others only claim to be it.
                let sql = format!(
                    "SELECT e.id FROM enrollment e JOIN machine m ON m.id = e.machine WHERE {OPEN} AND e.machine = ?1
                     ORDER BY e.ip IS m.ip, e.created, e.rowid LIMIT 1"
                );
                self.tx.query_row(&sql, [id], |r| r.get::<_, String>(0)).optional()?
            }
            Whose::Address(ip) => first("ip = ?1", &ip.to_string())?,
            Whose::Anybody => {
                let sql =
                    format!("SELECT ip FROM enrollment WHERE {OPEN} GROUP BY ip ORDER BY count(*) DESC, min(rowid) LIMIT 1");
                let heaviest: Option<String> = self.tx.query_row(&sql, [], |r| r.get(0)).optional()?;
                heaviest.map(|ip| first("ip = ?1", &ip)).transpose()?.flatten()
            }
        };
        found.map(|id| parsed(&id, "enrollment.id")).transpose()
    }

    /// The open enrollments of one address.
    pub fn open_at(&self, ip: IpAddr) -> Result<Vec<EnrollmentId>, StoreError> {
        let mut q = self.tx.prepare_cached(&format!("SELECT id FROM enrollment WHERE {OPEN} AND ip = ?1"))?;
        let ids = q.query_map([ip.to_string()], |r| r.get::<_, String>(0))?;
        ids.map(|id| parsed(&id?, "enrollment.id")).collect()
    }

    /// Deletes enrollments that ended before `before` (Unix seconds) without ever having been approved, and of younger ones all but the
    /// `most` that ended last; never the newest of a machine. Returns how many.
    pub fn prune_enrollments(&self, before: u64, most: u32) -> Result<usize, StoreError> {
        let newest = "SELECT max(rowid) FROM enrollment GROUP BY machine";
        let last = format!("SELECT rowid FROM enrollment WHERE {UNUSED} ORDER BY since DESC, rowid DESC LIMIT ?2");
        let sql = format!(
            "DELETE FROM enrollment WHERE {UNUSED} AND rowid NOT IN ({newest}) AND (since < ?1 OR rowid NOT IN ({last}))"
        );
        Ok(self.tx.execute(&sql, params![before, most])?)
    }

    /// Deletes the hardware facts of an enrollment that was pushed out, and those of its machine if it has no other one and no note of an
    /// operator.
    pub fn drop_facts_of(&self, id: EnrollmentId, machine: i64) -> Result<(), StoreError> {
        self.tx.execute(&format!("UPDATE enrollment SET facts = NULL WHERE id = ?1 AND {UNUSED}"), [id.to_string()])?;
        let sql = format!("UPDATE machine SET facts = NULL WHERE id = ?1 AND facts IS NOT NULL AND {STRANGER}");
        self.tx.execute(&sql, [machine])?;
        Ok(())
    }

    /// Deletes the hardware facts of machines that nobody approved, but for the `most` that were seen last: any host can make them up,
    /// and they are large. Machines with something open, or with a note of an operator, keep theirs. Returns of how many.
    pub fn drop_facts(&self, most: u32) -> Result<usize, StoreError> {
        let sql = format!(
            "UPDATE machine SET facts = NULL WHERE id IN (
               SELECT machine.id FROM machine WHERE facts IS NOT NULL AND {STRANGER} ORDER BY last_seen DESC, machine.id DESC LIMIT -1 OFFSET ?1)"
        );
        let dropped = self.tx.execute(&sql, [most])?;
        if dropped > 0 {
            let without = "SELECT machine.id FROM machine WHERE machine.facts IS NULL";
            let sql =
                format!("UPDATE enrollment SET facts = NULL WHERE facts IS NOT NULL AND machine IN ({without}) AND {UNUSED}");
            self.tx.execute(&sql, [])?;
        }
        Ok(dropped)
    }

    /// Deletes the machine that was silent longest of those that never became a node, have nothing open, no note of an operator and no controller
    /// kept for them under `controller` followed by their MAC address. True if there was one.
    pub(super) fn evict_machine(&self, controller: &str) -> Result<bool, StoreError> {
        let sql = format!(
            "SELECT id FROM machine WHERE NOT EXISTS (SELECT 1 FROM enrollment e WHERE e.machine = machine.id AND NOT (e.{UNUSED}))
             AND NOT EXISTS (SELECT 1 FROM setting WHERE key = ?1 || machine.mac)
             AND NOT EXISTS (SELECT 1 FROM machine_note o WHERE o.machine = machine.id)
             ORDER BY last_seen, id LIMIT 1"
        );
        let oldest: Option<i64> = self.tx.query_row(&sql, [controller], |r| r.get(0)).optional()?;
        if let Some(id) = oldest {
            self.delete_machine(id)?;
        }
        Ok(oldest.is_some())
    }

    fn delete_machine(&self, id: i64) -> Result<(), StoreError> {
        self.tx.execute("DELETE FROM enrollment WHERE machine = ?1", [id])?;
        self.tx.execute("DELETE FROM machine WHERE id = ?1", [id])?;
        Ok(())
    }

    /// Forgets a machine: deletes it, or takes it off the list until it is seen again where a node was once made of it, since
    /// that node's name and addresses stay used. A member is not forgotten: [`StoreError::Raced`].
    pub fn forget_machine(&self, id: i64, now: u64) -> Result<(), StoreError> {
        if self.member_of(id)?.is_some() {
            return Err(StoreError::Raced("machine"));
        }
        let nodes = "SELECT count(*) FROM node WHERE enrollment IN (SELECT id FROM enrollment WHERE machine = ?1)";
        let nodes: i64 = self.tx.query_row(nodes, [id], |r| r.get(0))?;
        if nodes == 0 {
            return self.delete_machine(id);
        }
        self.tx.execute(&format!("DELETE FROM enrollment WHERE machine = ?1 AND ({OPEN} OR {UNUSED})"), [id])?;
        self.tx.execute("DELETE FROM machine_note WHERE machine = ?1", [id])?;
        self.tx.execute("UPDATE machine SET forgotten = ?2, facts = NULL, ip = NULL WHERE id = ?1", params![id, now])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cluster_seed::enrollment::EnrollmentEvent;
    use cluster_seed::ids::Mac;

    use super::super::Store;
    use super::super::enrollments::Revealed;
    use super::super::machines::MAX_MACHINES;
    use super::*;

    fn mac(n: u32) -> Mac {
        let [a, b, c, d] = n.to_be_bytes();
        Mac([2, 0, a, b, c, d])
    }

    fn hello(tx: &Tx<'_>, machine: i64, n: u8, ip: &str, at: u64) -> EnrollmentId {
        let id = EnrollmentId([n; 16]);
        let number = tx.take_number().unwrap().unwrap();
        tx.insert_enrollment(id, machine, number, ip.parse().unwrap(), at).unwrap();
        id
    }

    #[test]
    fn the_oldest_of_the_address_that_holds_most_goes_first() {
        let store = Store::in_memory().unwrap();
        let done: Result<(), StoreError> = store.write(|tx| {
            let ids: Vec<i64> = (0..4).map(|n| tx.see_machine(mac(n), None, 1).unwrap().unwrap()).collect();
            hello(tx, ids[0], 1, "10.0.0.1", 1);
            let second = hello(tx, ids[1], 2, "10.0.0.2", 2);
            hello(tx, ids[2], 3, "10.0.0.2", 3);
            assert_eq!(tx.to_push_out(Whose::Anybody)?, Some(second));
            assert_eq!(tx.to_push_out(Whose::Machine(ids[3]))?, None);
            let at = Whose::Address("10.0.0.2".parse().unwrap());
            assert_eq!((tx.count_open(at)?, tx.count_open(Whose::Anybody)?), (2, 3));
            Ok(())
        });
        done.unwrap();
    }

    #[test]
    fn of_many_enrollments_that_ended_just_now_the_last_are_kept_and_the_newest_of_each_machine() {
        let store = Store::in_memory().unwrap();
        let done: Result<(), StoreError> = store.write(|tx| {
            let (one, other) = (tx.see_machine(mac(1), None, 1)?.unwrap(), tx.see_machine(mac(2), None, 1)?.unwrap());
            let end = |id| tx.advance(&tx.enrollment(id)?, EnrollmentEvent::Expired, None, 50).map(drop);
            let first = hello(tx, other, 1, "10.0.0.1", 1);
            end(first)?;
            let ids: Vec<EnrollmentId> = (2..10).map(|n| hello(tx, one, n, "10.0.0.2", u64::from(n))).collect();
            ids.iter().try_for_each(|id| end(*id))?;
            let open = hello(tx, one, 10, "10.0.0.2", 50);
            assert_eq!(tx.prune_enrollments(10, 3)?, 5);
            let kept = |id| tx.enrollment(id).is_ok();
            assert!(kept(first) && kept(open) && ids[5..].iter().all(|id| kept(*id)) && !ids[..5].iter().any(|id| kept(*id)));
            assert_eq!((tx.prune_enrollments(10, 3)?, tx.prune_enrollments(51, 3)?), (0, 3));
            assert!(kept(first) && kept(open));
            Ok(())
        });
        done.unwrap();
    }

    fn facts() -> cluster_seed::machine::HardwareFacts {
        let text = r#"{"vendor":"v","product":"","serial":"","uuid":"","firmware":"uefi","cpu":"","cpus":1,"memory_mib":1,
            "disks":[],"nics":[],"boot_mac":null,"kernel":""}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn facts_of_strangers_are_kept_of_the_last_ones_and_of_machines_that_wait_or_have_a_note() {
        let store = Store::in_memory().unwrap();
        let done: Result<(), StoreError> = store.write(|tx| {
            let mut ids = Vec::new();
            for n in 1..=6u8 {
                let machine = tx.see_machine(mac(n.into()), None, n.into())?.unwrap();
                let id = hello(tx, machine, n, "10.0.0.1", 1);
                let revealed = Revealed { recipient: "age1".into(), node_key: format!("{n}"), facts: facts(), pairing: None };
                tx.set_revealed(id, &revealed)?;
                tx.set_facts(machine, &facts())?;
                // The second one waits.
                if n != 2 {
                    tx.advance(&tx.enrollment(id)?, EnrollmentEvent::Expired, None, 2)?;
                }
                ids.push((machine, id));
            }
            tx.set_place(ids[2].0, "hall 2")?;
            let has = |n: usize| {
                let (machine, id) = ids[n];
                (tx.machine(machine).unwrap().facts.is_some(), tx.enrollment(id).unwrap().revealed.is_some())
            };
            assert_eq!(tx.drop_facts(3)?, 1);
            assert_eq!(has(0), (false, false));
            assert!((1..6).all(|n| has(n) == (true, true)));
            assert_eq!((tx.drop_facts(3)?, tx.drop_facts(1)?), (0, 2));
            assert_eq!([1, 2, 3, 4, 5].map(|n| has(n).0), [true, true, false, false, true]);
            for (machine, id) in &ids[1..] {
                tx.drop_facts_of(*id, *machine)?;
            }
            assert_eq!([1, 2, 5].map(has), [(true, true), (true, false), (false, false)]);
            Ok(())
        });
        done.unwrap();
    }

    #[test]
    fn a_full_list_of_machines_takes_new_ones_and_keeps_what_became_a_node_or_has_a_controller() {
        let store = Store::in_memory().unwrap();
        let done: Result<(), StoreError> = store.write(|tx| {
            let member = tx.see_machine(mac(0), None, 1)?.unwrap();
            hello(tx, member, 1, "10.0.0.1", 1);
            let record = tx.enrollments_of(member)?.remove(0);
            tx.advance(&record, EnrollmentEvent::Revealed, None, 1)?;
            tx.advance(&tx.enrollment(record.id)?, EnrollmentEvent::CodeTyped, None, 1)?;
            tx.advance(&tx.enrollment(record.id)?, EnrollmentEvent::Confirmed, None, 1)?;
            tx.see_machine(mac(1), None, 1)?;
            tx.set(&format!("{}{}", crate::setting::CONTROLLER, mac(1)), "{}")?;
            for n in 2..MAX_MACHINES as u32 + 5 {
                assert!(tx.see_machine(mac(n), None, u64::from(n))?.is_some(), "{n}");
            }
            let known = |n| tx.machine_by_mac(mac(n)).unwrap().is_some();
            assert!(known(0) && known(1) && !known(2) && !known(6) && known(7));
            assert!(tx.forget_machine(member, 9).is_err(), "a member is not forgotten");
            Ok(())
        });
        done.unwrap();
    }

    #[test]
    fn a_forgotten_machine_returns_as_a_new_one_when_it_is_seen_again() {
        let store = Store::in_memory().unwrap();
        let done: Result<(), StoreError> = store.write(|tx| {
            let id = tx.see_machine(mac(1), None, 1)?.unwrap();
            tx.event(
                1,
                &super::super::events::NewEvent {
                    machine: Some(id),
                    ..super::super::events::NewEvent::new(cluster_seed::events::EventKind::DhcpAck, "x")
                },
            )?;
            tx.forget_machine(id, 2)?;
            assert!(tx.machines()?.is_empty());
            assert_ne!(tx.see_machine(mac(1), None, 3)?.unwrap(), id, "its events are of another time");
            Ok(())
        });
        done.unwrap();
    }
}
