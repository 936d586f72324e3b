//! The machine's current network interfaces.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::wireguard::MIN_MTU6;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::tool::{Tool, ToolError};

const LIMIT: Duration = Duration::from_secs(10);

/// Why an interface does not have the IPv6 address that it should.
#[derive(Debug, thiserror::Error)]
pub enum Address6Error {
    #[error("its MTU is {mtu}, and IPv6 needs {MIN_MTU6}")]
    Mtu { mtu: u16 },
    #[error(transparent)]
    Tool(#[from] ToolError),
}

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

/// Gives the interface this IPv6 address, with the length of its prefix, and takes all others of global scope from it; without one, it
/// only takes. Idempotent. `mtu` is that of the interface, in bytes; `root` is the parent of proc.
///
/// # Errors
/// If the MTU is too small for IPv6, or `ip` fails, as on a machine whose IPv6 is turned off.
pub fn set_address6(root: &Utf8Path, interface: &str, mtu: u16, wanted: Option<(Ipv6Addr, u8)>) -> Result<(), Address6Error> {
    if wanted.is_some() && mtu < MIN_MTU6 {
        return Err(Address6Error::Mtu { mtu });
    }
    // Without IPv6 in the kernel there is no such file.
    let held = addresses6(&std::fs::read_to_string(root.join("proc/net/if_inet6")).unwrap_or_default(), interface);
    // First, because the kernel knows an address by itself: it would keep the prefix of before.
    for (address, length) in held.iter().filter(|held| Some(**held) != wanted) {
        let old = format!("{address}/{length}");
        Tool::new("ip").args(["-6", "address", "delete", &old, "dev", interface]).timeout(LIMIT).run()?;
    }
    if let Some((address, length)) = wanted.filter(|wanted| !held.contains(wanted)) {
        // Nobody else has it, and a plane has no multicast to ask by.
        let new = format!("{address}/{length}");
        Tool::new("ip").args(["-6", "address", "replace", &new, "dev", interface, "nodad"]).timeout(LIMIT).run()?;
    }
    Ok(())
}

/// The addresses of global scope of an interface, and the lengths of their prefixes. `text` is /proc/net/if_inet6 (proc_net(5)): address,
/// index, length, scope and flags in hex, and the name.
fn addresses6(text: &str, interface: &str) -> Vec<(Ipv6Addr, u8)> {
    let line = |line: &str| match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
        [address, _, length, "00", _, name] if name == interface => {
            let address = u128::from_str_radix(address, 16).ok()?;
            Some((Ipv6Addr::from(address), u8::from_str_radix(length, 16).ok()?))
        }
        _ => None,
    };
    text.lines().filter_map(line).collect()
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
    fn the_ipv6_addresses_of_an_interface_are_those_of_global_scope() {
        let text = "\
00000000000000000000000000000001 01 80 10 80       lo
fd000078000000000000000000000002 05 40 00 80      wg1
fd000078000000010000000000000002 05 30 00 82      wg1
fe800000000000001234567890abcdef 05 40 20 80      wg1
fd000079000000000000000000000002 06 60 00 80      wg2
fd000079zz 06 60 00 80 wg2
";
        let found = |name: &str| -> Vec<String> { addresses6(text, name).iter().map(|(ip, n)| format!("{ip}/{n}")).collect() };
        assert_eq!(found("wg1"), ["fd00:78::2/64", "fd00:78:0:1::2/48"]);
        assert_eq!(found("wg2"), ["fd00:79::2/96"]);
        assert!(found("lo").is_empty() && found("wg").is_empty() && addresses6("", "wg1").is_empty());
    }

    #[test]
    fn an_interface_with_a_small_mtu_gets_no_ipv6_address() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let wanted = Some(("fd00:78::2".parse().unwrap(), 64));
        let error = set_address6(root, "wg1", MIN_MTU6 - 1, wanted).unwrap_err();
        assert_eq!(error.to_string(), "its MTU is 1279, and IPv6 needs 1280");
        // What is there already, and nothing that has to go: no program runs.
        std::fs::create_dir_all(root.join("proc/net")).unwrap();
        let line = "fd000078000000000000000000000002 05 40 00 80      wg1\n";
        std::fs::write(root.join("proc/net/if_inet6"), line).unwrap();
        assert!(set_address6(root, "wg1", MIN_MTU6, wanted).is_ok());
        assert!(set_address6(root, "wg2", 576, None).is_ok());
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
