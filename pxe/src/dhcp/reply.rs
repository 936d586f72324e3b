//! Building the replies: addresses, the usual options, and what to boot.

use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;
use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode, UnknownOption};
use dhcproto::{Encodable, Encoder};

use crate::loader::LoaderTable;
use crate::policy::BootDecision;
use crate::request::{BootRequest, ClientArch, LeaseRequest, Stage};
use crate::subnet::Subnet;

/// BOOTP clients and old relays drop shorter packets (RFC 1542 section 2.1).
pub const MIN_REPLY: usize = 300;
/// Every client takes an IP datagram this long (RFC 2132 section 9.10), in bytes;
const MIN_MAX_SIZE: u16 = 576;
/// and more than an Ethernet frame's is not sent to any.
const MAX_SIZE: usize = 1_500;
const IP_AND_UDP: usize = 28;
/// The longest boot file option (one option's worth of bytes).
pub const MAX_BOOT_FILE: usize = 255;

/// What the replies of one interface say.
#[derive(Debug, Clone)]
pub struct ReplyConfig {
    pub server_ip: Ipv4Addr,
    pub subnet: Subnet,
    pub router: Option<Ipv4Addr>,
    /// Never sent empty: without any, the server's own address is sent, as debian-installer asks the
    /// operator for a name server when the option is missing.
    pub dns: Vec<Ipv4Addr>,
    pub domain: Option<String>,
    pub search: Vec<String>,
    pub ntp: Vec<Ipv4Addr>,
    /// Option 26.
    pub mtu: Option<u16>,
    /// Option 121. The client then ignores option 3 (RFC 3442), so the router is among them.
    pub routes: Vec<Route>,
    /// The operator's own options. They win over what is sent anyway.
    pub extra: Vec<ExtraOption>,
    /// Seconds; renewal (58) is at half of it, rebinding (59) at seven eighths (RFC 2131 section 4.4.5).
    pub lease_secs: u32,
    /// The TFTP server.
    pub next_server: Ipv4Addr,
    /// `http://address[:port]`, under which `/boot/<loader>` is found; HTTP boot clients need it.
    pub http_base: Option<String>,
    pub loaders: LoaderTable,
}

/// A way to a network (option 121).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub to: Subnet,
    pub via: Ipv4Addr,
}

/// An option as the operator wrote it; see [`ExtraOption::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraOption {
    code: u8,
    value: Vec<u8>,
}

impl ExtraOption {
    /// An option with 1 to 255 bytes. Those that carry the protocol itself are refused.
    pub fn new(code: u8, value: Vec<u8>) -> Result<Self, String> {
        // Pad, end; what makes the lease and what echoes the request.
        if matches!(code, 0 | 1 | 50..=59 | 61 | 82 | 97 | 255) {
            return Err(format!("option {code} is set by the server itself"));
        }
        if value.is_empty() || value.len() > 255 {
            return Err(format!("option {code} has {} bytes; 1 to 255 fit", value.len()));
        }
        Ok(ExtraOption { code, value })
    }
}

/// What a reply tells the client to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootInfo {
    Nothing,
    /// The boot file: a TFTP name or a URL, and the vendor class the client waits for.
    File {
        name: String,
        class: Option<&'static str>,
        /// The class comes with PXE_DISCOVERY_CONTROL.
        discovery: bool,
    },
}

impl BootInfo {
    pub fn file(&self) -> Option<&str> {
        match self {
            BootInfo::Nothing => None,
            BootInfo::File { name, .. } => Some(name),
        }
    }
}

/// Turns a decision into what goes on the wire; `Err` is the reason to stay silent.
///
/// With `proxy` the answer stands beside another server's, and the client looks at it only if it names the class.
pub fn boot_info(request: &BootRequest, decision: &BootDecision, config: &ReplyConfig, proxy: bool) -> Result<BootInfo, String> {
    match decision {
        BootDecision::Silent { why } => Err(why.clone()),
        BootDecision::Script { url } if url.len() > MAX_BOOT_FILE => {
            Err(format!("the script URL has {} bytes, {MAX_BOOT_FILE} fit", url.len()))
        }
        BootDecision::Script { .. } if !request.ipxe => Err("a script was decided for firmware that is not iPXE".into()),
        BootDecision::Script { url } => {
            Ok(BootInfo::File { name: url.clone(), class: proxy.then_some("PXEClient"), discovery: proxy })
        }
        BootDecision::Loader => {
            let none = || match request.arch {
                ClientArch::Other(code) => format!("no loader for firmware of kind {code}"),
                known => format!("no loader for {}", known.name()),
            };
            let name = config.loaders.get(request.arch).ok_or_else(none)?;
            if request.stage != Stage::Http {
                let class = (proxy || request.stage == Stage::Pxe).then_some("PXEClient");
                // Beside another server, some UEFI firmware does not take the boot file of an offer that says "no
                // discovery"; all take one without option 43, and ask for it again on port 4011 as Microsoft's
                // BINL does (seen by pixiecore's authors, and in EDK2's PxeBcDhcp4.c).
                let discovery = class.is_some() && (!proxy || request.arch == ClientArch::Bios);
                return Ok(BootInfo::File { name: name.to_owned(), class, discovery });
            }
            let base = config.http_base.as_deref().ok_or("HTTP boot is not set up")?;
            Ok(BootInfo::File { name: format!("{base}/boot/{name}"), class: Some("HTTPClient"), discovery: false })
        }
    }
}

/// A DHCPOFFER or DHCPACK of `ip`; with `ip` absent, the ACK of an INFORM, which has no lease times.
pub fn positive(
    kind: MessageType,
    request: &LeaseRequest,
    ip: Option<Ipv4Addr>,
    hostname: Option<&str>,
    boot: &BootInfo,
    config: &ReplyConfig,
) -> Result<Vec<u8>, String> {
    let mut message = reply(kind, request, config);
    message.set_yiaddr(ip.unwrap_or(Ipv4Addr::UNSPECIFIED)).set_ciaddr(request.ciaddr);
    let options = message.opts_mut();
    options.insert(DhcpOption::SubnetMask(config.subnet.mask()));
    if let Some(router) = config.router {
        options.insert(DhcpOption::Router(vec![router]));
    }
    let dns = if config.dns.is_empty() { vec![config.server_ip] } else { config.dns.clone() };
    options.insert(DhcpOption::DomainNameServer(dns));
    options.insert(DhcpOption::BroadcastAddr(config.subnet.broadcast()));
    if let Some(name) = hostname {
        options.insert(DhcpOption::Hostname(name.to_owned()));
    }
    if let Some(domain) = &config.domain {
        options.insert(DhcpOption::DomainName(domain.clone()));
    }
    if !config.ntp.is_empty() {
        options.insert(DhcpOption::NtpServers(config.ntp.clone()));
    }
    if let Some(mtu) = config.mtu {
        options.insert(DhcpOption::InterfaceMtu(mtu));
    }
    if !config.search.is_empty() {
        options.insert(raw(119, domain_search(&config.search)));
    }
    if !config.routes.is_empty() {
        options.insert(raw(121, classless_routes(&config.routes, config.router)));
    }
    if ip.is_some() {
        options.insert(DhcpOption::AddressLeaseTime(config.lease_secs));
        options.insert(DhcpOption::Renewal(config.lease_secs / 2));
        options.insert(DhcpOption::Rebinding(config.lease_secs / 8 * 7));
    }
    add_boot(&mut message, boot, config);
    for extra in &config.extra {
        message.opts_mut().insert(raw(extra.code, extra.value.clone()));
    }
    encode_within(message, request, config)
}

/// An answer that holds no address: a proxy's DHCPOFFER, or the DHCPACK of the boot server on port 4011.
pub fn boot_only(kind: MessageType, request: &LeaseRequest, boot: &BootInfo, config: &ReplyConfig) -> Result<Vec<u8>, String> {
    let mut message = reply(kind, request, config);
    if kind == MessageType::Ack {
        message.set_ciaddr(request.ciaddr);
    }
    add_boot(&mut message, boot, config);
    encode(&message, request)
}

/// Encodes; what a client that takes only short replies (option 57; 576 bytes without it) has no room for is left
/// out, the least important first.
fn encode_within(mut message: Message, request: &LeaseRequest, config: &ReplyConfig) -> Result<Vec<u8>, String> {
    let room = usize::from(request.max_size.unwrap_or(0).max(MIN_MAX_SIZE)).min(MAX_SIZE) - IP_AND_UDP;
    let mut bytes = encode(&message, request)?;
    let extras = config.extra.iter().rev().map(|e| e.code);
    for code in extras.chain([119, 121, 42, 26, 150, 66, 15, 12]) {
        if bytes.len() <= room {
            break;
        }
        message.opts_mut().remove(OptionCode::from(code));
        bytes = encode(&message, request)?;
    }
    Ok(bytes)
}

/// A DHCPNAK: no addresses, no lease, only the server and the reason (RFC 2131 table 3).
pub fn nak(request: &LeaseRequest, why: &str, config: &ReplyConfig) -> Result<Vec<u8>, String> {
    let mut message = reply(MessageType::Nak, request, config);
    message.opts_mut().insert(DhcpOption::Message(why.to_owned()));
    if !request.giaddr.is_unspecified() {
        // The relay must broadcast it: the client does not have the address it thinks it has.
        message.set_flags(Flags::from(request.flags | 0x8000));
    }
    encode(&message, request)
}

fn reply(kind: MessageType, request: &LeaseRequest, config: &ReplyConfig) -> Message {
    let Mac(mac) = request.mac;
    let mut message = Message::default();
    message
        .set_opcode(Opcode::BootReply)
        .set_xid(request.xid)
        .set_flags(Flags::from(request.flags))
        .set_giaddr(request.giaddr)
        .set_chaddr(&mac);
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    let server = request.server_override.filter(|_| request.is_relayed());
    options.insert(DhcpOption::ServerIdentifier(server.unwrap_or(config.server_ip)));
    if let Some(id) = &request.client_id {
        // RFC 6842: the identifier is echoed.
        options.insert(DhcpOption::ClientIdentifier(id.clone()));
    }
    if let Some(uuid) = &request.uuid {
        options.insert(DhcpOption::ClientMachineIdentifier(uuid.to_vec()));
    }
    message
}

fn add_boot(message: &mut Message, boot: &BootInfo, config: &ReplyConfig) {
    let BootInfo::File { name, class, discovery } = boot else { return };
    message.set_siaddr(config.next_server);
    if name.len() <= crate::loader::MAX_NAME {
        message.set_fname(name.as_bytes());
    }
    let options = message.opts_mut();
    options.insert(DhcpOption::TFTPServerName(config.next_server.to_string().into_bytes()));
    options.insert(DhcpOption::BootfileName(name.as_bytes().to_vec()));
    options.insert(raw(150, config.next_server.octets().to_vec()));
    if class.is_none() {
        // To iPXE: no-pxedhcp (175.176), or it waits seconds for a proxy DHCP server.
        options.insert(raw(175, vec![176, 1, 1]));
    }
    if let Some(class) = class {
        // A PXE ROM takes an offer for a boot offer only if it names the class (PXE 2.1 section 2.2.3).
        options.insert(DhcpOption::ClassIdentifier(class.as_bytes().to_vec()));
        if *discovery {
            // PXE_DISCOVERY_CONTROL with bit 3: no boot server discovery, no menu, take the boot file.
            options.insert(DhcpOption::VendorExtensions(vec![6, 1, 8, 255]));
        }
    }
}

fn raw(code: u8, data: Vec<u8>) -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(OptionCode::from(code), data))
}

/// RFC 3397 without compression; labels beyond 63 bytes do not occur as the configuration checks names.
fn domain_search(names: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    for name in names {
        for label in name.split('.').filter(|l| !l.is_empty()) {
            let label = &label.as_bytes()[..label.len().min(63)];
            out.push(label.len() as u8);
            out.extend_from_slice(label);
        }
        out.push(0);
    }
    out
}

/// RFC 3442: prefix length, the significant bytes of the network, the router; the default route last.
fn classless_routes(routes: &[Route], router: Option<Ipv4Addr>) -> Vec<u8> {
    let mut out = Vec::new();
    for Route { to, via } in routes {
        out.push(to.prefix());
        out.extend_from_slice(&to.network().octets()[..usize::from(to.prefix().div_ceil(8))]);
        out.extend_from_slice(&via.octets());
    }
    if let Some(router) = router {
        out.push(0);
        out.extend_from_slice(&router.octets());
    }
    out
}

/// Option 82 comes back as it came, after all others (RFC 3046 section 2.2); the encoder would write it twice.
fn encode(message: &Message, request: &LeaseRequest) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(512);
    message.encode(&mut Encoder::new(&mut bytes)).map_err(|e| e.to_string())?;
    if let Some(info) = &request.relay_info {
        let ended = bytes.pop();
        bytes.extend(ended.filter(|b| *b != 255));
        bytes.extend_from_slice(&[82, info.len() as u8]);
        bytes.extend_from_slice(info);
        bytes.push(255);
    }
    if bytes.len() < MIN_REPLY {
        bytes.resize(MIN_REPLY, 0);
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "offer_tests.rs"]
mod tests;
