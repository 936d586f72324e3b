//! Leasable addresses of one network: ranges, reservations and their limits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;

use crate::subnet::Subnet;

/// Most addresses in the pools of one network (a /16).
pub const MAX_POOL: u32 = 65_536;
/// Most ranges of one network.
pub const MAX_RANGES: usize = 32;
/// The shortest lease, in seconds.
pub const MIN_LEASE: u32 = 60;

/// Addresses from `first` to `last`, inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolRange {
    pub first: Ipv4Addr,
    pub last: Ipv4Addr,
}

impl PoolRange {
    pub fn contains(self, ip: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&ip)
    }

    /// Number of addresses; 0 if it ends before it starts.
    pub fn len(self) -> u32 {
        u32::from(self.last).checked_sub(u32::from(self.first)).map_or(0, |n| n.saturating_add(1))
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// An address reserved for one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    pub ip: Ipv4Addr,
    /// Sent as option 12.
    pub hostname: Option<String>,
}

/// Invalid addresses in a network's configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    #[error("{0} is not a host address of {1}")]
    NotAHost(Ipv4Addr, Subnet),
    #[error("more than {MAX_RANGES} pool ranges in {0}")]
    TooManyRanges(Subnet),
    #[error("the pool {0} to {1} ends before it starts")]
    Empty(Ipv4Addr, Ipv4Addr),
    #[error("the pools from {0} and from {1} overlap")]
    Overlap(Ipv4Addr, Ipv4Addr),
    #[error("the pools of {0} have more than {MAX_POOL} addresses")]
    TooLarge(Subnet),
    #[error("{ip} (reserved for {mac}) cannot be leased in {subnet}")]
    NotLeasable { ip: Ipv4Addr, mac: Mac, subnet: Subnet },
    #[error("{0} is reserved twice")]
    ReservedTwice(Ipv4Addr),
    #[error("leases of {0} are shorter than {MIN_LEASE} seconds")]
    ShortLease(Subnet),
}

/// Leasable addresses.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    pub subnet: Subnet,
    /// If empty, only machines with a reservation get an address, and other machines never get a NAK: another server may have
    /// assigned their address.
    pub ranges: Vec<PoolRange>,
    pub server_ip: Ipv4Addr,
    pub router: Option<Ipv4Addr>,
    pub lease_secs: u32,
    /// The lease of a machine known only from DHCP; at most `lease_secs`.
    pub stranger_secs: u32,
    pub reservations: BTreeMap<Mac, Reservation>,
}

impl PoolConfig {
    /// Addresses in all ranges.
    pub fn size(&self) -> usize {
        self.ranges.iter().map(|r| r.len() as usize).sum()
    }

    /// The first problem with the addresses. Only if `local`, the server's address must be a host of the network: behind a
    /// relay it is not.
    pub fn check(&self, local: bool) -> Result<(), PoolError> {
        let host = |ip: Ipv4Addr| match self.subnet.is_host(ip) {
            true => Ok(()),
            false => Err(PoolError::NotAHost(ip, self.subnet)),
        };
        if self.ranges.len() > MAX_RANGES {
            return Err(PoolError::TooManyRanges(self.subnet));
        }
        for (n, range) in self.ranges.iter().enumerate() {
            if range.is_empty() {
                return Err(PoolError::Empty(range.first, range.last));
            }
            host(range.first)?;
            host(range.last)?;
            if let Some(twice) = self.ranges[..n].iter().find(|r| r.first <= range.last && range.first <= r.last) {
                return Err(PoolError::Overlap(twice.first, range.first));
            }
        }
        if self.size() > MAX_POOL as usize {
            return Err(PoolError::TooLarge(self.subnet));
        }
        if local {
            host(self.server_ip)?;
        }
        let mut seen = BTreeSet::new();
        for (mac, reservation) in &self.reservations {
            if !self.subnet.is_host(reservation.ip) || reservation.ip == self.server_ip {
                return Err(PoolError::NotLeasable { ip: reservation.ip, mac: *mac, subnet: self.subnet });
            }
            if !seen.insert(reservation.ip) {
                return Err(PoolError::ReservedTwice(reservation.ip));
            }
        }
        if self.lease_secs < MIN_LEASE { Err(PoolError::ShortLease(self.subnet)) } else { Ok(()) }
    }
}
