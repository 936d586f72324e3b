//! The interfaces that are watched: the planes, and the one that carries them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;

/// Name of the boot network in what is shown.
pub const UNDERLAY: &str = "underlay";
/// Most interfaces that are watched; `MAX_INTERFACES` of `bpf/maps.h`.
pub const MAX_INTERFACES: usize = 16;
/// Types of interfaces (include/uapi/linux/if_arp.h).
const ETHER: u16 = 1;
const NONE: u16 = 0xfffe;
/// Bytes of a header of Ethernet.
const ETHERNET_HEADER: u32 = 14;

/// An interface of this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    pub index: u32,
    /// Its type, as in if_arp.h.
    pub kind: u16,
    pub addresses: BTreeSet<IpAddr>,
}

/// An interface that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    pub device: Device,
    /// Name of the plane, or [`UNDERLAY`].
    pub plane: String,
    /// Bytes before the IP header: 14, or 0 for interfaces without a link layer, as WireGuard's.
    pub link: u32,
}

/// Every interface of this network namespace.
///
/// # Errors
/// If the kernel does not list them.
pub fn devices() -> nix::Result<Vec<Device>> {
    let mut found: BTreeMap<String, Device> = BTreeMap::new();
    for entry in getifaddrs()? {
        let device = found.entry(entry.interface_name.clone()).or_insert_with(|| Device {
            name: entry.interface_name.clone(),
            index: 0,
            kind: 0,
            addresses: BTreeSet::new(),
        });
        let Some(address) = entry.address else { continue };
        if let Some(link) = address.as_link_addr() {
            device.index = u32::try_from(link.ifindex()).unwrap_or(0);
            device.kind = link.hatype();
        } else if let Some(v4) = address.as_sockaddr_in() {
            device.addresses.insert(IpAddr::V4(v4.ip()));
        } else if let Some(v6) = address.as_sockaddr_in6() {
            device.addresses.insert(IpAddr::V6(v6.ip()));
        }
    }
    // An interface without a hardware address, as WireGuard's, has no link-layer entry: it has no header there either.
    let bare = |mut d: Device| {
        if d.index == 0 {
            d.index = if_nametoindex(d.name.as_str()).unwrap_or(0);
            d.kind = NONE;
        }
        d
    };
    Ok(found.into_values().map(bare).filter(|d| d.index != 0).collect())
}

/// Chooses the planes that exist, and the underlay: `underlay` by name, else the interface with the address `endpoint`, else the
/// first wired one with an address. At most [`MAX_INTERFACES`].
pub fn watched(devices: &[Device], planes: &[String], underlay: Option<&str>, endpoint: Option<IpAddr>) -> Vec<Watched> {
    let wired = |d: &&Device| d.kind == ETHER && (d.name.starts_with("en") || d.name.starts_with("eth"));
    let below = match underlay {
        Some(name) => devices.iter().find(|d| d.name == name),
        None => endpoint
            .and_then(|own| devices.iter().find(|d| d.addresses.contains(&own)))
            .or_else(|| devices.iter().find(|d| wired(d) && d.addresses.iter().any(IpAddr::is_ipv4))),
    };
    let below = below.filter(|d| !planes.contains(&d.name)).map(|d| (d, UNDERLAY.to_owned()));
    let on_planes = devices.iter().filter(|d| planes.contains(&d.name)).map(|d| (d, d.name.clone()));
    let link = |kind| match kind {
        ETHER => Some(ETHERNET_HEADER),
        NONE => Some(0),
        _ => None,
    };
    let all = below.into_iter().chain(on_planes);
    all.filter_map(|(device, plane)| Some(Watched { device: device.clone(), plane, link: link(device.kind)? }))
        .take(MAX_INTERFACES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, index: u32, kind: u16, address: &str) -> Device {
        Device { name: name.to_owned(), index, kind, addresses: [address.parse().unwrap()].into() }
    }

    fn chosen(devices: &[Device], underlay: Option<&str>, endpoint: Option<&str>) -> Vec<(u32, String, u32)> {
        let planes = ["wg1", "wg2"].map(str::to_owned);
        let found = watched(devices, &planes, underlay, endpoint.map(|e| e.parse().unwrap()));
        found.into_iter().map(|w| (w.device.index, w.plane, w.link)).collect()
    }

    #[test]
    fn planes_and_the_interface_that_carries_them() {
        let devices = [
            device("lo", 1, 772, "127.0.0.1"),
            device("docker0", 2, ETHER, "172.17.0.1"),
            device("ens3", 3, ETHER, "10.44.0.9"),
            device("ens4", 4, ETHER, "10.45.0.9"),
            device("wg1", 5, NONE, "10.78.0.2"),
            device("wg9", 6, NONE, "10.99.0.2"),
        ];
        let wg1 = (5, "wg1".to_owned(), 0);
        let under = |index| (index, UNDERLAY.to_owned(), 14);
        assert_eq!(chosen(&devices, None, None), [under(3), wg1.clone()]);
        assert_eq!(chosen(&devices, None, Some("10.45.0.9")), [under(4), wg1.clone()]);
        assert_eq!(chosen(&devices, None, Some("10.1.1.1")), [under(3), wg1.clone()]);
        assert_eq!(chosen(&devices, Some("docker0"), Some("10.45.0.9")), [under(2), wg1.clone()]);
        // Neither a missing interface, nor one of a type that has no known header.
        let only = std::slice::from_ref(&wg1);
        assert_eq!(chosen(&devices, Some("lo"), None), only);
        assert_eq!(chosen(&devices, Some("ens9"), None), only);
        // In the lab a plane can be the interface with the address.
        assert_eq!(chosen(&devices, Some("wg1"), None), only);
    }

    #[test]
    fn no_more_than_the_map_has_room_for() {
        for n in [MAX_INTERFACES - 1, MAX_INTERFACES, MAX_INTERFACES + 1] {
            let devices: Vec<Device> = (0..n).map(|i| device(&format!("wg{i}"), i as u32 + 1, NONE, "10.0.0.1")).collect();
            let planes: Vec<String> = devices.iter().map(|d| d.name.clone()).collect();
            assert_eq!(watched(&devices, &planes, Some("none"), None).len(), n.min(MAX_INTERFACES));
        }
    }

    #[test]
    fn this_host_has_a_loopback() {
        let all = devices().unwrap();
        let lo = all.iter().find(|d| d.name == "lo").unwrap();
        assert!(lo.index > 0 && lo.kind == 772 && lo.addresses.contains(&"127.0.0.1".parse().unwrap()));
    }
}
