//! One network as it is configured: its addresses, and what its replies say.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;

use crate::dhcp::leases::strangers::STRANGER_LEASE;
use crate::dhcp::loader::LoaderTable;
use crate::dhcp::pool::{PoolConfig, PoolRange, Reservation};
use crate::subnet::Subnet;

/// A network: the interface's own, or one behind a relay.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    pub subnet: Subnet,
    /// Not used in the modes `Reservation` and `Proxy`.
    pub ranges: Vec<PoolRange>,
    pub reservations: BTreeMap<Mac, Reservation>,
    pub router: Option<Ipv4Addr>,
    /// Without any, the server's own address is sent: debian-installer asks the operator for a name server when the
    /// option is missing.
    pub dns: Vec<Ipv4Addr>,
    pub domain: Option<String>,
    /// Option 119.
    pub search: Vec<String>,
    pub ntp: Vec<Ipv4Addr>,
    /// Option 26.
    pub mtu: Option<u16>,
    /// Option 121. The client then ignores option 3 (RFC 3442), so the router is repeated among them.
    pub routes: Vec<Route>,
    /// The operator's own options. They override what is sent otherwise.
    pub extra: Vec<ExtraOption>,
    /// At least 60 seconds; renewal (58) is at half of it, rebinding (59) at seven eighths (RFC 2131 section 4.4.5).
    pub lease_secs: u32,
    /// The same until the machine's loader or agent was heard of.
    pub stranger_secs: u32,
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
            stranger_secs: lease_secs.min(STRANGER_LEASE),
        }
    }

    /// What can be leased by a server with this address; without `pools` the reservations only.
    pub fn pool(&self, server_ip: Ipv4Addr, pools: bool) -> PoolConfig {
        PoolConfig {
            subnet: self.subnet,
            ranges: if pools { self.ranges.clone() } else { Vec::new() },
            server_ip,
            router: self.router,
            lease_secs: self.lease_secs,
            stranger_secs: self.stranger_secs,
            reservations: self.reservations.clone(),
        }
    }
}

/// What the replies of one network say.
#[derive(Debug, Clone)]
pub struct ReplyConfig {
    pub server_ip: Ipv4Addr,
    /// The TFTP server.
    pub next_server: Ipv4Addr,
    /// `http://address[:port]`, under which `/boot/<loader>` is found; HTTP boot clients need it.
    pub http_base: Option<String>,
    pub loaders: LoaderTable,
    pub network: NetworkConfig,
}

/// A way to a network (option 121).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub to: Subnet,
    pub via: Ipv4Addr,
}

/// An option as the operator wrote it; see [`ExtraOption::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraOption {
    pub(crate) code: u8,
    pub(crate) value: Vec<u8>,
}

/// Why an operator's option is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    #[error("option {0} is set by the server itself")]
    Reserved(u8),
    #[error("option {code} has {bytes} bytes; 1 to 255 fit")]
    Length { code: u8, bytes: usize },
}

impl ExtraOption {
    /// An option with 1 to 255 bytes. Those that carry the protocol itself are refused.
    pub fn new(code: u8, value: Vec<u8>) -> Result<Self, OptionError> {
        // Pad, end; what makes the lease and what echoes the request.
        if matches!(code, 0 | 1 | 50..=59 | 61 | 82 | 97 | 255) {
            return Err(OptionError::Reserved(code));
        }
        if value.is_empty() || value.len() > 255 {
            return Err(OptionError::Length { code, bytes: value.len() });
        }
        Ok(ExtraOption { code, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_the_operators_own_options() {
        for (code, len, fits) in [(252, 0, false), (252, 1, true), (252, 255, true), (252, 256, false), (43, 5, true)] {
            assert_eq!(ExtraOption::new(code, vec![1; len]).is_ok(), fits, "{code} {len}");
        }
        for code in [0, 1, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 61, 82, 97, 255] {
            assert_eq!(ExtraOption::new(code, vec![1]), Err(OptionError::Reserved(code)));
        }
    }
}
