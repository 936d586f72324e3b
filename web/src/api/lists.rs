//! Peer list versions of the nodes.

use serde::Serialize;

/// Where a machine's request arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// On the boot network, where a source address proves nothing.
    Underlay,
    /// On a socket bound to the control plane's interface: WireGuard let in no other source address than the node's own.
    ControlPlane,
}

/// HTTP shape of one node's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HeldView {
    /// Version that the node last reported; `None` if it has not reported one.
    pub version: Option<u64>,
    /// Version of the seed's list.
    pub current: u64,
    /// The grace time has passed, and the node has not reported the seed's list.
    pub behind: bool,
}

/// HTTP shape of the lists of all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ListsView {
    /// Version of the seed's list; 0 before there is one.
    pub version: u64,
    /// Nodes that should hold it.
    pub nodes: u32,
    /// Nodes that hold an older one, or have not reported one.
    pub behind: u32,
    /// Of these, nodes that have not received the last revocation.
    pub unaware: u32,
    /// Names of the most recently revoked nodes.
    pub revoked: Vec<String>,
}
