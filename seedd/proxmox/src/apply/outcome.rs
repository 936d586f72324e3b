//! What a run did, for people and as JSON.

use std::error::Error;
use std::fmt::Write as _;

use cluster_seed::ids::Digest;
use serde::Serialize;

use crate::ssh::Uploaded;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    pub images: Vec<HostOutcome>,
    /// Nodes in the order of the plan, then machines that cluster.yaml does not name.
    pub nodes: Vec<NodeOutcome>,
}

/// An image on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostOutcome {
    pub host: String,
    pub image: Digest,
    pub path: String,
    #[serde(flatten)]
    pub result: Uploaded,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeOutcome {
    pub node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vmid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(flatten)]
    pub result: NodeResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "result")]
pub enum NodeResult {
    Unchanged,
    Created,
    Rebuilt,
    Updated,
    Replaced,
    Started,
    Removed,
    /// It should be replaced or removed, which is not allowed.
    Kept {
        why: String,
    },
    /// The plan refused it.
    Refused {
        why: String,
        hint: String,
    },
    Failed {
        step: String,
        error: String,
        hint: String,
    },
    /// The run was stopped before its turn.
    NotStarted,
}

impl NodeResult {
    fn word(&self) -> &'static str {
        match self {
            NodeResult::Unchanged => "unchanged",
            NodeResult::Created => "created",
            NodeResult::Rebuilt => "rebuilt",
            NodeResult::Updated => "updated",
            NodeResult::Replaced => "replaced",
            NodeResult::Started => "started",
            NodeResult::Removed => "removed",
            NodeResult::Kept { .. } => "kept",
            NodeResult::Refused { .. } => "refused",
            NodeResult::Failed { .. } => "FAILED",
            NodeResult::NotStarted => "not started",
        }
    }

    /// Whether the node is now as cluster.yaml says.
    fn is_good(&self) -> bool {
        !matches!(self, NodeResult::Refused { .. } | NodeResult::Failed { .. } | NodeResult::NotStarted)
    }
}

impl Outcome {
    /// Whether nothing failed and nothing was refused. What was kept for want of permission is no failure.
    pub fn is_good(&self) -> bool {
        self.nodes.iter().all(|n| n.result.is_good())
    }

    /// One line for each node, and what to do.
    pub fn text(&self) -> String {
        // Writing to a String cannot fail.
        let mut text = String::new();
        for HostOutcome { host, image, path, result } in &self.images {
            let _ = match result {
                Uploaded::Present => writeln!(text, "{host}: image {} is there: {path}", image.short()),
                Uploaded::Sent { bytes, resumed } => {
                    let (sent, before) = (bytes >> 20, resumed >> 20);
                    writeln!(text, "{host}: image {} sent: {sent} MiB, {before} MiB were there: {path}", image.short())
                }
            };
        }
        let width = self.nodes.iter().map(|n| n.node.len()).max().unwrap_or(0);
        for NodeOutcome { node, vmid, host, result } in &self.nodes {
            let vmid = vmid.map(|v| v.to_string()).unwrap_or_default();
            let _ = writeln!(text, "{:<11} {vmid:>5}  {node:<width$}  {}", result.word(), host.as_deref().unwrap_or(""));
            let _ = match result {
                NodeResult::Kept { why } => writeln!(text, "  {why}"),
                NodeResult::Refused { why, hint } => writeln!(text, "  {why}\n  hint: {hint}"),
                NodeResult::Failed { step, error, hint } => writeln!(text, "  {step}: {error}\n  hint: {hint}"),
                _ => Ok(()),
            };
        }
        text
    }
}

/// An error with its sources.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}
