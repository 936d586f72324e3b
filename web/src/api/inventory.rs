//! Nodes, enrollments and planes as flat lists: for the command line and for inventories.

use std::net::{Ipv4Addr, Ipv6Addr};

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::{Digest, EnrollmentId, Mac};
use serde::Serialize;

use super::error::ApiError;
use super::fleet::EnrollmentView;
use super::flight::EventView;
use super::lists::HeldView;
use super::people::Actor;
use super::planes::PlaneRow;

/// HTTP shape of a node in `GET /api/v1/nodes`: an approved member that was not revoked.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    pub hostname: String,
    pub role: String,
    #[cfg_attr(test, schemars(with = "crate::schema::EnrollmentState"))]
    pub state: EnrollmentState,
    /// Unix seconds of the last change of state.
    pub since: u64,
    #[cfg_attr(test, schemars(with = "crate::schema::EnrollmentNumber"))]
    pub enrollment: EnrollmentId,
    /// Its machine's id.
    pub machine: i64,
    #[cfg_attr(test, schemars(with = "crate::schema::MacAddress"))]
    pub mac: Mac,
    /// Address on the boot network, as last seen.
    pub endpoint: Option<Ipv4Addr>,
    /// In the order of the planes' names.
    pub planes: Vec<NodePlane>,
    /// Vendor and product, sanitised.
    pub model: String,
    /// Serial number of the machine; empty if it has none.
    pub serial: String,
    #[cfg_attr(test, schemars(with = "crate::schema::Sha256Hex"))]
    pub artifact: Digest,
    /// Unix seconds of its last message.
    pub last_seen: u64,
    /// The peer list that it holds, once it runs.
    pub list: Option<HeldView>,
    /// What fails together with it, by `nodes` or `substrate` of cluster.yaml.
    pub failure_domain: Option<String>,
    /// Where its machine is mounted; empty if nobody noted it.
    pub place: String,
    /// Of its machine, in order: a word or `key=value`.
    pub labels: Vec<String>,
}

/// HTTP shape of a node's place on a plane.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodePlane {
    pub plane: String,
    pub address: Ipv4Addr,
    /// On planes with IPv6.
    pub address6: Option<Ipv6Addr>,
    /// WireGuard's public key, in base64.
    pub public_key: String,
}

/// HTTP shape of an enrollment in `GET /api/v1/enrollments`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentRow {
    #[serde(flatten)]
    pub enrollment: EnrollmentView,
    pub machine: i64,
    #[cfg_attr(test, schemars(with = "Option<crate::schema::MacAddress>"))]
    pub mac: Option<Mac>,
    /// Unix seconds.
    pub created: u64,
    /// The join token that it named instead of showing a code.
    pub token: Option<String>,
}

/// HTTP shape of `GET /api/v1/ssh`: by whom the nodes' host keys are certified.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SshView {
    /// Public key of the site's SSH host authority, as in authorized_keys (sshd(8)); `None` before the first unseal.
    pub authority: Option<String>,
    /// Domain of the nodes' names.
    pub domain: String,
}

/// A page of a list, and how many rows all pages have.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    pub rows: Vec<T>,
    pub total: u32,
}

/// Lists that the command line reads. Pages are counted from 1 and have [`crate::limits::LIST_PAGE`] rows.
pub trait InventoryApi: Send + Sync {
    /// By name.
    fn nodes(&self, page: u32) -> Result<Listed<NodeView>, ApiError>;
    /// Newest first.
    fn enrollments(&self, page: u32) -> Result<Listed<EnrollmentRow>, ApiError>;
    fn planes(&self) -> Result<Vec<PlaneRow>, ApiError>;
    fn ssh(&self) -> Result<SshView, ApiError>;
    /// Of the newest `limit` events, those that the actor may see, oldest first.
    fn last_events(&self, actor: &Actor, limit: u32) -> Result<Vec<EventView>, ApiError>;
}
