//! Building the replies: addresses, the usual options, and what to boot.

use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;
use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode, UnknownOption};
use dhcproto::{Encodable, Encoder};

use crate::loader::LoaderTable;
use crate::policy::BootDecision;
use crate::request::{BootRequest, LeaseRequest, Stage};
use crate::subnet::Subnet;

/// BOOTP clients and old relays drop shorter packets (RFC 1542 section 2.1).
pub const MIN_REPLY: usize = 300;
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
    /// Seconds; renewal (58) is at half of it, rebinding (59) at seven eighths (RFC 2131 section 4.4.5).
    pub lease_secs: u32,
    /// The TFTP server.
    pub next_server: Ipv4Addr,
    /// `http://address[:port]`, under which `/boot/<loader>` is found; HTTP boot clients need it.
    pub http_base: Option<String>,
    pub loaders: LoaderTable,
}

/// What a reply tells the client to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootInfo {
    Nothing,
    /// The boot file: a TFTP name or a URL, and the vendor class the client waits for.
    File {
        name: String,
        class: Option<&'static str>,
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
pub fn boot_info(request: &BootRequest, decision: &BootDecision, config: &ReplyConfig) -> Result<BootInfo, String> {
    match decision {
        BootDecision::Silent { why } => Err(why.clone()),
        BootDecision::Script { url } if url.len() > MAX_BOOT_FILE => {
            Err(format!("the script URL has {} bytes, {MAX_BOOT_FILE} fit", url.len()))
        }
        BootDecision::Script { .. } if !request.ipxe => Err("a script was decided for firmware that is not iPXE".into()),
        BootDecision::Script { url } => Ok(BootInfo::File { name: url.clone(), class: None }),
        BootDecision::Loader => {
            let name = config.loaders.get(request.arch).ok_or_else(|| format!("no loader for {:?}", request.arch))?;
            if request.stage != Stage::Http {
                let class = (request.stage == Stage::Pxe).then_some("PXEClient");
                return Ok(BootInfo::File { name: name.to_owned(), class });
            }
            let base = config.http_base.as_deref().ok_or("HTTP boot is not set up")?;
            Ok(BootInfo::File { name: format!("{base}/boot/{name}"), class: Some("HTTPClient") })
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
    if !config.search.is_empty() {
        options.insert(raw(119, domain_search(&config.search)));
    }
    if ip.is_some() {
        options.insert(DhcpOption::AddressLeaseTime(config.lease_secs));
        options.insert(DhcpOption::Renewal(config.lease_secs / 2));
        options.insert(DhcpOption::Rebinding(config.lease_secs / 8 * 7));
    }
    add_boot(&mut message, boot, config);
    encode(&message)
}

/// A DHCPNAK: no addresses, no lease, only the server and the reason (RFC 2131 table 3).
pub fn nak(request: &LeaseRequest, why: &str, config: &ReplyConfig) -> Result<Vec<u8>, String> {
    let mut message = reply(MessageType::Nak, request, config);
    message.opts_mut().insert(DhcpOption::Message(why.to_owned()));
    if !request.giaddr.is_unspecified() {
        // The relay must broadcast it: the client does not have the address it thinks it has.
        message.set_flags(Flags::from(request.flags | 0x8000));
    }
    encode(&message)
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
    options.insert(DhcpOption::ServerIdentifier(config.server_ip));
    if let Some(id) = &request.client_id {
        // RFC 6842: the identifier is echoed.
        options.insert(DhcpOption::ClientIdentifier(id.clone()));
    }
    if let Some(uuid) = &request.uuid {
        options.insert(DhcpOption::ClientMachineIdentifier(uuid.to_vec()));
    }
    if let Some(info) = &request.relay_info {
        options.insert(raw(82, info.clone()));
    }
    message
}

fn add_boot(message: &mut Message, boot: &BootInfo, config: &ReplyConfig) {
    let BootInfo::File { name, class } = boot else { return };
    message.set_siaddr(config.next_server);
    if name.len() <= crate::loader::MAX_NAME {
        message.set_fname(name.as_bytes());
    }
    let options = message.opts_mut();
    options.insert(DhcpOption::TFTPServerName(config.next_server.to_string().into_bytes()));
    options.insert(DhcpOption::BootfileName(name.as_bytes().to_vec()));
    if class.is_none() {
        // To iPXE: no-pxedhcp (175.176), or it waits seconds for a proxy DHCP server.
        options.insert(raw(175, vec![176, 1, 1]));
    }
    if let Some(class) = class {
        // A PXE ROM takes an offer for a boot offer only if it names the class (PXE 2.1 section 2.2.3).
        options.insert(DhcpOption::ClassIdentifier(class.as_bytes().to_vec()));
        if *class == "PXEClient" {
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

fn encode(message: &Message) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(512);
    message.encode(&mut Encoder::new(&mut bytes)).map_err(|e| e.to_string())?;
    if bytes.len() < MIN_REPLY {
        bytes.resize(MIN_REPLY, 0);
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "offer_tests.rs"]
mod tests;
