//! What crosses the planes, from the flow agents by way of the site's Prometheus.

use serde::Serialize;

/// HTTP shape of `GET /api/v1/mesh`.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MeshView {
    /// The node whose Prometheus answered.
    pub source: Option<String>,
    /// Why there is no mesh.
    pub missing: Option<String>,
    /// Unix seconds.
    pub at: u64,
    /// Short names of the nodes that count, and of the peers they name.
    pub nodes: Vec<String>,
    /// The largest first.
    pub links: Vec<MeshLink>,
    pub violations: Vec<MeshViolation>,
    /// Of the last hour, the largest first.
    pub drops: Vec<MeshDrop>,
    /// Nodes whose flow agent cannot count.
    pub blind: Vec<String>,
    /// Links that were left out because there are too many.
    pub left_out: usize,
}

/// Traffic from one node to another on one plane, over the last five minutes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MeshLink {
    pub plane: String,
    pub from: String,
    pub to: String,
    pub bytes_per_second: f64,
    /// Mean of TCP's smoothed round-trip time, in seconds.
    pub rtt: Option<f64>,
}

/// A service on a plane that should not carry it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MeshViolation {
    pub node: String,
    pub peer: String,
    pub plane: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    pub port: String,
}

/// Packets that a node's kernel dropped.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MeshDrop {
    pub node: String,
    pub plane: String,
    /// As the kernel names it (enum skb_drop_reason).
    pub reason: String,
    pub packets: f64,
}
