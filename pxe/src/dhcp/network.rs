//! Configuration of one network: its addresses, and the options in its replies.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;

use crate::dhcp::leases::strangers::STRANGER_LEASE;
use crate::dhcp::loader::LoaderTable;
use crate::dhcp::pool::{PoolConfig, PoolRange, Reservation};
use crate::subnet::Subnet;

/// The interface's own network, or one behind a relay.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    pub subnet: Subnet,
    /// Not used in the modes `Reservation` and `Proxy`.
    pub ranges: Vec<PoolRange>,
    pub reservations: BTreeMap<Mac, Reservation>,
    pub router: Option<Ipv4Addr>,
    /// If empty, the server's own address is sent: without the option, debian-installer prompts for a name server.
    pub dns: Vec<Ipv4Addr>,
    pub domain: Option<String>,
    /// Option 119.
    pub search: Vec<String>,
    pub ntp: Vec<Ipv4Addr>,
    /// Option 26.
    pub mtu: Option<u16>,
    /// Option 121. Clients then ignore option 3 (RFC 3442), so the default router is included here.
    pub routes: Vec<Route>,
    /// Options set by the operator. They override the defaults.
    pub extra: Vec<ExtraOption>,
    /// At least 60 seconds; renewal (58) is at half of it, rebinding (59) at seven eighths (RFC 2131 section 4.4.5).
    pub lease_secs: u32,
    /// The same, until the machine's loader or agent was heard from.
    pub stranger_secs: u32,
}

impl NetworkConfig {
    /// A network with addresses but no options.
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

    /// Addresses that a server with this address can lease; without `pools`, only the reservations.
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

/// Options in the replies of one network.
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

/// A route to a network (option 121).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub to: Subnet,
    pub via: Ipv4Addr,
}

/// An option set by the operator; see [`ExtraOption::new`].
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
    /// An option with 1 to 255 bytes. Options that the server itself controls are refused.
    pub fn new(code: u8, value: Vec<u8>) -> Result<Self, OptionError> {
        // Pad, end, and options that define the lease or echo the request.
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
