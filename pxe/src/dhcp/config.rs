//! What one interface serves.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;

use crate::leases::{LeaseRecord, LeaseTable};
use crate::loader::LoaderTable;
use crate::offer::{ExtraOption, ReplyConfig, Route};
use crate::pool::{PoolConfig, PoolRange, Reservation};
use crate::responder::Network;
use crate::subnet::Subnet;
use crate::watch::DhcpMode;

/// The most networks of one interface, its own among them.
pub const MAX_NETWORKS: usize = 64;

/// One network: the interface's own, or one that a relay stands in.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    pub subnet: Subnet,
    /// Not used in the modes `Reservation` and `Proxy`.
    pub ranges: Vec<PoolRange>,
    pub reservations: BTreeMap<Mac, Reservation>,
    pub router: Option<Ipv4Addr>,
    /// Empty: the server's own address is sent.
    pub dns: Vec<Ipv4Addr>,
    pub domain: Option<String>,
    pub search: Vec<String>,
    pub ntp: Vec<Ipv4Addr>,
    pub mtu: Option<u16>,
    pub routes: Vec<Route>,
    pub extra: Vec<ExtraOption>,
    /// At least 60 seconds.
    pub lease_secs: u32,
}

impl NetworkConfig {
    /// A network with addresses and nothing else.
    pub fn new(subnet: Subnet, ranges: Vec<PoolRange>, lease_secs: u32) -> Self {
        NetworkConfig {
            subnet,
            ranges,
            reservations: BTreeMap::new(),
            router: None,
            dns: Vec::new(),
            domain: None,
            search: Vec::new(),
            ntp: Vec::new(),
            mtu: None,
            routes: Vec::new(),
            extra: Vec::new(),
            lease_secs,
        }
    }
}

/// Everything one interface serves.
#[derive(Debug, Clone)]
pub struct DhcpConfig {
    pub iface: String,
    /// The server's address on that interface.
    pub server_ip: Ipv4Addr,
    pub mode: DhcpMode,
    /// The first is the interface's own; relays stand in the others.
    pub networks: Vec<NetworkConfig>,
    /// Addresses of relays that are in none of the networks, and name one (RFC 3527).
    pub relays: Vec<Ipv4Addr>,
    /// Ask the link whether anybody has an address before it is offered.
    pub probe: bool,
    /// Look who else answers on the link. Mode `Auto` does in any case.
    pub watch: bool,
    /// The TFTP server; absent: `server_ip`.
    pub next_server: Option<Ipv4Addr>,
    /// `http://address[:port]` for UEFI HTTP boot clients.
    pub http_base: Option<String>,
    pub loaders: LoaderTable,
}

impl DhcpConfig {
    /// A server that probes and watches.
    pub fn new(iface: &str, server_ip: Ipv4Addr, mode: DhcpMode, own: NetworkConfig) -> Self {
        DhcpConfig {
            iface: iface.to_owned(),
            server_ip,
            mode,
            networks: vec![own],
            relays: Vec::new(),
            probe: true,
            watch: true,
            next_server: None,
            http_base: None,
            loaders: LoaderTable::default(),
        }
    }

    /// Tables and reply texts of every network; the first thing wrong, in words. Leases of no network are dropped.
    pub(crate) fn build(&self, leases: &[LeaseRecord]) -> Result<Vec<Network>, String> {
        if self.networks.is_empty() || self.networks.len() > MAX_NETWORKS {
            return Err(format!("{} networks; 1 to {MAX_NETWORKS} can be served", self.networks.len()));
        }
        for (n, network) in self.networks.iter().enumerate() {
            let other = self.networks[..n]
                .iter()
                .find(|o| o.subnet.contains(network.subnet.network()) || network.subnet.contains(o.subnet.network()));
            if let Some(other) = other {
                return Err(format!("the networks {} and {} overlap", other.subnet, network.subnet));
            }
        }
        self.networks.iter().enumerate().map(|(n, network)| self.build_one(network, n == 0, leases)).collect()
    }

    fn build_one(&self, network: &NetworkConfig, local: bool, leases: &[LeaseRecord]) -> Result<Network, String> {
        let pools = matches!(self.mode, DhcpMode::Full | DhcpMode::Auto);
        let pool = PoolConfig {
            subnet: network.subnet,
            ranges: if pools { network.ranges.clone() } else { Vec::new() },
            server_ip: self.server_ip,
            router: network.router,
            lease_secs: network.lease_secs,
            reservations: network.reservations.clone(),
        };
        pool.check(local)?;
        let of_network = |l: &&LeaseRecord| network.subnet.contains(l.ip);
        let table = LeaseTable::new(pool, leases.iter().filter(of_network).cloned().collect());
        let config = ReplyConfig {
            server_ip: self.server_ip,
            subnet: network.subnet,
            router: network.router,
            dns: network.dns.clone(),
            domain: network.domain.clone(),
            search: network.search.clone(),
            ntp: network.ntp.clone(),
            mtu: network.mtu,
            routes: network.routes.clone(),
            extra: network.extra.clone(),
            lease_secs: network.lease_secs,
            next_server: self.next_server.unwrap_or(self.server_ip),
            http_base: self.http_base.clone(),
            loaders: self.loaders.clone(),
        };
        Ok(Network { table, config })
    }
}
