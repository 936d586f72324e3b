//! DHCP requests: [`classify`] parses untrusted bytes into a typed request.

use std::net::Ipv4Addr;
use std::sync::Arc;

use cluster_seed::ids::Mac;
use cluster_seed::join::lease::OPTION;

use crate::dhcp::arch::ClientArch;
use crate::dhcp::firmware::{client_archs, is_ipxe, is_raspberry_pi, lacks_features};
use crate::dhcp::loader::LoaderTable;
use crate::dhcp::wire::Packet;
use crate::subnet::Subnet;
use crate::why::Why;

/// Most relay hops (RFC 1542 section 4.1.1).
pub const MAX_HOPS: u8 = 16;
/// Untrusted text is cut to this many characters.
pub const MAX_TEXT: usize = 64;
/// UDP port of servers and relays.
pub const SERVER_PORT: u16 = 67;

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
    /// The client asks for the seed's own option (55 lists [`cluster_seed::join::lease::OPTION`]).
    pub wants_seed: bool,
    /// The relay wants its answer on the port that it sent from (RFC 8357, option 82.19),
    pub from_port: bool,
    /// which is this one, else 67.
    pub relay_port: u16,
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
    /// The kind that the client names first; see [`BootRequest::choose`].
    pub arch: ClientArch,
    /// Further kinds of loaders that it starts (RFC 4578 section 2.1).
    pub also: Vec<ClientArch>,
    pub ipxe: bool,
    /// An iPXE, for example that of a network card, that cannot fetch the script or start the kernel.
    pub lacks_features: bool,
    pub stage: Stage,
}

impl BootRequest {
    /// The request is from an iPXE that can do all that the scripts do: it needs a script, not a loader.
    pub fn takes_script(&self) -> bool {
        self.ipxe && !self.lacks_features
    }

    /// Settles on the first kind of those the client names that has a loader, one of the way it boots (TFTP, HTTP) before one
    /// of the other. An iPXE that has no loader to be replaced by keeps its script.
    pub fn choose(&mut self, loaders: &LoaderTable) {
        let fits = |a: &ClientArch| loaders.get(*a).is_some();
        let same_way = |a: &ClientArch| fits(a) && a.is_http() == (self.stage == Stage::Http);
        if !self.also.is_empty() {
            let all = || std::iter::once(self.arch).chain(self.also.iter().copied());
            self.arch = all().find(same_way).or_else(|| all().find(fits)).unwrap_or(self.arch);
        }
        self.lacks_features &= fits(&self.arch);
    }
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
        /// What is wrong, where the reason does not say it all.
        detail: Option<String>,
    },
}

/// Parses one datagram. Never panics and never fails: anything that is not a request is [`Classified::Ignored`].
pub fn classify(bytes: &[u8], facts: &Facts) -> Classified {
    let packet = match Packet::read(bytes) {
        Ok(packet) => packet,
        Err(why) => {
            let (mac, xid) = header_of(bytes);
            return Classified::Ignored { why, mac, xid, detail: None };
        }
    };
    let mac = match header_mac(&packet) {
        Ok(mac) => mac,
        Err(why) => return without_address(&packet, why),
    };
    match lease_request(&packet, mac, facts) {
        Ok(lease) => boot_or_plain(&packet, lease),
        Err(why) => Classified::Ignored { why, mac: Some(mac), xid: Some(packet.xid), detail: None },
    }
}

/// Hardware address and transaction of a packet whose options cannot be read, or that is too short to have any.
fn header_of(bytes: &[u8]) -> (Option<Mac>, Option<u32>) {
    let at = |at: usize, n: usize| bytes.get(at..at + n);
    let mac = at(28, 6).and_then(|b| Some(Mac(b.try_into().ok()?))).filter(|mac| is_of_one(*mac));
    let xid = at(4, 4).and_then(|b| Some(u32::from_be_bytes(b.try_into().ok()?)));
    (mac.filter(|_| bytes.starts_with(&[1, 1, 6])), xid)
}

/// A packet whose hardware address this server cannot answer. IPoIB has none at all (RFC 4390).
fn without_address(packet: &Packet<'_>, why: Why) -> Classified {
    let from_id = match packet.option(61) {
        Some([1, id @ ..]) => <[u8; 6]>::try_from(id).ok().map(Mac),
        _ => None,
    };
    let mac = from_id.filter(|mac| why == Why::NotEthernet && packet.htype == 1 && is_of_one(*mac));
    let kind = if packet.htype == 32 { ", InfiniBand" } else { "" };
    let detail = (why == Why::NotEthernet).then(|| format!("type {}{kind}, {} bytes", packet.htype, packet.hlen));
    Classified::Ignored { why, mac, xid: Some(packet.xid), detail }
}

/// The group bit covers broadcast too.
fn is_of_one(mac: Mac) -> bool {
    mac.0 != [0; 6] && mac.0[0] & 1 == 0
}

fn header_mac(packet: &Packet<'_>) -> Result<Mac, Why> {
    if packet.op != 1 {
        return Err(Why::NotARequest);
    }
    if packet.htype != 1 || packet.hlen != 6 {
        return Err(Why::NotEthernet);
    }
    let [a, b, c, d, e, f, ..] = packet.chaddr;
    Some(Mac([a, b, c, d, e, f])).filter(|mac| is_of_one(*mac)).ok_or(Why::BadMac)
}

fn lease_request(packet: &Packet<'_>, mac: Mac, facts: &Facts) -> Result<LeaseRequest, Why> {
    if packet.hops > MAX_HOPS {
        return Err(Why::TooManyHops);
    }
    let missing = if packet.cut { Why::BrokenOptions } else { Why::NoMessageType };
    let kind = match packet.option(53).ok_or(missing)? {
        [1] => MessageKind::Discover,
        [3] => MessageKind::Request,
        [4] => MessageKind::Decline,
        [7] => MessageKind::Release,
        [8] => MessageKind::Inform,
        [2 | 5 | 6] => return Err(Why::ServerMessage),
        _ => return Err(Why::BadMessageType),
    };
    let relay_info = packet.option(82).filter(|v| v.len() <= 255);
    let of_relay = relay_info.filter(|_| !packet.giaddr.is_unspecified());
    let from_relay = |code| of_relay.and_then(|v| sub_address(v, code));
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
        wants_seed: packet.option(55).is_some_and(|list| list.contains(&OPTION)),
        from_port: of_relay.is_some_and(|v| sub_option(v, 19).is_some()),
        relay_port: SERVER_PORT,
        iface: facts.iface.clone(),
    })
}

/// A sub-option of option 82.
fn sub_option(mut rest: &[u8], code: u8) -> Option<&[u8]> {
    while let [found, len, tail @ ..] = rest {
        let value = tail.get(..usize::from(*len))?;
        if *found == code {
            return Some(value);
        }
        rest = &tail[value.len()..];
    }
    None
}

fn sub_address(rest: &[u8], code: u8) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(sub_option(rest, code)?).ok().map(Ipv4Addr::from).filter(|ip| !ip.is_unspecified())
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
    let (arch, also) = client_archs(packet, vendor);
    let is_pi = arch == ClientArch::Bios && stage == Stage::Pxe && !ipxe && is_raspberry_pi(lease.mac, lease.uuid);
    let arch = if is_pi { ClientArch::RaspberryPi } else { arch };
    Classified::Boot(BootRequest { lease, arch, also, ipxe, lacks_features: ipxe && lacks_features(packet), stage })
}

/// Printable ASCII of an untrusted field: trailing NULs dropped, other characters replaced by `?`, cut to [`MAX_TEXT`].
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let shown = |b: &u8| if (0x20..0x7f).contains(b) { char::from(*b) } else { '?' };
    Some(bytes[..end].iter().take(MAX_TEXT).map(shown).collect()).filter(|s: &String| !s.is_empty())
}

#[cfg(test)]
mod tests;
