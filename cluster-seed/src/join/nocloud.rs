//! The NoCloud seed of cloud-init: `user-data` tells where the seed is, `network-config` gives a static address. Only these
//! parts are read; everything else of cloud-init is ignored.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::address::{AddressError, Interface, MAX_DNS, StaticAddress, ipv4, prefix};
use super::{Given, JoinError, seed_url};
use crate::seal::key_from_text;

/// Largest file read, in bytes.
pub const MAX_BYTES: usize = 64 << 10;
/// Labels of the volume.
pub const LABELS: [&str; 2] = ["cidata", "CIDATA"];
pub const USER_DATA: &str = "user-data";
pub const NETWORK_CONFIG: &str = "network-config";

fn text_of(bytes: &[u8]) -> Result<&str, JoinError> {
    if bytes.len() > MAX_BYTES {
        return Err(JoinError::TooLarge(bytes.len()));
    }
    std::str::from_utf8(bytes).map_err(|e| JoinError::Yaml(e.to_string()))
}

#[derive(Deserialize)]
struct UserData {
    #[serde(default)]
    kubedos: Option<Section>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Section {
    seed: Option<String>,
    site_key: Option<String>,
    token: Option<String>,
}

/// Reads `user-data`: lines such as `kubedos.seed=http://10.44.0.1`, or else the section `kubedos` (seed, siteKey, token) of its
/// YAML. Other people's user-data, whatever its form, tells nothing.
pub fn user_data(bytes: &[u8]) -> Result<Given, JoinError> {
    let Ok(text) = text_of(bytes) else {
        return if bytes.len() > MAX_BYTES { Err(JoinError::TooLarge(bytes.len())) } else { Ok(Given::default()) };
    };
    let given = Given::of_words(text.lines().map(str::trim))?;
    // Quoted, as programs write YAML.
    let section = |line: &str| ["kubedos:", "\"kubedos\":", "'kubedos':"].iter().any(|key| line.starts_with(key));
    if !given.is_empty() || !text.lines().any(section) {
        return Ok(given);
    }
    let data: UserData = serde_saphyr::from_str(text).map_err(|e| JoinError::Yaml(first_line(&e)))?;
    let Some(Section { seed, site_key, token }) = data.kubedos else { return Ok(given) };
    Ok(Given {
        seed: seed.as_deref().map(seed_url).transpose()?,
        site: site_key.as_deref().map(key_from_text).transpose().map_err(JoinError::SiteKey)?,
        token: token.map(|t| t.parse()).transpose()?,
    })
}

/// Errors of the parser quote the file over several lines.
fn first_line(e: &dyn fmt::Display) -> String {
    e.to_string().lines().next().unwrap_or_default().chars().take(200).collect()
}

/// Why a network-config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("reading it")]
    Read(#[from] JoinError),
    #[error("its address is invalid")]
    Address(#[from] AddressError),
    #[error("version {0} is not supported (want 1 or 2)")]
    Version(u32),
}

/// The first entry of a map, in the order of the file.
#[derive(Debug)]
struct First<T>(Option<(String, T)>);

impl<T> Default for First<T> {
    fn default() -> Self {
        First(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = First<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<First<T>, A::Error> {
                let first = map.next_entry()?;
                while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }
        d.deserialize_map(Entries(PhantomData))
    }
}

#[derive(Deserialize)]
struct Network {
    version: u32,
    #[serde(default)]
    ethernets: First<Ethernet>,
    #[serde(default)]
    config: Vec<Item>,
}

/// One interface of version 2 (netplan).
#[derive(Debug, Deserialize)]
struct Ethernet {
    #[serde(default, rename = "match")]
    matched: Match,
    #[serde(default)]
    addresses: Vec<String>,
    gateway4: Option<String>,
    #[serde(default)]
    routes: Vec<Route>,
    #[serde(default)]
    nameservers: Servers,
}

#[derive(Debug, Default, Deserialize)]
struct Match {
    macaddress: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Route {
    to: String,
    via: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Servers {
    #[serde(default)]
    addresses: Vec<String>,
}

/// One item of version 1, as Proxmox writes it.
#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    mac_address: Option<String>,
    #[serde(default)]
    subnets: Vec<Subnet>,
    #[serde(default)]
    address: Option<OneOrMore>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Deserialize)]
struct Subnet {
    #[serde(rename = "type")]
    kind: String,
    address: Option<String>,
    netmask: Option<String>,
    gateway: Option<String>,
}

/// Reads `network-config`: the first static IPv4 address of the first Ethernet interface, its gateway and name servers. `None`
/// if that interface uses DHCP.
pub fn network_config(bytes: &[u8]) -> Result<Option<StaticAddress>, NetworkError> {
    let text = text_of(bytes)?;
    let yaml = |e: serde_saphyr::Error| JoinError::Yaml(first_line(&e));
    let wrapped = text.lines().any(|l| l.starts_with("network:"));
    let network = if wrapped {
        serde_saphyr::from_str::<Wrapped>(text).map_err(yaml)?.network
    } else {
        serde_saphyr::from_str::<Network>(text).map_err(yaml)?
    };
    match network.version {
        1 => version_1(&network.config),
        2 => network.ethernets.0.map_or(Ok(None), |(name, ethernet)| version_2(&name, &ethernet)),
        other => Err(NetworkError::Version(other)),
    }
}

#[derive(Deserialize)]
struct Wrapped {
    network: Network,
}

/// The interface by its hardware address, by its name if that is one, else the first.
fn interface(mac: Option<&str>, name: Option<&str>) -> Result<Interface, AddressError> {
    match mac {
        Some(mac) => mac.parse().map(Interface::Mac).map_err(|_| AddressError::Interface(mac.chars().take(32).collect())),
        None => Ok(name.and_then(|n| Interface::named(n).ok()).unwrap_or_default()),
    }
}

fn servers<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<std::net::Ipv4Addr> {
    texts.filter_map(|t| t.parse().ok()).take(MAX_DNS).collect()
}

fn version_2(name: &str, e: &Ethernet) -> Result<Option<StaticAddress>, NetworkError> {
    let Some((address, bits)) = e.addresses.iter().filter(|a| !a.contains("::")).find_map(|a| a.split_once('/')) else {
        return Ok(None);
    };
    let default = e.routes.iter().find(|r| matches!(r.to.as_str(), "default" | "0.0.0.0/0"));
    let gateway = e.gateway4.as_ref().or_else(|| default?.via.as_ref());
    // The key is an id of its own where the entry has a match.
    let name = e.matched.name.as_deref().or((!e.is_matched()).then_some(name));
    Ok(Some(StaticAddress {
        interface: interface(e.matched.macaddress.as_deref(), name)?,
        address: ipv4("the address", address)?,
        prefix: prefix(bits)?,
        gateway: gateway.map(|g| ipv4("the gateway", g)).transpose()?,
        dns: servers(e.nameservers.addresses.iter()),
    }))
}

impl Ethernet {
    fn is_matched(&self) -> bool {
        self.matched.name.is_some() || self.matched.macaddress.is_some()
    }
}

fn version_1(items: &[Item]) -> Result<Option<StaticAddress>, NetworkError> {
    let Some(item) = items.iter().find(|i| i.kind == "physical") else { return Ok(None) };
    let fixed = |s: &&Subnet| matches!(s.kind.as_str(), "static" | "static4");
    let Some(subnet) = item.subnets.iter().find(fixed) else { return Ok(None) };
    let text = subnet.address.as_deref().unwrap_or_default();
    let (address, bits) = text.split_once('/').map_or((text, subnet.netmask.as_deref()), |(a, bits)| (a, Some(bits)));
    let named = items.iter().filter(|i| i.kind == "nameserver").filter_map(|i| i.address.as_ref());
    let dns = named.flat_map(|a| match a {
        OneOrMore::One(one) => std::slice::from_ref(one),
        OneOrMore::More(more) => more.as_slice(),
    });
    Ok(Some(StaticAddress {
        interface: interface(item.mac_address.as_deref(), item.name.as_deref())?,
        address: ipv4("the address", address)?,
        prefix: prefix(bits.ok_or(AddressError::NoMask)?)?,
        gateway: subnet.gateway.as_deref().map(|g| ipv4("the gateway", g)).transpose()?,
        dns: servers(dns),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Mac;

    const TOKEN: &str = "kjt-0a1b2c3d-000102030405060708090a0b0c0d0e0f";

    fn seed(text: &str) -> Option<String> {
        user_data(text.as_bytes()).unwrap().seed
    }

    #[test]
    fn a_section_or_lines_of_user_data_are_read() {
        let text =
            format!("#cloud-config\nhostname: x\nusers: [{{name: a}}]\nkubedos:\n  seed: http://10.0.0.1\n  token: {TOKEN}\n");
        let given = user_data(text.as_bytes()).unwrap();
        assert_eq!(given.seed.as_deref(), Some("http://10.0.0.1"));
        assert!(given.token.is_some() && given.site.is_none());
        assert_eq!(seed("#!/bin/sh\nkubedos.seed=http://10.0.0.2\n").as_deref(), Some("http://10.0.0.2"));
        assert_eq!(seed("#cloud-config\n\"kubedos\":\n  \"seed\": \"http://10.0.0.3\"\n").as_deref(), Some("http://10.0.0.3"));
    }

    #[test]
    fn other_user_data_tells_nothing_and_an_invalid_section_is_an_error() {
        for other in
            ["", "#cloud-config\nhostname: x\n", "#!/bin/sh\necho: [\n", "Content-Type: multipart/mixed\n\n--x", "\u{1f}\u{8b}"]
        {
            assert_eq!(seed(other), None, "{other}");
        }
        assert!(user_data(&[0x1f, 0x8b, 0xff]).unwrap().is_empty());
        for bad in [
            "kubedos: {seed: x}",
            "kubedos: [",
            "kubedos: {seeds: http://a}",
            "kubedos: {siteKey: 00}",
            "kubedos: {token: x}",
            "kubedos.seed=x",
            "kubedos:\n seed: http://a\nkubedos:\n seed: http://b",
        ] {
            assert!(user_data(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(matches!(user_data(&vec![b'#'; MAX_BYTES + 1]), Err(JoinError::TooLarge(_))));
        assert!(user_data(&vec![b'#'; MAX_BYTES]).is_ok());
    }

    #[test]
    fn version_2_gives_the_first_interface() {
        let text = "version: 2\nethernets:\n  zz:\n    match: {macaddress: '02:00:00:00:00:01'}\n\
            \x20   addresses: ['fd00::1/64', 10.0.0.5/24]\n\
            \x20   routes: [{to: 10.1.0.0/16, via: 10.0.0.9}, {to: default, via: 10.0.0.1}]\n\
            \x20   nameservers: {addresses: [10.0.0.2, 'fd00::2']}\n\
            \x20 aa:\n    addresses: [10.9.9.9/24]\n";
        let found = network_config(text.as_bytes()).unwrap().unwrap();
        assert_eq!(found.interface, Interface::Mac(Mac([2, 0, 0, 0, 0, 1])));
        assert_eq!((found.address, found.prefix, found.gateway), ([10, 0, 0, 5].into(), 24, Some([10, 0, 0, 1].into())));
        assert_eq!(found.dns, [std::net::Ipv4Addr::from([10, 0, 0, 2])]);
        let wrapped = "network:\n  version: 2\n  ethernets:\n    ens3: {addresses: [10.0.0.5/24], gateway4: 10.0.0.1}\n";
        let found = network_config(wrapped.as_bytes()).unwrap().unwrap();
        assert_eq!((found.interface, found.gateway), (Interface::Name("ens3".into()), Some([10, 0, 0, 1].into())));
        assert!(network_config(b"version: 2\nethernets: {ens3: {dhcp4: true}}").unwrap().is_none());
        assert!(network_config(b"version: 2").unwrap().is_none());
    }

    #[test]
    fn version_1_as_proxmox_writes_it() {
        let text = "version: 1\nconfig:\n    - type: physical\n      name: eth0\n\
            \x20     mac_address: '02:00:00:00:00:01'\n      subnets:\n\
            \x20     - type: static\n        address: '10.0.0.5'\n        netmask: '255.255.255.0'\n        gateway: '10.0.0.1'\n\
            \x20   - type: nameserver\n      address:\n      - '10.0.0.2'\n      search:\n      - 'lan'\n";
        let found = network_config(text.as_bytes()).unwrap().unwrap();
        assert_eq!((found.address, found.prefix, found.gateway), ([10, 0, 0, 5].into(), 24, Some([10, 0, 0, 1].into())));
        assert_eq!((found.interface, found.dns.len()), (Interface::Mac(Mac([2, 0, 0, 0, 0, 1])), 1));
        let dhcp = text.replace("type: static", "type: dhcp4");
        assert!(network_config(dhcp.as_bytes()).unwrap().is_none());
    }

    #[test]
    fn a_configuration_that_cannot_work_is_an_error() {
        for bad in [
            "",
            "version: 3",
            "version: 2\nethernets: [",
            "version: 2\nethernets: {a: {addresses: [10.0.0.5/99]}}",
            "version: 2\nethernets: {a: {addresses: [10.0.0.5/24], gateway4: x}}",
            "version: 2\nethernets: {a: {match: {macaddress: x}, addresses: [10.0.0.5/24]}}",
            "version: 1\nconfig: [{type: physical, subnets: [{type: static, address: 10.0.0.5}]}]",
        ] {
            assert!(network_config(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(network_config(&vec![b'#'; MAX_BYTES + 1]).is_err());
    }
}
