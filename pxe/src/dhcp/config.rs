//! DHCP configuration of one interface.

use std::net::Ipv4Addr;

use crate::dhcp::leases::{LeaseRecord, LeaseTable};
use crate::dhcp::loader::LoaderTable;
use crate::dhcp::mode::DhcpMode;
use crate::dhcp::network::{NetworkConfig, ReplyConfig};
use crate::dhcp::pool::PoolError;
use crate::dhcp::responder::Network;
use crate::subnet::Subnet;

/// Most networks of one interface, including its own.
pub const MAX_NETWORKS: usize = 64;

/// An invalid configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{0} networks; 1 to {MAX_NETWORKS} can be served")]
    Networks(usize),
    #[error("the networks {0} and {1} overlap")]
    Overlap(Subnet, Subnet),
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// DHCP configuration of one interface.
#[derive(Debug, Clone)]
pub struct DhcpConfig {
    pub iface: String,
    /// The server's address on that interface.
    pub server_ip: Ipv4Addr,
    pub mode: DhcpMode,
    /// The first is the interface's own network; the others are behind relays.
    pub networks: Vec<NetworkConfig>,
    /// Addresses of relays outside all networks, which name a network (RFC 3527).
    pub relays: Vec<Ipv4Addr>,
    /// Probe (ARP) whether an address is in use before it is offered.
    pub probe: bool,
    /// Watch for other servers on the link. Mode `Auto` always does.
    pub watch: bool,
    /// The TFTP server; default: `server_ip`.
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

    /// Lease tables and reply settings of every network. Leases outside all networks are dropped.
    pub(crate) fn build(&self, leases: &[LeaseRecord]) -> Result<Vec<Network>, ConfigError> {
        if self.networks.is_empty() || self.networks.len() > MAX_NETWORKS {
            return Err(ConfigError::Networks(self.networks.len()));
        }
        for (n, network) in self.networks.iter().enumerate() {
            let other = self.networks[..n]
                .iter()
                .find(|o| o.subnet.contains(network.subnet.network()) || network.subnet.contains(o.subnet.network()));
            if let Some(other) = other {
                return Err(ConfigError::Overlap(other.subnet, network.subnet));
            }
        }
        self.networks.iter().enumerate().map(|(n, network)| self.build_one(network, n == 0, leases)).collect()
    }

    fn build_one(&self, network: &NetworkConfig, local: bool, leases: &[LeaseRecord]) -> Result<Network, ConfigError> {
        let pool = network.pool(self.server_ip, matches!(self.mode, DhcpMode::Full | DhcpMode::Auto));
        pool.check(local)?;
        let of_network = |l: &&LeaseRecord| network.subnet.contains(l.ip);
        let table = LeaseTable::new(pool, leases.iter().filter(of_network).cloned().collect());
        let config = ReplyConfig {
            server_ip: self.server_ip,
            next_server: self.next_server.unwrap_or(self.server_ip),
            http_base: self.http_base.clone(),
            loaders: self.loaders.clone(),
            network: network.clone(),
        };
        Ok(Network { table, config })
    }
}
