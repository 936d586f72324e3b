//! Convergence of each node: what it was allowed to run, what it ran, and its checks.

use cluster_seed::agent::GateCheck;
use cluster_seed::converge::orders::{HeldBundle, Orders, RunReport};
use cluster_seed::converge::survey::Target;
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::NodeId;
use cluster_seed::seal::Sealed;
use rusqlite::{OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::nodes::NodeRecord;
use super::{StoreError, Tx, parsed};

/// What the seed keeps about a node's convergence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConvergeRecord {
    /// What it was allowed to run last.
    pub granted: Option<Target>,
    /// When that was, in Unix seconds.
    pub granted_at: u64,
    /// What it ran last.
    pub run: Option<RunReport>,
    /// When the run ended, in Unix seconds.
    pub ended_at: u64,
    /// The last check run, and when it ended.
    pub check: Option<RunReport>,
    pub checked_at: u64,
    /// The check run that was asked for last, by number.
    pub check_attempt: u64,
    /// When an operator asked for a check run of this node alone, in Unix seconds; it numbers the run.
    pub check_asked: u64,
    /// Further attempts of this node alone.
    pub extra: u64,
    /// A run has succeeded once.
    pub converged: bool,
    pub checks: Vec<GateCheck>,
    pub bundle: Option<HeldBundle>,
    /// Bytes of payload that it fetched in all.
    pub fetched: u64,
}

/// A live node, its state, and its convergence.
#[derive(Debug, Clone)]
pub struct Converging {
    pub node: NodeRecord,
    pub state: EnrollmentState,
    /// Unix seconds of its last message; 0 if there was none.
    pub at: u64,
    pub record: ConvergeRecord,
}

fn read(text: Option<String>) -> Result<ConvergeRecord, StoreError> {
    let parsed = text.map(|t| serde_json::from_str(&t).map_err(|_| StoreError::Corrupt { what: "node.converge" }));
    Ok(parsed.transpose()?.unwrap_or_default())
}

impl Tx<'_> {
    /// Records that a message came. False if the node is revoked, or a later message came before.
    pub fn take_converge_seq(&self, node: NodeId, seq: u64, now: u64) -> Result<bool, StoreError> {
        let changed = self.tx.execute(
            "UPDATE node SET converge_seq = ?2, converge_at = ?3 WHERE id = ?1 AND revoked IS NULL AND converge_seq < ?2",
            params![node.to_string(), seq, now],
        )?;
        Ok(changed == 1)
    }

    pub fn converge_of(&self, node: NodeId) -> Result<ConvergeRecord, StoreError> {
        let found = self.tx.query_row("SELECT converge FROM node WHERE id = ?1", [node.to_string()], |r| r.get(0)).optional()?;
        read(found.flatten())
    }

    pub fn set_converge(&self, node: NodeId, record: &ConvergeRecord) -> Result<(), StoreError> {
        let text = serde_json::to_string(record).map_err(|_| StoreError::Corrupt { what: "node.converge" })?;
        self.tx.execute("UPDATE node SET converge = ?2 WHERE id = ?1", params![node.to_string(), text])?;
        Ok(())
    }

    /// The orders that the node was given last.
    pub fn orders_of(&self, node: NodeId) -> Result<Option<Sealed<Orders>>, StoreError> {
        let found: Option<Option<String>> =
            self.tx.query_row("SELECT orders FROM node WHERE id = ?1", [node.to_string()], |r| r.get(0)).optional()?;
        let bad = |_| StoreError::Corrupt { what: "node.orders" };
        found.flatten().map(|text| serde_json::from_str(&text).map_err(bad)).transpose()
    }

    pub fn set_orders(&self, node: NodeId, orders: &Sealed<Orders>) -> Result<(), StoreError> {
        let text = serde_json::to_string(orders).map_err(|_| StoreError::Corrupt { what: "node.orders" })?;
        self.tx.execute("UPDATE node SET orders = ?2 WHERE id = ?1", params![node.to_string(), text])?;
        Ok(())
    }

    /// Every live node by name.
    pub fn converging(&self) -> Result<Vec<Converging>, StoreError> {
        let mut all = Vec::new();
        let mut q = self.tx.prepare_cached(
            "SELECT state, converge_at, converge FROM node JOIN enrollment ON enrollment.id = node.enrollment WHERE node.id = ?1",
        )?;
        for node in self.live_nodes()? {
            let (state, at, text): (String, u64, Option<String>) =
                q.query_row([node.id.to_string()], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
            all.push(Converging { state: parsed(&state, "enrollment.state")?, at, record: read(text)?, node });
        }
        Ok(all)
    }
}
