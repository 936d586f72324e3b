//! Plane addresses: a node has the same host number on every plane; number 1 is the seed.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// The seed's host number on every plane.
pub const SEED_HOST: u32 = 1;
/// Prefix lengths of a plane's IPv6 range: no larger than a site's prefix (RFC 4193 section 3.1), and with 32 bits left for the offset
/// of an IPv4 address.
const LENGTHS6: std::ops::RangeInclusive<u8> = 48..=96;

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

/// Why a network cannot be the IPv6 range of a plane.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Range6Error {
    #[error("{0} has host bits set")]
    HostBits(Ipv6Net),
    #[error("{0} is not /48 to /96")]
    Length(Ipv6Net),
    #[error("{0} is not a range of unicast addresses")]
    Kind(Ipv6Net),
}

/// Checks the IPv6 range of a plane: unique local (fc00::/7) or global (2000::/3) addresses, /48 to /96, without host bits.
///
/// # Errors
/// The first of these that does not hold.
pub fn check_range6(net: Ipv6Net) -> Result<(), Range6Error> {
    let first = net.addr().segments()[0];
    if first & 0xfe00 != 0xfc00 && first & 0xe000 != 0x2000 {
        return Err(Range6Error::Kind(net));
    }
    if !LENGTHS6.contains(&net.prefix_len()) {
        return Err(Range6Error::Length(net));
    }
    if net.addr() != net.network() {
        return Err(Range6Error::HostBits(net));
    }
    Ok(())
}

/// The IPv6 address of a member: it has the same distance from the start of `cidr6` as its IPv4 address has from the start of `cidr`.
/// Seed and nodes compute it, and nothing is stored for it. `None` if `cidr6` is no range for a plane ([`check_range6`]), or `address`
/// is not in `cidr`.
pub fn address6(cidr6: Ipv6Net, cidr: Ipv4Net, address: Ipv4Addr) -> Option<Ipv6Addr> {
    check_range6(cidr6).ok()?;
    let offset = u32::from(address).checked_sub(u32::from(cidr.network())).filter(|_| cidr.contains(&address))?;
    // The range has at least 32 bits of zeros there.
    Some(Ipv6Addr::from(u128::from(cidr6.network()) | u128::from(offset)))
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
    use proptest::prelude::*;

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

    fn six(cidr6: &str, cidr: &str, address: &str) -> Option<String> {
        address6(cidr6.parse().unwrap(), cidr.parse().unwrap(), address.parse().unwrap()).map(|ip| ip.to_string())
    }

    #[test]
    fn an_ipv6_address_has_the_offset_of_the_ipv4_address() {
        for (cidr6, cidr, address, expected) in [
            ("fd00:78::/64", "10.78.0.0/16", "10.78.0.1", Some("fd00:78::1")),
            ("fd00:78::/64", "10.78.0.0/16", "10.78.1.2", Some("fd00:78::102")),
            ("fd00:78::/48", "10.78.0.0/16", "10.78.255.254", Some("fd00:78::fffe")),
            ("fd00:78:0:1:2:3::/96", "10.0.0.0/8", "10.255.255.254", Some("fd00:78:0:1:2:3:ff:fffe")),
            ("2001:db8:5::/56", "10.78.0.8/29", "10.78.0.10", Some("2001:db8:5::2")),
            // Not of the plane, or not a range for one.
            ("fd00:78::/64", "10.78.0.0/16", "10.79.0.1", None),
            ("fd00:78::/64", "10.78.0.0/16", "10.77.255.255", None),
            ("fd00:78::/97", "10.78.0.0/16", "10.78.0.1", None),
            ("ff02::/64", "10.78.0.0/16", "10.78.0.1", None),
        ] {
            assert_eq!(six(cidr6, cidr, address).as_deref(), expected, "{address} in {cidr6}");
        }
    }

    #[test]
    fn the_range_of_a_plane_is_unicast_and_has_room() {
        let net = |text: &str| text.parse::<Ipv6Net>().unwrap();
        for good in ["fd12:3456:789a::/48", "fd12:3456:789a:1::/64", "fc00::/96", "2001:db8::/64", "3fff:ffff::/48"] {
            assert_eq!(check_range6(net(good)), Ok(()), "{good}");
        }
        for bad in ["fd00::/47", "fd00::/97", "fd00::1/128"] {
            assert_eq!(check_range6(net(bad)), Err(Range6Error::Length(net(bad))));
        }
        for bad in ["ff00::/64", "fe80::/64", "::/64", "::ffff:0:0/96", "64:ff9b::/96", "4000::/64", "fe00::/64", "1fff::/64"] {
            assert_eq!(check_range6(net(bad)), Err(Range6Error::Kind(net(bad))));
        }
        let bits = net("fd00::1/64");
        assert_eq!(check_range6(bits), Err(Range6Error::HostBits(bits)));
    }

    proptest! {
        #[test]
        fn members_have_different_ipv6_addresses_inside_of_the_range(
            bits in any::<u128>(), length6 in 48u8..=96, base in any::<u32>(), length in 8u8..=29, a in any::<u32>(), b in any::<u32>(),
        ) {
            let first = (bits >> 8) | (0xfd_u128 << 120);
            let cidr6 = Ipv6Net::new(Ipv6Addr::from(first), length6).unwrap().trunc();
            let cidr = Ipv4Net::new(Ipv4Addr::from(base), length).unwrap().trunc();
            let hosts = (1u32 << (32 - length)) - 2;
            let of = |n: u32| {
                let own = address("wg1", cidr, n % hosts + 1).unwrap();
                (own, address6(cidr6, cidr, own).unwrap())
            };
            let ((a4, a6), (b4, b6)) = (of(a), of(b));
            prop_assert!(cidr6.contains(&a6) && cidr6.contains(&b6));
            prop_assert_eq!(a4 == b4, a6 == b6);
            // The first address of a range belongs to its routers (RFC 4291 section 2.6.1).
            prop_assert!(a6 != cidr6.network());
        }
    }
}
