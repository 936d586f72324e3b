//! DHCP requests: [`classify`] parses untrusted bytes into a typed request.

use std::net::Ipv4Addr;
use std::sync::Arc;

use cluster_seed::ids::Mac;

use crate::dhcp::arch::ClientArch;
use crate::dhcp::wire::Packet;
use crate::subnet::Subnet;
use crate::why::Why;

/// Most relay hops (RFC 1542 section 4.1.1).
pub const MAX_HOPS: u8 = 16;
/// Untrusted text is cut to this many characters.
pub const MAX_TEXT: usize = 64;

/// The messages a client sends (RFC 2131 section 3.1, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    Discover,
    Request,
    Decline,
    Release,
    Inform,
}

/// Identifies a client: option 61 if sent, else the hardware address (RFC 2131 section 4.2).
///
/// An identifier that repeats the hardware address (type 1, RFC 2132 section 9.14) gives the same key as no
/// identifier, so a machine keeps its address from option ROM to iPXE to the running system.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientKey {
    Mac(Mac),
    Id(Box<[u8]>),
}

impl ClientKey {
    /// The key for a client with this hardware address and this option 61. Identifiers over 255 bytes (which
    /// only an option split in two can carry) are not used.
    pub fn new(mac: Mac, client_id: Option<&[u8]>) -> Self {
        match client_id {
            Some([1, rest @ ..]) if rest == mac.0 => ClientKey::Mac(mac),
            Some(id) if (2..=255).contains(&id.len()) => ClientKey::Id(id.into()),
            _ => ClientKey::Mac(mac),
        }
    }
}

/// Metadata of a packet from its socket.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The interface it was received on.
    pub iface: Arc<str>,
    /// The network of the interface.
    pub subnet: Subnet,
}

/// A well-formed DHCP message from a client. Texts are untrusted, printable and bounded by [`MAX_TEXT`].
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    pub kind: MessageKind,
    pub mac: Mac,
    pub key: ClientKey,
    /// Option 61 as sent, unless it repeats the hardware address.
    pub client_id: Option<Vec<u8>>,
    pub xid: u32,
    pub secs: u16,
    pub flags: u16,
    pub ciaddr: Ipv4Addr,
    pub giaddr: Ipv4Addr,
    /// Option 50.
    pub requested: Option<Ipv4Addr>,
    /// Option 54.
    pub server_id: Option<Ipv4Addr>,
    /// Option 12.
    pub hostname: Option<String>,
    /// Option 60.
    pub vendor_class: Option<String>,
    /// Option 97 as sent (type byte and UUID), echoed in replies.
    pub uuid: Option<[u8; 17]>,
    /// Option 82 as sent, echoed in replies (RFC 3046 section 2.2).
    pub relay_info: Option<Vec<u8>>,
    /// An address of the client's network if that differs from `giaddr` (RFC 3527, or option 118 of RFC 3011 from the client).
    pub link: Option<Ipv4Addr>,
    /// The server address that the relay announces to clients instead (RFC 5107).
    pub server_override: Option<Ipv4Addr>,
    /// The longest reply that the client accepts, in bytes with the IP header (option 57).
    pub max_size: Option<u16>,
    pub iface: Arc<str>,
}

impl LeaseRequest {
    /// Whether the client chose the server with this address; `None` if it chose none.
    pub fn selects(&self, server_ip: Ipv4Addr) -> Option<bool> {
        let chosen = self.server_id?;
        Some(chosen == server_ip || Some(chosen) == self.server_override)
    }

    pub fn is_relayed(&self) -> bool {
        !self.giaddr.is_unspecified()
    }
}

/// A request from firmware or iPXE: it asks for boot information besides an address.
#[derive(Debug, Clone)]
pub struct BootRequest {
    pub lease: LeaseRequest,
    pub arch: ClientArch,
    /// The request is from iPXE: it needs a script, not a loader.
    pub ipxe: bool,
    pub stage: Stage,
}

/// The program that sent the request. It determines the vendor class in the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A PXE ROM (option 60 starts with "PXEClient").
    Pxe,
    /// A UEFI HTTP boot client (option 60 starts with "HTTPClient").
    Http,
    /// iPXE without a vendor class of its own.
    Ipxe,
}

/// The outcome of reading one packet.
#[derive(Debug, Clone)]
pub enum Classified {
    Boot(BootRequest),
    /// A client that needs only an address.
    Plain(LeaseRequest),
    Ignored {
        why: Why,
        /// Known when the header was readable.
        mac: Option<Mac>,
        xid: Option<u32>,
    },
}

/// Parses one datagram. Never panics and never fails: anything that is not a request is [`Classified::Ignored`].
pub fn classify(bytes: &[u8], facts: &Facts) -> Classified {
    let packet = match Packet::read(bytes) {
        Ok(packet) => packet,
        Err(why) => return Classified::Ignored { why, mac: None, xid: None },
    };
    let mac = header_mac(&packet);
    match mac.and_then(|mac| lease_request(&packet, mac, facts)) {
        Ok(lease) => boot_or_plain(&packet, lease),
        Err(why) => Classified::Ignored { why, mac: mac.ok(), xid: Some(packet.xid) },
    }
}

fn header_mac(packet: &Packet<'_>) -> Result<Mac, Why> {
    if packet.op != 1 {
        return Err(Why::NotARequest);
    }
    if packet.htype != 1 || packet.hlen != 6 {
        return Err(Why::NotEthernet);
    }
    let [a, b, c, d, e, f, ..] = packet.chaddr;
    let mac = Mac([a, b, c, d, e, f]);
    // The group bit covers broadcast too.
    if mac.0 == [0; 6] || a & 1 != 0 {
        return Err(Why::BadMac);
    }
    Ok(mac)
}

fn lease_request(packet: &Packet<'_>, mac: Mac, facts: &Facts) -> Result<LeaseRequest, Why> {
    if packet.hops > MAX_HOPS {
        return Err(Why::TooManyHops);
    }
    let kind = match packet.option(53).ok_or(Why::NoMessageType)? {
        [1] => MessageKind::Discover,
        [3] => MessageKind::Request,
        [4] => MessageKind::Decline,
        [7] => MessageKind::Release,
        [8] => MessageKind::Inform,
        [2 | 5 | 6] => return Err(Why::ServerMessage),
        _ => return Err(Why::BadMessageType),
    };
    let relay_info = packet.option(82).filter(|v| v.len() <= 255);
    let from_relay = |code| relay_info.filter(|_| !packet.giaddr.is_unspecified()).and_then(|v| sub_address(v, code));
    let client_id = packet.option(61);
    let key = ClientKey::new(mac, client_id);
    Ok(LeaseRequest {
        kind,
        mac,
        client_id: match &key {
            ClientKey::Mac(_) => None,
            ClientKey::Id(id) => Some(id.to_vec()),
        },
        key,
        xid: packet.xid,
        secs: packet.secs,
        flags: packet.flags,
        ciaddr: packet.ciaddr,
        giaddr: packet.giaddr,
        requested: packet.address(50),
        server_id: packet.address(54),
        hostname: packet.option(12).and_then(text),
        vendor_class: packet.option(60).and_then(text),
        uuid: packet.option(97).and_then(|v| v.try_into().ok()),
        relay_info: relay_info.map(<[u8]>::to_vec),
        link: from_relay(5).or(packet.address(118)),
        server_override: from_relay(11),
        max_size: packet.option(57).and_then(|v| v.try_into().ok()).map(u16::from_be_bytes),
        iface: facts.iface.clone(),
    })
}

/// A sub-option of option 82 that is one address.
fn sub_address(mut rest: &[u8], code: u8) -> Option<Ipv4Addr> {
    while let [found, len, tail @ ..] = rest {
        let value = tail.get(..usize::from(*len))?;
        if *found == code {
            return <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from).filter(|ip| !ip.is_unspecified());
        }
        rest = &tail[value.len()..];
    }
    None
}

/// The order matters: iPXE also identifies as "PXEClient", so it is checked first.
fn boot_or_plain(packet: &Packet<'_>, lease: LeaseRequest) -> Classified {
    let vendor = packet.option(60).unwrap_or_default();
    let ipxe = is_ipxe(packet);
    let stage = if vendor.starts_with(b"PXEClient") {
        Stage::Pxe
    } else if vendor.starts_with(b"HTTPClient") {
        Stage::Http
    } else if ipxe {
        Stage::Ipxe
    } else {
        return Classified::Plain(lease);
    };
    Classified::Boot(BootRequest { lease, arch: client_arch(packet, vendor), ipxe, stage })
}

/// iPXE sends option 77 as the plain text "iPXE", not as specified in RFC 3004; other software that imitates it
/// prefixes the length. Option 175 holds iPXE's own encapsulated options.
fn is_ipxe(packet: &Packet<'_>) -> bool {
    let class = packet.option(77).unwrap_or_default();
    class == b"iPXE" || rfc3004_classes(class).any(|c| c == b"iPXE") || packet.option(175).is_some_and(|v| !v.is_empty())
}

fn rfc3004_classes(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, tail) = rest.split_first()?;
        let class = tail.get(..usize::from(*len))?;
        rest = &tail[class.len()..];
        Some(class)
    })
}

/// Option 93 holds one or more 16-bit codes, the first is the preferred one (RFC 4578 section 2.1). Without
/// a usable option 93 the vendor class text is used ("PXEClient:Arch:00007:..."); without that, BIOS is assumed.
fn client_arch(packet: &Packet<'_>, vendor: &[u8]) -> ClientArch {
    if let Some([high, low, ..]) = packet.option(93) {
        return ClientArch::from_code(u16::from_be_bytes([*high, *low]));
    }
    let code = std::str::from_utf8(vendor).ok().and_then(|v| v.split(':').nth(2)).and_then(|digits| digits.parse().ok());
    ClientArch::from_code(code.unwrap_or(0))
}

/// Printable ASCII of an untrusted field: trailing NULs dropped, other characters replaced by `?`, cut to [`MAX_TEXT`].
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let shown = |b: &u8| if (0x20..0x7f).contains(b) { char::from(*b) } else { '?' };
    Some(bytes[..end].iter().take(MAX_TEXT).map(shown).collect()).filter(|s: &String| !s.is_empty())
}

#[cfg(test)]
mod tests;
