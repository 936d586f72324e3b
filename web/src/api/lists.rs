//! Which peer list the nodes hold.

use serde::Serialize;

/// Where a machine's request arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// On the boot network, where a source address proves nothing.
    Underlay,
    /// On a socket bound to the control plane's interface: WireGuard let in no other source address than the node's own.
    ControlPlane,
}

/// HTTP shape of the list that one node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldView {
    /// Version that the node told of last; `None` if it has told of none.
    pub version: Option<u64>,
    /// Version of the seed's list.
    pub current: u64,
    /// The node has had the time to get the seed's list, and has not told of it.
    pub behind: bool,
}

/// HTTP shape of what all nodes hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListsView {
    /// Version of the seed's list; 0 before there is one.
    pub version: u64,
    /// Nodes that should hold it.
    pub nodes: u32,
    /// Nodes that hold an older one, or have told of none.
    pub behind: u32,
    /// Nodes of these that do not know of the last revocation.
    pub unaware: u32,
    /// Names of the nodes that were revoked last.
    pub revoked: Vec<String>,
}
