//! Which peer list each node holds, as it said last.

use std::net::Ipv4Addr;

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::{EnrollmentId, Hostname, NodeId};
use rusqlite::{OptionalExtension as _, Row, params};

use super::{StoreError, Tx, parsed};

/// A node's last word about its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldRecord {
    pub epoch: u64,
    pub version: u64,
    /// Number of the message.
    pub seq: u64,
    /// Unix seconds.
    pub at: u64,
}

/// A live node, and its last word; `None` if it has said nothing yet.
#[derive(Debug, Clone)]
pub struct Holder {
    pub enrollment: EnrollmentId,
    pub hostname: Hostname,
    pub state: EnrollmentState,
    pub held: Option<HeldRecord>,
}

const HELD: &str = "held_epoch, held_version, held_seq, held_at";

fn held(r: &Row<'_>, first: usize) -> rusqlite::Result<Option<HeldRecord>> {
    let (epoch, version, at): (Option<u64>, Option<u64>, Option<u64>) = (r.get(first)?, r.get(first + 1)?, r.get(first + 3)?);
    let (Some(epoch), Some(version), Some(at)) = (epoch, version, at) else { return Ok(None) };
    Ok(Some(HeldRecord { epoch, version, seq: r.get(first + 2)?, at }))
}

impl Tx<'_> {
    /// Records what a node holds. False if the node is revoked, or said something later before.
    pub fn set_held(&self, node: NodeId, held: &HeldRecord) -> Result<bool, StoreError> {
        let changed = self.tx.execute(
            "UPDATE node SET held_epoch = ?2, held_version = ?3, held_seq = ?4, held_at = ?5
             WHERE id = ?1 AND revoked IS NULL AND held_seq < ?4",
            params![node.to_string(), held.epoch, held.version, held.seq, held.at],
        )?;
        Ok(changed == 1)
    }

    pub fn held_of(&self, node: NodeId) -> Result<Option<HeldRecord>, StoreError> {
        let sql = format!("SELECT {HELD} FROM node WHERE id = ?1");
        Ok(self.tx.query_row(&sql, [node.to_string()], |r| held(r, 0)).optional()?.flatten())
    }

    /// Every live node.
    pub fn holders(&self) -> Result<Vec<Holder>, StoreError> {
        let sql = format!(
            "SELECT enrollment, hostname, state, {HELD} FROM node JOIN enrollment ON enrollment.id = node.enrollment
             WHERE revoked IS NULL ORDER BY hostname"
        );
        let mut q = self.tx.prepare_cached(&sql)?;
        let mut rows = q.query([])?;
        let mut all = Vec::new();
        while let Some(r) = rows.next()? {
            let text = |i: usize| r.get::<_, String>(i);
            all.push(Holder {
                enrollment: parsed(&text(0)?, "node.enrollment")?,
                hostname: parsed(&text(1)?, "node.hostname")?,
                state: parsed(&text(2)?, "enrollment.state")?,
                held: held(r, 3)?,
            });
        }
        Ok(all)
    }

    /// True if a live node has this address on `plane`.
    pub fn is_on_plane(&self, plane: &str, address: Ipv4Addr) -> Result<bool, StoreError> {
        let sql = "SELECT count(*) FROM node_plane JOIN node ON node.id = node_plane.node
                   WHERE plane = ?1 AND address = ?2 AND revoked IS NULL";
        Ok(self.tx.query_row(sql, params![plane, address.to_string()], |r| r.get::<_, i64>(0))? > 0)
    }

    /// Whether a live node that never reported its list was last seen at this underlay address: its agent may be
    /// one of an earlier version, which asks without a signature.
    pub fn is_unsigned_node(&self, endpoint: Ipv4Addr) -> Result<bool, StoreError> {
        let sql = "SELECT count(*) FROM node JOIN enrollment ON enrollment.id = node.enrollment
                   WHERE endpoint = ?1 AND revoked IS NULL AND held_at IS NULL
                   AND state IN ('Installed', 'FabricReady', 'Converged')";
        Ok(self.tx.query_row(sql, [endpoint.to_string()], |r| r.get::<_, i64>(0))? > 0)
    }
}
