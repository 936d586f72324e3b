//! Which running nodes are heard, and which are not.

use cluster_seed::ids::{EnrollmentId, Hostname, NodeId};
use rusqlite::{OptionalExtension as _, params};

use super::{StoreError, Tx, parsed};

/// A running node (FabricReady or Converged) that has reported its list at least once: agents of the first versions do not.
#[derive(Debug, Clone)]
pub struct Beat {
    pub node: NodeId,
    pub enrollment: EnrollmentId,
    pub machine: i64,
    pub hostname: Hostname,
    /// Grows with every message.
    pub mark: u64,
    /// Unix seconds of its last message, by the seed's clock.
    pub heard: u64,
    /// The mark at which it was found silent.
    pub silent: Option<u64>,
}

impl Tx<'_> {
    /// Every node that has a heartbeat, in the order of names.
    pub fn beats(&self) -> Result<Vec<Beat>, StoreError> {
        // Nodes choose their numbers: masked, so that no sum of them overflows.
        let mut q = self.tx.prepare_cached(
            "SELECT n.id, n.enrollment, e.machine, n.hostname,
               (n.held_seq & 0xFFFFFFFFFFFFFFF) + (n.converge_seq & 0xFFFFFFFFFFFFFFF) + (e.last_seq & 0xFFFFFFFFFFFFFFF),
               max(n.held_at, n.converge_at, e.touched), s.mark
             FROM node n JOIN enrollment e ON e.id = n.enrollment LEFT JOIN silence s ON s.node = n.id
             WHERE n.revoked IS NULL AND n.held_at IS NOT NULL AND e.state IN ('FabricReady', 'Converged') ORDER BY n.hostname",
        )?;
        let mut rows = q.query([])?;
        let mut all = Vec::new();
        while let Some(r) = rows.next()? {
            let text = |i: usize| r.get::<_, String>(i);
            all.push(Beat {
                node: parsed(&text(0)?, "node.id")?,
                enrollment: parsed(&text(1)?, "node.enrollment")?,
                machine: r.get(2)?,
                hostname: parsed(&text(3)?, "node.hostname")?,
                mark: r.get(4)?,
                heard: r.get(5)?,
                silent: r.get(6)?,
            });
        }
        Ok(all)
    }

    /// Records that a node is silent since `now`, after the message with this mark.
    pub fn set_silent(&self, node: NodeId, mark: u64, now: u64) -> Result<(), StoreError> {
        // Not REPLACE: the trigger of the list would then see only half of it.
        let sql = "INSERT INTO silence (node, since, mark) VALUES (?1, ?2, ?3) ON CONFLICT (node) DO NOTHING";
        self.tx.execute(sql, params![node.to_string(), now, mark])?;
        Ok(())
    }

    /// Ends a node's silence; since when it lasted.
    pub fn end_silence(&self, node: NodeId) -> Result<Option<u64>, StoreError> {
        let sql = "DELETE FROM silence WHERE node = ?1 RETURNING since";
        Ok(self.tx.query_row(sql, [node.to_string()], |r| r.get(0)).optional()?)
    }

    /// Ends the silence of what is not a running node any longer, without an event.
    pub fn prune_silence(&self) -> Result<(), StoreError> {
        self.tx.execute(
            "DELETE FROM silence WHERE node NOT IN (SELECT n.id FROM node n JOIN enrollment e ON e.id = n.enrollment
               WHERE n.revoked IS NULL AND e.state IN ('FabricReady', 'Converged'))",
            [],
        )?;
        Ok(())
    }

    pub fn count_silent(&self) -> Result<u32, StoreError> {
        Ok(self.tx.query_row("SELECT count(*) FROM fleet WHERE stage = 'silent'", [], |r| r.get(0))?)
    }

    /// Records when machines that wait for approval were heard, as `(machine, Unix seconds)`. A node's own time is not changed by
    /// who claims its MAC address.
    pub fn touch_machines(&self, heard: &[(i64, u64)]) -> Result<(), StoreError> {
        let sql = "UPDATE machine SET last_seen = max(last_seen, ?2) WHERE id = ?1
                   AND NOT EXISTS (SELECT 1 FROM fleet WHERE machine = ?1 AND member = 1)";
        let mut q = self.tx.prepare_cached(sql)?;
        for (machine, at) in heard {
            q.execute(params![machine, at])?;
        }
        Ok(())
    }
}
