//! The machine's current network interfaces.

use std::net::Ipv4Addr;
use std::time::Duration;

use camino::Utf8Path;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::tool::Tool;

const LIMIT: Duration = Duration::from_secs(10);

/// True if the interface `name` is up and has this address: the kernel then routes packets to the address's network through
/// it.
pub fn is_up_with(name: &str, address: Ipv4Addr) -> bool {
    let Ok(mut all) = getifaddrs() else { return false };
    all.any(|entry| {
        let own = entry.address.as_ref().and_then(|a| a.as_sockaddr_in()).is_some_and(|a| a.ip() == address);
        own && entry.interface_name == name && entry.flags.contains(InterfaceFlags::IFF_UP)
    })
}

/// Whether the interface `name` has a link; `None` if the kernel does not say so, as for one that is down. `root` is the parent of
/// sys.
pub fn has_link(root: &Utf8Path, name: &str) -> Option<bool> {
    let text = std::fs::read_to_string(root.join("sys/class/net").join(name).join("carrier")).ok()?;
    Some(text.trim() == "1")
}

/// MTU in bytes of the way to `target`: of the interface, or of the route if that has a smaller one. `None` without a route.
/// `root` is the parent of sys.
pub fn mtu_to(root: &Utf8Path, target: Ipv4Addr) -> Option<u32> {
    let shown = Tool::new("ip").args(["-o", "-4", "route", "get", &target.to_string()]).timeout(LIMIT).run().ok()?;
    route_mtu(&shown.text(), |device| {
        std::fs::read_to_string(root.join("sys/class/net").join(device).join("mtu")).ok()?.trim().parse().ok()
    })
}

/// From the line that `ip route get` prints (ip-route(8)).
fn route_mtu(line: &str, device: impl Fn(&str) -> Option<u32>) -> Option<u32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |word: &str| words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1)).copied();
    let of_device = device(after("dev")?);
    let of_route = after("mtu").and_then(|m| m.parse().ok());
    of_device.into_iter().chain(of_route).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_interface_and_route_counts() {
        let device = |name: &str| [("eth0", 1500), ("ppp0", 1492)].into_iter().find(|(n, _)| *n == name).map(|(_, m)| m);
        for (line, mtu) in [
            ("10.44.0.1 dev eth0 src 10.44.0.9 uid 0 \\    cache ", Some(1500)),
            ("10.9.0.1 via 10.44.0.1 dev ppp0 src 10.44.0.9 uid 0 \\    cache ", Some(1492)),
            ("10.9.0.1 via 10.44.0.1 dev eth0 src 10.44.0.9 uid 0 \\    cache expires 500sec mtu 1400 ", Some(1400)),
            ("10.9.0.1 dev eth9 mtu 1300", Some(1300)),
            ("10.9.0.1 dev eth9", None),
            ("RTNETLINK answers: Network is unreachable", None),
            ("dev", None),
            ("", None),
        ] {
            assert_eq!(route_mtu(line, device), mtu, "{line}");
        }
        assert!(mtu_to("/".into(), Ipv4Addr::LOCALHOST).is_some_and(|m| m >= 1500));
    }

    #[test]
    fn a_link_is_read_where_there_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        for (name, text) in [("up", "1\n"), ("off", "0\n")] {
            std::fs::create_dir_all(root.join("sys/class/net").join(name)).unwrap();
            std::fs::write(root.join("sys/class/net").join(name).join("carrier"), text).unwrap();
        }
        assert_eq!(["up", "off", "none"].map(|name| has_link(root, name)), [Some(true), Some(false), None]);
    }

    #[test]
    fn an_address_belongs_to_its_interface_only() {
        assert!(is_up_with("lo", Ipv4Addr::LOCALHOST));
        assert!(!is_up_with("lo", Ipv4Addr::new(10, 78, 0, 1)));
        assert!(!is_up_with("wg1", Ipv4Addr::LOCALHOST));
        assert!(!is_up_with("", Ipv4Addr::UNSPECIFIED));
    }
}
