//! The addresses of an appliance: which interface is for netboot, and how each one gets its address.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use host::clock::Stopwatch;
use host::dhcp::Lease;
use host::files::{PRIVATE, Start, open, write_atomic};
use host::tool::Running;
use ipnet::Ipv4Net;

use super::settings::{Address, Settings};
use super::tool;

/// Name under which the DHCP client calls this program, and the variable with the directory for leases.
pub const HOOK: &str = "udhcpc-hook";
const HOOK_DIR: &str = "KUBEDOS_LEASES";
/// How long to wait for a DHCP server before the static address is used.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for a link after the interfaces were brought up.
const LINK: Duration = Duration::from_secs(8);
const TICK: Duration = Duration::from_millis(200);

/// A physical Ethernet interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    pub name: String,
    pub link: bool,
}

/// The interfaces below `root`.
pub fn nics(root: &Utf8Path) -> Vec<Nic> {
    let link = |name: &str| {
        // The carrier attribute cannot be read while the interface is down.
        fs::read_to_string(root.join("sys/class/net").join(name).join("carrier")).is_ok_and(|t| t.trim() == "1")
    };
    host::hardware::nics(root).into_iter().map(|n| Nic { link: link(&n.name), name: n.name }).collect()
}

/// The interface for netboot: the selected one, otherwise the only one with a link, otherwise the only one.
pub fn choose(chosen: Option<&str>, nics: &[Nic]) -> Result<String, String> {
    if let Some(name) = chosen {
        let there = nics.iter().any(|n| n.name == name);
        return if there { Ok(name.to_owned()) } else { Err(format!("there is no interface {name}")) };
    }
    let mut linked = nics.iter().filter(|n| n.link);
    match (linked.next(), linked.next(), nics) {
        (Some(one), None, _) | (None, None, [one]) => Ok(one.name.clone()),
        (Some(_), Some(_), _) => Err("more than one interface has a link: select the one for netboot".to_owned()),
        (None, _, []) => Err("no supported network card was found".to_owned()),
        (None, _, _) => Err("no interface has a link: connect a cable, or select an interface".to_owned()),
    }
}

/// How an interface gets its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    Static(Vec<Ipv4Net>),
    /// From a DHCP server; `fallback` after 10 s.
    Dhcp {
        fallback: Option<Ipv4Net>,
        also: Option<Ipv4Net>,
    },
}

/// How every interface gets its address. `own` is the seed's address on the boot network; `site` is true once there is a site.
pub fn plan(settings: &Settings, nics: &[Nic], netboot: Option<&str>, own: Ipv4Net, site: bool) -> Vec<(String, Way)> {
    // None was selected: the web interface must be reachable at some address.
    let first = netboot.or_else(|| nics.iter().find(|n| n.link).or(nics.first()).map(|n| n.name.as_str()));
    let way = |nic: &Nic| {
        let is_netboot = Some(nic.name.as_str()) == first;
        match &settings.address {
            _ if !is_netboot => nic.link.then_some(Way::Dhcp { fallback: None, also: None }),
            Some(Address::Static(net)) if site && net.addr() != own.addr() => Some(Way::Static(vec![own, *net])),
            Some(Address::Static(net)) => Some(Way::Static(vec![*net])),
            Some(Address::Dhcp) if site => Some(Way::Dhcp { fallback: None, also: Some(own) }),
            None if site => Some(Way::Static(vec![own])),
            _ => Some(Way::Dhcp { fallback: Some(own), also: None }),
        }
    };
    nics.iter().filter_map(|nic| Some((nic.name.clone(), way(nic)?))).collect()
}

fn lease_file(dir: &Utf8Path, iface: &str) -> Utf8PathBuf {
    dir.join(format!("lease.{iface}"))
}

/// The script of the DHCP client. It only removes addresses that it added itself, because the seed's own address may be on the
/// same interface.
pub fn hook(event: &str, get: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    let dir = Utf8PathBuf::from(get(HOOK_DIR).ok_or_else(|| anyhow!("{HOOK_DIR} is not set"))?);
    let forget = |iface: &str, but: &str| {
        let file = lease_file(&dir, iface);
        let Ok(old) = fs::read_to_string(&file) else { return };
        if old != but {
            if let Err(error) = tool::remove_address(iface, &old) {
                tracing::warn!(error = format!("{error:#}"), iface, "removing an address");
            }
            // Without a lease the file does not exist.
            let _ = fs::remove_file(file);
        }
    };
    match event {
        "deconfig" => forget(&get("interface").unwrap_or_default(), ""),
        "bound" | "renew" => {
            let lease = Lease::from_env(get).ok_or_else(|| anyhow!("the lease is invalid"))?;
            let address = format!("{}/{}", lease.address, lease.prefix);
            forget(&lease.interface, &address);
            tool::add_address(&lease.interface, &address)?;
            if let Some(router) = lease.router {
                tool::default_route(&lease.interface, &router.to_string())?;
            }
            write_atomic(&lease_file(&dir, &lease.interface), address.as_bytes(), 0o644).context("storing the lease")?;
        }
        _ => {}
    }
    Ok(())
}

/// Brings all interfaces up and waits until one has a link.
pub fn wake(root: &Utf8Path) -> Vec<Nic> {
    let started = Stopwatch::start();
    loop {
        let found = nics(root);
        for nic in found.iter().filter(|n| !n.link) {
            if let Err(error) = tool::link_up(&nic.name) {
                tracing::warn!(error = format!("{error:#}"), iface = nic.name, "bringing up an interface");
            }
        }
        if started.elapsed() >= LINK || !found.is_empty() && found.iter().all(|n| n.link) {
            return found;
        }
        std::thread::sleep(TICK);
    }
}

/// The running DHCP clients; dropping this stops them, but keeps the addresses.
#[derive(Default)]
pub struct Network {
    clients: Vec<Running>,
}

impl Network {
    /// Executes a plan. `dir` is for leases and logs. If one interface fails, the others are still configured; failures are
    /// returned as warnings.
    pub fn start(plan: &[(String, Way)], dir: &Utf8Path) -> (Self, Vec<String>) {
        let (mut network, mut warnings) = (Network::default(), Vec::new());
        let mut waiting = Vec::new();
        for (iface, way) in plan {
            let done = match way {
                Way::Static(nets) => nets.iter().try_for_each(|net| tool::add_address(iface, &net.to_string())),
                Way::Dhcp { fallback, also } => {
                    waiting.extend(fallback.map(|net| (iface, net)));
                    also.iter()
                        .try_for_each(|net| tool::add_address(iface, &net.to_string()))
                        .and_then(|()| network.client(iface, dir))
                }
            };
            if let Err(error) = done {
                warnings.push(format!("{iface} has no address: {error:#}"));
            }
        }
        let started = Stopwatch::start();
        let missing = |iface: &str| !lease_file(dir, iface).exists();
        while waiting.iter().any(|(iface, _)| missing(iface)) && started.elapsed() < PATIENCE {
            std::thread::sleep(TICK);
        }
        for (iface, net) in waiting.iter().filter(|(iface, _)| missing(iface)) {
            tracing::info!(iface, %net, "no DHCP server answered; using the seed's static address");
            if let Err(error) = tool::add_address(iface, &net.to_string()) {
                warnings.push(format!("{iface} has no address: {error:#}"));
            }
        }
        (network, warnings)
    }

    fn client(&mut self, iface: &str, dir: &Utf8Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("creating {dir}"))?;
        let script = dir.join(HOOK);
        let own = std::env::current_exe().context("finding the path of this program")?;
        if !script.is_symlink() {
            symlink(own, &script).with_context(|| format!("creating {script}"))?;
        }
        let _ = fs::remove_file(lease_file(dir, iface));
        let path = dir.join("udhcpc.log");
        let log = open(&path, Start::End, PRIVATE).with_context(|| format!("opening {path}"))?;
        self.clients.push(tool::dhcp_client(iface, &script, (HOOK_DIR, dir), log)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards(words: &str) -> Vec<Nic> {
        words.split_whitespace().map(|w| Nic { link: w.ends_with('+'), name: w.trim_end_matches('+').to_owned() }).collect()
    }

    #[test]
    fn the_netboot_interface_is_chosen_or_clear() {
        for (chosen, nics, expected) in [
            (None, "a+", Ok("a")),
            (None, "a", Ok("a")),
            (None, "a b+", Ok("b")),
            (None, "a+ b+", Err("more than one")),
            (None, "a b", Err("no interface has a link")),
            (None, "", Err("no supported network card")),
            (Some("a"), "a b+", Ok("a")),
            (Some("c"), "a b+", Err("there is no interface c")),
        ] {
            match (choose(chosen, &cards(nics)), expected) {
                (Ok(found), Ok(name)) => assert_eq!(found, name, "{nics}"),
                (Err(why), Err(words)) => assert!(why.contains(words), "{nics}: {why}"),
                (found, _) => panic!("{nics}: {found:?}"),
            }
        }
    }

    #[test]
    fn the_table_of_addresses() {
        let own: Ipv4Net = "10.44.0.1/24".parse().unwrap();
        let other: Ipv4Net = "10.9.0.1/24".parse().unwrap();
        let set = |address: Option<Address>| Settings { address, ..Default::default() };
        let dhcp = |fallback, also| Way::Dhcp { fallback, also };
        let (fixed, lan) = (Some(Address::Static(other)), Some(Address::Dhcp));
        for (address, netboot, site, expected) in [
            (None, Some("a"), false, vec![("a", dhcp(Some(own), None)), ("b", dhcp(None, None))]),
            (None, None, false, vec![("a", dhcp(Some(own), None)), ("b", dhcp(None, None))]),
            (None, Some("b"), false, vec![("a", dhcp(None, None)), ("b", dhcp(Some(own), None))]),
            (None, Some("c"), false, vec![("a", dhcp(None, None)), ("b", dhcp(None, None)), ("c", dhcp(Some(own), None))]),
            (lan.clone(), Some("a"), false, vec![("a", dhcp(Some(own), None)), ("b", dhcp(None, None))]),
            (fixed.clone(), Some("a"), false, vec![("a", Way::Static(vec![other])), ("b", dhcp(None, None))]),
            (None, Some("a"), true, vec![("a", Way::Static(vec![own])), ("b", dhcp(None, None))]),
            (lan, Some("a"), true, vec![("a", dhcp(None, Some(own))), ("b", dhcp(None, None))]),
            (fixed, Some("a"), true, vec![("a", Way::Static(vec![own, other])), ("b", dhcp(None, None))]),
        ] {
            let found = plan(&set(address), &cards("a+ b+ c"), netboot, own, site);
            let expected: Vec<_> = expected.into_iter().map(|(n, w)| (n.to_owned(), w)).collect();
            assert_eq!(found, expected, "{netboot:?} {site}");
        }
    }
}
