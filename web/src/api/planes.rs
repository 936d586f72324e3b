//! Planes: what they are, what they carry, and keys of nodes that are being replaced.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::people::Actor;

/// HTTP shape of a plane in `GET /api/v1/planes`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlaneRow {
    pub name: String,
    #[cfg_attr(test, schemars(with = "crate::schema::Network"))]
    pub cidr: Ipv4Net,
    /// Range of IPv6 addresses, if it has one.
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Network6>"))]
    pub cidr6: Option<Ipv6Net>,
    /// UDP port of WireGuard.
    pub port: u16,
    /// The seed's address and public key there.
    pub seed: Ipv4Addr,
    pub seed6: Option<Ipv6Addr>,
    pub public_key: Option<String>,
    /// Nodes with an address there.
    pub nodes: u32,
    pub purpose: String,
    /// `mesh` or `hub`.
    pub topology: String,
    /// Roles of the hubs besides the seed.
    pub hubs: Vec<String>,
    /// In bytes; without it, what the boot network leaves.
    pub mtu: Option<u16>,
    /// `open` or `deny`.
    pub policy: String,
    /// What it carries, if it denies everything else.
    pub allows: Vec<AllowRow>,
}

/// HTTP shape of an allow.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AllowRow {
    /// A role, `seed` or `any`.
    pub from: String,
    /// A role or `any`.
    pub to: String,
    /// As `tcp/2379`, `udp/4000-4100`, `vrrp` or `any`.
    pub ports: Vec<String>,
    pub why: String,
    /// For the platform, not from cluster.yaml.
    pub built_in: bool,
}

/// How far a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum RotationStage {
    /// Waits for its turn, or for a node that is silent.
    Queued,
    /// Waits for the node's new key.
    Asked,
    /// Waits until every node has the new key.
    Announced,
    /// The node changes over, and the others follow it.
    Switched,
}

/// HTTP shape of a key that is being replaced, in `GET /api/v1/rotations`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RotationRow {
    /// Host name.
    pub node: String,
    pub plane: String,
    pub stage: RotationStage,
    /// Unix seconds.
    pub since: u64,
    /// Who asked for it.
    pub actor: String,
}

/// HTTP shape of `POST /api/v1/rotations`: the keys of a node, of a plane, of a node on a plane, or all.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RotateWish {
    /// Host name, with or without the site's domain.
    #[serde(default)]
    pub node: Option<String>,
    #[serde(default)]
    pub plane: Option<String>,
    /// Every key; without a node and a plane.
    #[serde(default)]
    pub all: bool,
}

/// Keys of nodes on planes.
pub trait RotationApi: Send + Sync {
    /// By host name and plane.
    fn rotations(&self) -> Result<Vec<RotationRow>, ApiError>;
    /// Replaces the keys that are meant, in stages; the answer has all that are being replaced.
    fn rotate(&self, actor: &Actor, wish: &RotateWish) -> Result<Vec<RotationRow>, ApiError>;
}
