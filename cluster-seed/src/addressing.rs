//! Plane addresses: a node has the same host number on every plane; number 1 is the seed.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The seed's host number on every plane.
pub const SEED_HOST: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("plane {plane} ({cidr}) has no host number {host}")]
    OutOfRange { plane: String, cidr: Ipv4Net, host: u32 },
    #[error("no free host number: all {0} are in use")]
    Exhausted(usize),
}

/// The address of host number `host` on `net`; the network and broadcast addresses are never assigned.
pub fn address(plane: &str, net: Ipv4Net, host: u32) -> Result<Ipv4Addr, AddressError> {
    let out = || AddressError::OutOfRange { plane: plane.to_owned(), cidr: net, host };
    let size = 1u64 << (32 - u32::from(net.prefix_len()));
    if host == 0 || u64::from(host) >= size.saturating_sub(1) {
        return Err(out());
    }
    Ok(Ipv4Addr::from(u32::from(net.network()) + host))
}

/// The lowest free host number that exists on every plane. Numbers of revoked nodes stay in `used`, so that an old
/// peer list never lets a new node answer for an old one.
pub fn next_host(used: &BTreeSet<u32>, planes: &[Ipv4Net]) -> Result<u32, AddressError> {
    let smallest = planes.iter().map(|n| 1u64 << (32 - u32::from(n.prefix_len()))).min().unwrap_or(0);
    let end = u32::try_from(smallest.saturating_sub(1)).unwrap_or(u32::MAX);
    (SEED_HOST + 1..end).find(|n| !used.contains(n)).ok_or(AddressError::Exhausted(used.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_at_the_ends_of_a_plane() {
        let net: Ipv4Net = "10.78.0.0/29".parse().unwrap();
        assert_eq!(address("wg1", net, 1).unwrap(), Ipv4Addr::new(10, 78, 0, 1));
        assert_eq!(address("wg1", net, 6).unwrap(), Ipv4Addr::new(10, 78, 0, 6));
        for host in [0, 7, 8, u32::MAX] {
            assert!(address("wg1", net, host).is_err(), "{host}");
        }
    }

    #[test]
    fn numbers_are_given_in_order_until_the_smallest_plane_is_full() {
        let planes = ["10.78.0.0/16".parse().unwrap(), "10.79.0.0/29".parse().unwrap()];
        let mut used = BTreeSet::from([1]);
        for expected in 2..=6 {
            let host = next_host(&used, &planes).unwrap();
            assert_eq!(host, expected);
            used.insert(host);
        }
        assert_eq!(next_host(&used, &planes), Err(AddressError::Exhausted(6)));
    }
}
