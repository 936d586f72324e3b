//! Nodes: approved members of the fleet, with their addresses on every plane.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use cluster_seed::ids::{Digest, EnrollmentId, Hostname, NodeId};
use cluster_seed::wireguard::WgPublicKey;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{StoreError, Tx, parsed};

#[derive(Debug, Clone)]
pub struct NodeRecord {
    pub id: NodeId,
    pub enrollment: EnrollmentId,
    pub hostname: Hostname,
    pub role: String,
    /// Host number on every plane.
    pub host: u32,
    pub artifact: Digest,
    pub endpoint: Option<Ipv4Addr>,
    pub planes: BTreeMap<String, (Ipv4Addr, WgPublicKey)>,
    pub revoked: bool,
}

const COLUMNS: &str = "id, enrollment, hostname, role, host, artifact, endpoint, revoked IS NOT NULL";

fn record(r: &Row<'_>) -> Result<NodeRecord, StoreError> {
    let text = |i: usize| r.get::<_, String>(i);
    Ok(NodeRecord {
        id: parsed(&text(0)?, "node.id")?,
        enrollment: parsed(&text(1)?, "node.enrollment")?,
        hostname: parsed(&text(2)?, "node.hostname")?,
        role: text(3)?,
        host: r.get(4)?,
        artifact: parsed(&text(5)?, "node.artifact")?,
        endpoint: r.get::<_, Option<String>>(6)?.map(|t| parsed(&t, "node.endpoint")).transpose()?,
        planes: BTreeMap::new(),
        revoked: r.get(7)?,
    })
}

impl Tx<'_> {
    /// `vault` is the identity as age ciphertext.
    pub fn insert_node(&self, node: &NodeRecord, vault: &[u8]) -> Result<(), StoreError> {
        self.tx.execute(
            "INSERT INTO node (id, enrollment, hostname, role, host, artifact, endpoint, vault) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)",
            params![
                node.id.to_string(),
                node.enrollment.to_string(),
                node.hostname.as_str(),
                node.role,
                node.host,
                node.artifact.to_string(),
                node.endpoint.map(|e| e.to_string()),
                vault
            ],
        )?;
        for (plane, (address, public)) in &node.planes {
            self.tx.execute(
                "INSERT INTO node_plane (node, plane, address, public) VALUES (?1, ?2, ?3, ?4)",
                params![node.id.to_string(), plane, address.to_string(), public.to_string()],
            )?;
        }
        Ok(())
    }

    /// Stores the identity's ciphertext for the vault.
    pub fn set_vault(&self, id: NodeId, vault: &[u8]) -> Result<(), StoreError> {
        self.tx.execute("UPDATE node SET vault = ?2 WHERE id = ?1", params![id.to_string(), vault])?;
        Ok(())
    }

    fn with_planes(&self, mut node: NodeRecord) -> Result<NodeRecord, StoreError> {
        let mut q = self.tx.prepare_cached("SELECT plane, address, public FROM node_plane WHERE node = ?1")?;
        let mut rows = q.query([node.id.to_string()])?;
        while let Some(r) = rows.next()? {
            let address = parsed(&r.get::<_, String>(1)?, "node_plane.address")?;
            let public = parsed(&r.get::<_, String>(2)?, "node_plane.public")?;
            node.planes.insert(r.get(0)?, (address, public));
        }
        Ok(node)
    }

    fn node_where(&self, condition: &str, value: &str) -> Result<Option<NodeRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM node WHERE {condition}");
        let found = self.tx.query_row(&sql, [value], |r| Ok(record(r))).optional()?;
        found.transpose()?.map(|n| self.with_planes(n)).transpose()
    }

    pub fn node_of(&self, enrollment: EnrollmentId) -> Result<Option<NodeRecord>, StoreError> {
        self.node_where("enrollment = ?1", &enrollment.to_string())
    }

    /// The node that currently has this host name.
    pub fn live_node(&self, hostname: &Hostname) -> Result<Option<NodeRecord>, StoreError> {
        self.node_where("hostname = ?1 AND revoked IS NULL", hostname.as_str())
    }

    pub fn live_nodes(&self) -> Result<Vec<NodeRecord>, StoreError> {
        let mut q = self.tx.prepare(&format!("SELECT {COLUMNS} FROM node WHERE revoked IS NULL ORDER BY hostname"))?;
        let mut rows = q.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(self.with_planes(record(row)?)?);
        }
        Ok(all)
    }

    /// `limit` nodes by name, without the first `skip`.
    pub fn live_nodes_page(&self, skip: u32, limit: u32) -> Result<Vec<NodeRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM node WHERE revoked IS NULL ORDER BY hostname LIMIT ?1 OFFSET ?2");
        let mut q = self.tx.prepare(&sql)?;
        let mut rows = q.query([limit, skip])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(self.with_planes(record(row)?)?);
        }
        Ok(all)
    }

    /// How many nodes have an address on each plane.
    pub fn nodes_per_plane(&self) -> Result<BTreeMap<String, u32>, StoreError> {
        let sql =
            "SELECT p.plane, count(*) FROM node_plane p JOIN node n ON n.id = p.node WHERE n.revoked IS NULL GROUP BY p.plane";
        let mut q = self.tx.prepare(sql)?;
        let rows = q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub fn count_live_nodes(&self) -> Result<u32, StoreError> {
        Ok(self.tx.query_row("SELECT count(*) FROM node WHERE revoked IS NULL", [], |r| r.get(0))?)
    }

    /// The host number of a host name, even if its node was revoked: a name keeps its addresses forever.
    pub fn host_of_name(&self, hostname: &Hostname) -> Result<Option<u32>, StoreError> {
        let sql = "SELECT host FROM node WHERE hostname = ?1 LIMIT 1";
        Ok(self.tx.query_row(sql, [hostname.as_str()], |r| r.get(0)).optional()?)
    }

    /// All host numbers that were ever assigned.
    pub fn host_numbers(&self) -> Result<BTreeSet<u32>, StoreError> {
        let mut q = self.tx.prepare("SELECT DISTINCT host FROM node")?;
        let rows = q.query_map([], |r| r.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub fn revoke_node(&self, id: NodeId, now: u64) -> Result<(), StoreError> {
        self.end_rotations(id)?;
        let changed =
            self.tx.execute("UPDATE node SET revoked = ?2 WHERE id = ?1 AND revoked IS NULL", params![id.to_string(), now])?;
        if changed == 1 { Ok(()) } else { Err(StoreError::Raced("node")) }
    }

    /// True if the address has changed.
    pub fn set_endpoint(&self, id: NodeId, endpoint: Ipv4Addr) -> Result<bool, StoreError> {
        let changed = self.tx.execute(
            "UPDATE node SET endpoint = ?2 WHERE id = ?1 AND endpoint IS NOT ?2",
            params![id.to_string(), endpoint.to_string()],
        )?;
        Ok(changed == 1)
    }
}
