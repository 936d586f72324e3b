//! The machine that a seed runs on, as shown and changed on its console: interfaces, disks, settings, power.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use host::clock::now;
use host::files::{read_limited, write_atomic};
use site::hint::Hint as _;

use crate::console::view::{ConsoleView, DiskView, InterfaceView};
use crate::control::answer::{Asked, Wish};
use crate::settings::{Address, FILE, Settings, StatePlace};

/// Maximum size of one attribute in /sys, in bytes.
const MAX_ATTRIBUTE: u64 = 4096;
/// Maximum size of appliance.json, in bytes.
const MAX_SETTINGS: u64 = 64 << 10;
/// Maximum number of interfaces and of disks shown.
const MAX_SHOWN: usize = 64;
/// ARPHRD_ETHER of linux/if_arp.h.
const ETHERNET: &str = "1";

/// Why settings were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("there is no interface {0:?} on this machine")]
    Interface(String),
    #[error("{0} is not a host address")]
    NotAHost(ipnet::Ipv4Net),
    #[error("{0} leaves no addresses for machines: use a prefix length from 8 to 30")]
    Prefix(ipnet::Ipv4Net),
    #[error("there is no disk {0:?} on this machine")]
    Disk(String),
}

/// Directories for data that belongs to the appliance, not to the site.
#[derive(Debug, Clone)]
pub struct Place {
    /// Contains appliance.json.
    pub state: Utf8PathBuf,
    /// Emptied at every start; systemd path units watch for the files `reboot` and `poweroff` in it.
    pub run: Utf8PathBuf,
}

#[derive(Debug, Clone)]
pub struct Host {
    /// `/`, or a directory in tests.
    pub root: Utf8PathBuf,
    /// None on an ordinary server: then nothing on the machine is changed.
    pub appliance: Option<Place>,
    /// Where the state is, as text.
    pub state: String,
}

impl Host {
    /// A daemon on an ordinary server.
    pub fn server(data: &Utf8Path) -> Self {
        Host { root: Utf8PathBuf::from("/"), appliance: None, state: format!("directory {data}") }
    }

    /// Adds the machine's data to the view.
    pub fn complete(&self, view: &mut ConsoleView) -> Result<()> {
        view.version = env!("CARGO_PKG_VERSION").to_owned();
        view.hostname = nix::unistd::gethostname().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        view.interfaces = self.interfaces()?;
        view.disks = disks(&self.root);
        view.state.clone_from(&self.state);
        view.appliance = self.appliance.is_some();
        view.settings = self.settings()?;
        view.clock = now();
        Ok(())
    }

    pub fn interfaces(&self) -> Result<Vec<InterfaceView>> {
        Ok(interfaces(&self.root, &addresses()?))
    }

    /// The stored settings, or the defaults.
    pub fn settings(&self) -> Result<Settings> {
        let Some(place) = &self.appliance else { return Ok(Settings::default()) };
        let path = place.state.join(FILE);
        if !path.exists() {
            return Ok(Settings::default());
        }
        serde_json::from_slice(&read_limited(&path, MAX_SETTINGS)?).with_context(|| format!("reading {path}"))
    }

    /// Checks and stores settings; they replace the stored ones.
    pub fn store_settings(&self, settings: &Settings) -> Result<()> {
        let place = self.place()?;
        let names: Vec<String> = interfaces(&self.root, &BTreeMap::new()).into_iter().map(|i| i.name).collect();
        let disks: Vec<String> = disks(&self.root).into_iter().map(|d| d.name).collect();
        check(settings, &names, &disks)?;
        let mut text = serde_json::to_vec_pretty(settings).context("writing the settings")?;
        text.push(b'\n');
        Ok(write_atomic(&place.state.join(FILE), &text, 0o644)?)
    }

    /// Creates a file for the systemd path units: the daemon itself may not switch the machine off.
    pub fn power(&self, wish: Wish) -> Result<Asked> {
        let place = self.place()?;
        let name = match wish {
            Wish::Reboot => "reboot",
            Wish::PowerOff => "poweroff",
        };
        write_atomic(&place.run.join(name), b"requested on the console\n", 0o644)?;
        Ok(Asked { asked: wish })
    }

    fn place(&self) -> Result<&Place> {
        let place = self.appliance.as_ref();
        place
            .ok_or_else(|| anyhow!("this seed is not an appliance, so it does not change the settings of its machine"))
            .hint("change the settings on the machine itself, and the options of `seedd serve`")
    }
}

/// Checks settings against the machine's interfaces and disks.
///
/// # Errors
/// The first problem found.
pub fn check(settings: &Settings, interfaces: &[String], disks: &[String]) -> Result<(), SettingsError> {
    if let Some(iface) = &settings.iface
        && !interfaces.contains(iface)
    {
        return Err(SettingsError::Interface(iface.clone()));
    }
    if let Some(Address::Static(net)) = settings.address {
        check_address(net)?;
    }
    if let Some(StatePlace::Disk(path)) = &settings.state {
        let known = path.strip_prefix("/dev/").is_some_and(|name| disks.iter().any(|d| d == name));
        if !known {
            return Err(SettingsError::Disk(path.clone()));
        }
    }
    Ok(())
}

pub fn check_address(net: ipnet::Ipv4Net) -> Result<(), SettingsError> {
    if !(8..=30).contains(&net.prefix_len()) {
        return Err(SettingsError::Prefix(net));
    }
    let ip = net.addr();
    let edge = ip == net.network() || ip == net.broadcast();
    let this = ip.octets()[0] == 0 || ip.octets()[0] >= 240;
    if edge || this || ip.is_loopback() || ip.is_multicast() || ip.is_link_local() {
        return Err(SettingsError::NotAHost(net));
    }
    Ok(())
}

/// The Ethernet interfaces below `root`, sorted by name; `addresses` are the addresses of each.
pub fn interfaces(root: &Utf8Path, addresses: &BTreeMap<String, Vec<String>>) -> Vec<InterfaceView> {
    let dir = root.join("sys/class/net");
    let attribute = |name: &str, file: &str| {
        // Some attributes cannot be read (a card that is down has no carrier); they count as empty.
        let bytes = read_limited(&dir.join(name).join(file), MAX_ATTRIBUTE).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    };
    let mut names: Vec<String> = dir
        .read_dir_utf8()
        .map(|entries| entries.filter_map(|e| Some(e.ok()?.file_name().to_owned())).collect())
        .unwrap_or_default();
    names.sort();
    names.retain(|n| attribute(n, "type") == ETHERNET);
    names.truncate(MAX_SHOWN);
    let view = |name: String| InterfaceView {
        mac: attribute(&name, "address"),
        up: attribute(&name, "carrier") == "1",
        addresses: addresses.get(&name).cloned().unwrap_or_default(),
        name,
    };
    names.into_iter().map(view).collect()
}

fn disks(root: &Utf8Path) -> Vec<DiskView> {
    let found = host::hardware::disks(root).into_iter().take(MAX_SHOWN);
    found.map(|d| DiskView { name: d.name, model: d.model, size: d.size, removable: d.removable }).collect()
}

/// Addresses with prefix length, by interface; IPv4 first.
fn addresses() -> Result<BTreeMap<String, Vec<String>>> {
    let mut found: BTreeMap<String, Vec<(bool, String)>> = BTreeMap::new();
    for entry in nix::ifaddrs::getifaddrs().context("listing addresses")? {
        let (Some(address), Some(mask)) = (entry.address, entry.netmask) else { continue };
        if let (Some(ip), Some(mask)) = (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
            let text = format!("{}/{}", ip.ip(), u32::from(mask.ip()).leading_ones());
            found.entry(entry.interface_name).or_default().push((false, text));
        } else if let (Some(ip), Some(mask)) = (address.as_sockaddr_in6(), mask.as_sockaddr_in6()) {
            // A link-local address cannot be used in a browser.
            if !ip.ip().is_unicast_link_local() {
                let text = format!("{}/{}", ip.ip(), u128::from(mask.ip()).leading_ones());
                found.entry(entry.interface_name).or_default().push((true, text));
            }
        }
    }
    let sorted = found.into_iter().map(|(name, mut list)| {
        list.sort();
        (name, list.into_iter().map(|(_, text)| text).collect())
    });
    Ok(sorted.collect())
}

/// The addresses at which a browser reaches a listener on `at`: all addresses of the machine if that is the wildcard.
pub fn page_urls(scheme: &str, at: SocketAddr, interfaces: &[InterfaceView]) -> Vec<String> {
    let usual = matches!((scheme, at.port()), ("http", 80) | ("https", 443));
    let url = |ip: IpAddr| {
        if usual { format!("{scheme}://{}", bracketed(ip)) } else { format!("{scheme}://{}", SocketAddr::new(ip, at.port())) }
    };
    if !at.ip().is_unspecified() {
        return vec![url(at.ip())];
    }
    let all = interfaces.iter().flat_map(|i| &i.addresses);
    let ips: Vec<IpAddr> = all.filter_map(|a| a.split('/').next()?.parse().ok()).collect();
    // The IPv4 wildcard does not accept IPv6; the IPv6 wildcard accepts both (ipv6(7), IPV6_V6ONLY).
    ips.into_iter().filter(|ip| ip.is_ipv4() || at.is_ipv6()).map(url).collect()
}

fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests;
