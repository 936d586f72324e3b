//! Machines: hardware seen on the network, by MAC address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use cluster_seed::ids::Mac;
use cluster_seed::machine::HardwareFacts;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{StoreError, Tx, parsed};
use crate::setting;

/// Most machines stored. Beyond that, machines that never became a node are deleted, least recently seen first.
pub const MAX_MACHINES: i64 = 10_000;

#[derive(Debug, Clone)]
pub struct MachineRecord {
    pub id: i64,
    pub mac: Mac,
    pub ip: Option<IpAddr>,
    pub first_seen: u64,
    pub last_seen: u64,
    pub facts: Option<HardwareFacts>,
}

const COLUMNS: &str = "id, mac, ip, first_seen, last_seen, facts";

type Raw = (i64, String, Option<String>, u64, u64, Option<String>);

fn raw(r: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?))
}

fn record((id, mac, ip, first_seen, last_seen, facts): Raw) -> Result<MachineRecord, StoreError> {
    Ok(MachineRecord {
        id,
        mac: parsed(&mac, "machine.mac")?,
        ip: ip.map(|t| parsed(&t, "machine.ip")).transpose()?,
        first_seen,
        last_seen,
        facts: facts.map(|t| serde_json::from_str(&t)).transpose().map_err(|_| StoreError::Corrupt { what: "machine.facts" })?,
    })
}

impl Tx<'_> {
    /// Records that a machine was seen; `None` if it is new and none of [`MAX_MACHINES`] can be deleted.
    pub fn see_machine(&self, mac: Mac, ip: Option<IpAddr>, now: u64) -> Result<Option<i64>, StoreError> {
        let ip = ip.map(|i| i.to_string());
        let changed = self.tx.execute(
            "UPDATE machine SET last_seen = max(last_seen, ?2), ip = coalesce(?3, ip), forgotten = NULL WHERE mac = ?1",
            params![mac.to_string(), now, ip],
        )?;
        if changed == 0 {
            let known: i64 = self.tx.query_row("SELECT count(*) FROM machine", [], |r| r.get(0))?;
            if known >= MAX_MACHINES && !self.evict_machine(setting::CONTROLLER)? {
                return Ok(None);
            }
            self.tx.execute(
                // Never the number of a machine that was deleted: events still name it.
                "INSERT INTO machine (id, mac, ip, first_seen, last_seen) VALUES (1 + max(
                   (SELECT coalesce(max(id), 0) FROM machine), (SELECT coalesce(max(machine), 0) FROM event)), ?1, ?2, ?3, ?3)",
                params![mac.to_string(), ip, now],
            )?;
        }
        Ok(Some(self.tx.query_row("SELECT id FROM machine WHERE mac = ?1", [mac.to_string()], |r| r.get(0))?))
    }

    /// Records that a machine sent a message.
    pub fn touch_machine(&self, id: i64, now: u64) -> Result<(), StoreError> {
        self.tx.execute("UPDATE machine SET last_seen = max(last_seen, ?2) WHERE id = ?1", params![id, now])?;
        Ok(())
    }

    pub fn set_facts(&self, machine: i64, facts: &HardwareFacts) -> Result<(), StoreError> {
        let text = serde_json::to_string(facts).map_err(|_| StoreError::Corrupt { what: "machine.facts" })?;
        self.tx.execute("UPDATE machine SET facts = ?2 WHERE id = ?1", params![machine, text])?;
        Ok(())
    }

    pub fn machine(&self, id: i64) -> Result<MachineRecord, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM machine WHERE id = ?1");
        record(self.tx.query_row(&sql, [id], raw).optional()?.ok_or(StoreError::NotFound("machine"))?)
    }

    pub fn machine_by_mac(&self, mac: Mac) -> Result<Option<MachineRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM machine WHERE mac = ?1");
        self.tx.query_row(&sql, [mac.to_string()], raw).optional()?.map(record).transpose()
    }

    /// The machine that was last seen with this address.
    pub fn machine_at(&self, ip: IpAddr) -> Result<Option<MachineRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM machine WHERE ip = ?1 ORDER BY last_seen DESC LIMIT 1");
        self.tx.query_row(&sql, [ip.to_string()], raw).optional()?.map(record).transpose()
    }

    /// The MAC addresses of these machines.
    pub fn macs_of(&self, ids: impl Iterator<Item = i64>) -> Result<HashMap<i64, Mac>, StoreError> {
        let mut q = self.tx.prepare_cached("SELECT mac FROM machine WHERE id = ?1")?;
        let mut macs = HashMap::new();
        for id in ids {
            if let Entry::Vacant(place) = macs.entry(id)
                && let Some(text) = q.query_row([id], |r| r.get::<_, String>(0)).optional()?
            {
                place.insert(parsed(&text, "machine.mac")?);
            }
        }
        Ok(macs)
    }

    /// All machines, most recently seen first.
    pub fn machines(&self) -> Result<Vec<MachineRecord>, StoreError> {
        self.recent_machines(MAX_MACHINES)
    }

    /// The `limit` machines that were seen last, most recently seen first.
    pub fn recent_machines(&self, limit: i64) -> Result<Vec<MachineRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM machine WHERE forgotten IS NULL ORDER BY last_seen DESC, id LIMIT ?1");
        let mut q = self.tx.prepare(&sql)?;
        let rows = q.query_map([limit], raw)?;
        rows.map(|r| record(r?)).collect()
    }
}
