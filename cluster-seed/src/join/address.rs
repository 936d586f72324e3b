//! A static IPv4 address of the machine's first interface, for networks without DHCP.

use std::net::Ipv4Addr;

use crate::ids::Mac;

/// The kernel's parameter (Documentation/admin-guide/nfs/nfsroot.rst).
pub const PARAMETER: &str = "ip";
/// Most name servers kept.
pub const MAX_DNS: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("{what} {value:?} is not an IPv4 address")]
    Address { what: &'static str, value: String },
    #[error("{0:?} is not a network mask (want 255.255.255.0 or a number from 1 to 32)")]
    Mask(String),
    #[error("there is no network mask")]
    NoMask,
    #[error("{0:?} is not the name of a network interface")]
    Interface(String),
    #[error("{0} cannot be the address of a host")]
    NotHost(Ipv4Addr),
}

fn shown(text: &str) -> String {
    text.chars().take(32).collect()
}

/// Which interface gets the address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Interface {
    /// The first one.
    #[default]
    First,
    Name(String),
    Mac(Mac),
}

impl Interface {
    /// A name that an interface can have (IFNAMSIZ is 16 with its zero byte); wildcards are not names.
    pub fn named(name: &str) -> Result<Self, AddressError> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let bad = !(1..=15).contains(&name.len()) || !name.bytes().all(fine) || matches!(name, "." | "..");
        if bad { Err(AddressError::Interface(shown(name))) } else { Ok(Interface::Name(name.to_owned())) }
    }

    pub fn is(&self, name: &str, mac: Mac) -> bool {
        match self {
            Interface::First => true,
            Interface::Name(own) => own == name,
            Interface::Mac(own) => *own == mac,
        }
    }
}

/// A checked static address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticAddress {
    pub interface: Interface,
    pub address: Ipv4Addr,
    /// Bits of the network, 1 to 32.
    pub prefix: u8,
    pub gateway: Option<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
}

pub(super) fn ipv4(what: &'static str, text: &str) -> Result<Ipv4Addr, AddressError> {
    let found: Ipv4Addr = text.parse().map_err(|_| AddressError::Address { what, value: shown(text) })?;
    let host = !found.is_unspecified() && !found.is_broadcast() && !found.is_multicast() && !found.is_loopback();
    if host { Ok(found) } else { Err(AddressError::NotHost(found)) }
}

/// A mask in dotted form, or the number of its bits.
pub(super) fn prefix(text: &str) -> Result<u8, AddressError> {
    let bits = match text.parse::<Ipv4Addr>() {
        Ok(mask) => {
            let ones = u32::from(mask).leading_ones();
            (u32::from(mask).count_ones() == ones).then_some(ones as u8)
        }
        Err(_) => text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit())),
    };
    bits.filter(|b| (1..=32).contains(b)).ok_or_else(|| AddressError::Mask(shown(text)))
}

impl StaticAddress {
    /// Reads `ip=CLIENT:SERVER:GATEWAY:NETMASK:HOST:DEVICE:METHOD:DNS:DNS` of a kernel command line; server, host and method
    /// are ignored. `None` without the parameter, or if it asks for DHCP or for nothing. The last one counts.
    pub fn of_cmdline(text: &str) -> Result<Option<Self>, AddressError> {
        let own = |word: &'_ str| word.strip_prefix(PARAMETER)?.strip_prefix('=').map(str::to_owned);
        let Some(value) = text.split_ascii_whitespace().filter_map(own).next_back() else { return Ok(None) };
        let mut parts = value.split(':');
        let mut next = || parts.next().filter(|p| !p.is_empty());
        let client = next();
        let (_server, gateway, mask, _host, device, _method) = (next(), next(), next(), next(), next(), next());
        let dns = [next(), next()];
        // A lone word is a method.
        let Some(client) = client.filter(|c| value.contains(':') || c.parse::<Ipv4Addr>().is_ok()) else { return Ok(None) };
        Ok(Some(StaticAddress {
            interface: device.map(Interface::named).transpose()?.unwrap_or_default(),
            address: ipv4("the address", client)?,
            prefix: prefix(mask.ok_or(AddressError::NoMask)?)?,
            gateway: gateway.map(|g| ipv4("the gateway", g)).transpose()?,
            dns: dns.into_iter().flatten().map(|d| ipv4("the name server", d)).collect::<Result<_, _>>()?,
        }))
    }

    /// The file of systemd-networkd (systemd.network(5)) for the interface with this address of hardware.
    pub fn networkd(&self, mac: Mac) -> String {
        let mut text = format!("# Written by kubedos-node.\n[Match]\nMACAddress={mac}\nType=ether\n\n[Network]\n");
        text.push_str(&format!("Address={}/{}\n", self.address, self.prefix));
        if let Some(gateway) = self.gateway {
            text.push_str(&format!("Gateway={gateway}\n"));
        }
        for dns in &self.dns {
            text.push_str(&format!("DNS={dns}\n"));
        }
        text.push_str("LinkLocalAddressing=no\nIPv6AcceptRA=no\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<StaticAddress>, AddressError> {
        StaticAddress::of_cmdline(text)
    }

    #[test]
    fn the_kernels_parameter_is_read() {
        let full =
            read("quiet ip=10.44.0.9:10.44.0.1:10.44.0.254:255.255.255.0:host:eth0:off:10.44.0.2:10.44.0.3 x").unwrap().unwrap();
        assert_eq!(full.interface, Interface::Name("eth0".into()));
        assert_eq!((full.address, full.prefix, full.gateway), ([10, 44, 0, 9].into(), 24, Some([10, 44, 0, 254].into())));
        assert_eq!(full.dns, [Ipv4Addr::from([10, 44, 0, 2]), [10, 44, 0, 3].into()]);
        let short = read("ip=10.44.0.9:::24").unwrap().unwrap();
        assert_eq!((short.interface, short.prefix, short.gateway), (Interface::First, 24, None));
        assert!(read("ip=10.0.0.1:::8 ip=10.0.0.2:::8").unwrap().unwrap().address == Ipv4Addr::new(10, 0, 0, 2));
        for none in ["", "quiet", "ip=", "ip=dhcp", "ip=on", "ip=off", "ip=:::::eth0:dhcp", "zip=10.0.0.1:::8"] {
            assert_eq!(read(none), Ok(None), "{none}");
        }
    }

    #[test]
    fn an_address_that_cannot_work_is_an_error() {
        for bad in [
            "10.44.0.9",
            "10.44.0.9:::",
            "10.44.0.9:::0",
            "10.44.0.9:::33",
            "10.44.0.9:::255.0.255.0",
            "10.44.0.9:::+8",
            "0.0.0.0:::8",
            "224.0.0.1:::8",
            "127.0.0.1:::8",
            "255.255.255.255:::8",
            "10.44.0:::8",
            "10.44.0.9::x:8",
            "10.44.0.9:::8::a/b",
            "10.44.0.9:::8::..",
            "10.44.0.9:::8::abcdefghijklmnop",
            "fe80::1",
            "10.44.0.9:::8::e*::10.0.0.x",
        ] {
            assert!(read(&format!("ip={bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_file_names_one_interface() {
        let address = read("ip=10.44.0.9::10.44.0.254:255.255.255.0::::10.44.0.2").unwrap().unwrap();
        assert_eq!(
            address.networkd(Mac([2, 0, 0, 0, 0, 1])),
            "# Written by kubedos-node.\n[Match]\nMACAddress=02:00:00:00:00:01\nType=ether\n\n[Network]\nAddress=10.44.0.9/24\n\
             Gateway=10.44.0.254\nDNS=10.44.0.2\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        );
    }
}
