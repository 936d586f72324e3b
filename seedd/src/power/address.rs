//! The address of a controller as it is typed: an address and no name, so that nobody's resolver decides where a password goes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, anyhow};
use site::hint::Hint as _;
use web::api::BmcKind;

/// Usual ports.
pub const REDFISH_PORT: u16 = 443;
pub const PLAIN_PORT: u16 = 80;
pub const IPMI_PORT: u16 = 623;

/// Host, port, and whether it is spoken to unencrypted.
pub fn parse_address(kind: BmcKind, text: &str) -> Result<(IpAddr, u16, bool)> {
    let hint = match kind {
        BmcKind::Redfish => "write it as https://10.44.9.1, an address and no name",
        BmcKind::Ipmi => "write it as 10.44.9.1, an address and no name",
    };
    let bad = || anyhow!("{:?} is not the address of a controller", text.chars().take(80).collect::<String>());
    let (rest, usual, plain) = match (kind, text.split_once("://")) {
        (BmcKind::Redfish, Some(("https", rest))) => (rest, REDFISH_PORT, false),
        (BmcKind::Redfish, Some(("http", rest))) => (rest, PLAIN_PORT, true),
        (BmcKind::Redfish, None) => (text, REDFISH_PORT, false),
        (BmcKind::Ipmi, None) => (text, IPMI_PORT, false),
        _ => return Err(bad()).hint(hint),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let parsed = match rest.parse::<IpAddr>() {
        Ok(ip) => Some((ip, usual)),
        Err(_) => rest.parse::<std::net::SocketAddr>().ok().map(|a| (a.ip(), a.port())),
    };
    let (ip, port) = parsed.filter(|(ip, port)| *port != 0 && is_unicast(*ip)).ok_or_else(bad).hint(hint)?;
    if plain && !ip.is_loopback() {
        return Err(anyhow!("without TLS the password would travel unencrypted")).hint("use https://");
    }
    Ok((ip, port, plain))
}

fn is_unicast(ip: IpAddr) -> bool {
    let other =
        ip.is_unspecified() || ip.is_multicast() || ip == Ipv4Addr::BROADCAST || ip == IpAddr::from(Ipv6Addr::UNSPECIFIED);
    !other
}
