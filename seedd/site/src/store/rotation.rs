//! Keys of nodes that are being replaced.

use std::collections::BTreeSet;

use cluster_seed::ids::{Hostname, NodeId};
use cluster_seed::rotation::Stage;
use cluster_seed::wireguard::WgPublicKey;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{StoreError, Tx, parsed};

/// A key that is being replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationRecord {
    pub node: NodeId,
    pub hostname: Hostname,
    pub plane: String,
    /// Of the request: drawn for each.
    pub serial: u64,
    pub stage: Stage,
    /// The new key while announced, the old one once switched.
    pub other: Option<WgPublicKey>,
    /// Version of the list that brought the stage.
    pub version: u64,
    /// Unix seconds.
    pub since: u64,
    /// Who asked for it.
    pub actor: String,
}

const COLUMNS: &str = "node, hostname, plane, serial, stage, other, version, since, actor";

fn record(r: &Row<'_>) -> Result<RotationRecord, StoreError> {
    let text = |i: usize| r.get::<_, String>(i);
    Ok(RotationRecord {
        node: parsed(&text(0)?, "rotation.node")?,
        hostname: parsed(&text(1)?, "node.hostname")?,
        plane: text(2)?,
        serial: r.get(3)?,
        stage: parsed(&text(4)?, "rotation.stage")?,
        other: r.get::<_, Option<String>>(5)?.map(|t| parsed(&t, "rotation.other")).transpose()?,
        version: r.get(6)?,
        since: r.get(7)?,
        actor: text(8)?,
    })
}

impl Tx<'_> {
    /// By host name and plane.
    pub fn rotations(&self) -> Result<Vec<RotationRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM rotation JOIN node ON node.id = rotation.node ORDER BY hostname, plane");
        let mut q = self.tx.prepare_cached(&sql)?;
        let mut rows = q.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(record(row)?);
        }
        Ok(all)
    }

    pub fn rotates(&self) -> Result<bool, StoreError> {
        Ok(self.tx.query_row("SELECT EXISTS (SELECT 1 FROM rotation)", [], |r| r.get(0))?)
    }

    /// Puts a key into the queue. False if it is being replaced already, or the node is not on the plane.
    pub fn queue_rotation(&self, node: NodeId, plane: &str, actor: &str, now: u64) -> Result<bool, StoreError> {
        let sql = "INSERT INTO rotation (node, plane, serial, stage, since, actor)
                   SELECT node, plane, abs(random() % 4294967296), 'queued', ?3, ?4 FROM node_plane WHERE node = ?1 AND plane = ?2
                   ON CONFLICT (node, plane) DO NOTHING";
        Ok(self.tx.execute(sql, params![node.to_string(), plane, now, actor])? == 1)
    }

    fn move_rotation(&self, r: &RotationRecord, stage: Stage, now: u64) -> Result<(), StoreError> {
        let sql = "UPDATE rotation SET stage = ?4, other = NULL, since = ?5, serial = abs(random() % 4294967296)
                   WHERE node = ?1 AND plane = ?2 AND stage = ?3";
        let changed = self.tx.execute(sql, params![r.node.to_string(), r.plane, r.stage.as_str(), stage.as_str(), now])?;
        if changed == 1 { Ok(()) } else { Err(StoreError::Raced("rotation")) }
    }

    /// From the queue: the node is asked for its new key.
    pub fn ask_rotation(&self, r: &RotationRecord, now: u64) -> Result<(), StoreError> {
        self.move_rotation(r, Stage::Asked, now)
    }

    /// Back into the queue. The next request has another number, so that an answer to this one comes too late.
    pub fn requeue_rotation(&self, r: &RotationRecord, now: u64) -> Result<(), StoreError> {
        self.move_rotation(r, Stage::Queued, now)
    }

    /// The node answered the request with this number. False if it was not asked that, or somebody has the key already.
    pub fn announce_rotation(
        &self,
        node: NodeId,
        plane: &str,
        serial: u64,
        key: &WgPublicKey,
        now: u64,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE rotation SET stage = 'announced', other = ?4, since = ?5
                   WHERE node = ?1 AND plane = ?2 AND serial = ?3 AND stage = 'asked'
                   AND NOT EXISTS (SELECT 1 FROM node_plane WHERE public = ?4)
                   AND NOT EXISTS (SELECT 1 FROM rotation WHERE other = ?4)";
        Ok(self.tx.execute(sql, params![node.to_string(), plane, serial, key.to_string(), now])? == 1)
    }

    /// The new key counts; the old one is kept beside it.
    pub fn switch_rotation(&self, r: &RotationRecord, now: u64) -> Result<(), StoreError> {
        let node = r.node.to_string();
        let sql = "SELECT public FROM node_plane WHERE node = ?1 AND plane = ?2";
        let old: Option<String> = self.tx.query_row(sql, params![node, r.plane], |row| row.get(0)).optional()?;
        let (Some(old), Some(new)) = (old, r.other) else { return Err(StoreError::Raced("rotation")) };
        let sql = "UPDATE rotation SET stage = 'switched', other = ?3, since = ?4
                   WHERE node = ?1 AND plane = ?2 AND stage = 'announced'";
        if self.tx.execute(sql, params![node, r.plane, old, now])? != 1 {
            return Err(StoreError::Raced("rotation"));
        }
        self.set_plane_key(r.node, &r.plane, &new, now)
    }

    /// A node's key of a plane was replaced by another one of its own.
    pub fn set_plane_key(&self, node: NodeId, plane: &str, key: &WgPublicKey, now: u64) -> Result<(), StoreError> {
        let sql = "UPDATE node_plane SET public = ?3, rotated = ?4 WHERE node = ?1 AND plane = ?2";
        let changed = self.tx.execute(sql, params![node.to_string(), plane, key.to_string(), now])?;
        if changed == 1 { Ok(()) } else { Err(StoreError::Raced("node")) }
    }

    /// The old key is gone.
    pub fn finish_rotation(&self, r: &RotationRecord) -> Result<(), StoreError> {
        let sql = "DELETE FROM rotation WHERE node = ?1 AND plane = ?2 AND stage = 'switched'";
        let changed = self.tx.execute(sql, params![r.node.to_string(), r.plane])?;
        if changed == 1 { Ok(()) } else { Err(StoreError::Raced("rotation")) }
    }

    /// A node that left, or a list that came from elsewhere.
    pub fn end_rotations(&self, node: NodeId) -> Result<(), StoreError> {
        self.tx.execute("DELETE FROM rotation WHERE node = ?1", [node.to_string()])?;
        Ok(())
    }

    /// Which list brought the stages that have no version yet.
    pub fn date_rotations(&self, some: &[(NodeId, String)], version: u64) -> Result<(), StoreError> {
        let mut q = self.tx.prepare_cached("UPDATE rotation SET version = ?3 WHERE node = ?1 AND plane = ?2")?;
        for (node, plane) in some {
            q.execute(params![node.to_string(), plane, version])?;
        }
        Ok(())
    }

    /// Live nodes that have replaced a key.
    pub fn rotated_nodes(&self) -> Result<BTreeSet<(Hostname, NodeId)>, StoreError> {
        let sql = "SELECT DISTINCT hostname, id FROM node JOIN node_plane ON node_plane.node = node.id
                   WHERE revoked IS NULL AND rotated IS NOT NULL";
        let mut q = self.tx.prepare_cached(sql)?;
        let mut rows = q.query([])?;
        let mut all = BTreeSet::new();
        while let Some(r) = rows.next()? {
            all.insert((parsed(&r.get::<_, String>(0)?, "node.hostname")?, parsed(&r.get::<_, String>(1)?, "node.id")?));
        }
        Ok(all)
    }
}
