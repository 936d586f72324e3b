//! DHCP: leases, reservations, pools, and other servers on the segment.

use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;
use serde::Serialize;

use super::error::ApiError;

/// HTTP shape of `GET /api/v1/dhcp`.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DhcpView {
    pub networks: Vec<DhcpNetwork>,
    /// Current leases that fit the search, sorted by address.
    pub leases: Vec<LeaseView>,
    /// Current leases in all.
    pub total: u32,
    pub reservations: Vec<ReservationView>,
    /// Other DHCP servers heard lately, the last heard first.
    pub servers: Vec<OtherServer>,
}

/// HTTP shape of a network with its pools.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DhcpNetwork {
    pub subnet: String,
    /// Where it is served: an interface, a relay, or the boot network.
    pub place: String,
    /// `full`, `reservation`, `proxy` or `auto`.
    pub mode: String,
    /// `first` to `last` of each pool.
    pub pools: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// Addresses of the pools, and those of them that are leased now.
    pub size: u64,
    pub used: u64,
}

/// HTTP shape of a lease.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LeaseView {
    pub ip: Ipv4Addr,
    #[cfg_attr(test, schemars(with = "crate::schema::MacAddress"))]
    pub mac: Mac,
    /// What the client calls itself.
    pub hostname: Option<String>,
    /// Seconds until it ends.
    pub left: u64,
    /// The machine with this MAC address, and its name if it is a node.
    pub machine: Option<i64>,
    pub node: Option<String>,
    pub reserved: bool,
}

/// HTTP shape of a reservation of cluster.yaml.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReservationView {
    #[cfg_attr(test, schemars(with = "crate::schema::MacAddress"))]
    pub mac: Mac,
    pub address: Ipv4Addr,
    pub hostname: Option<String>,
    pub subnet: String,
    /// It is leased now.
    pub leased: bool,
}

/// HTTP shape of another DHCP server.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OtherServer {
    pub address: Ipv4Addr,
    /// Unix milliseconds.
    pub heard: u64,
    /// What was heard last, as a sentence.
    pub text: String,
    /// Events about it among those that were looked at.
    pub times: u32,
}

/// DHCP as operators see it.
pub trait DhcpApi: Send + Sync {
    /// `search` is a part of an address, a MAC address or a name; empty for all leases.
    fn dhcp(&self, search: &str) -> Result<DhcpView, ApiError>;
}
