//! Builds replies: addresses, standard options and boot information.

use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;
use cluster_seed::join::lease::{OPTION, option_value};
use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode, UnknownOption};
use dhcproto::{Encodable, Encoder};

use crate::dhcp::boot_info::{BootInfo, MAX_BOOT_FILE};
use crate::dhcp::loader::MAX_NAME;
use crate::dhcp::network::{ReplyConfig, Route};
use crate::dhcp::request::LeaseRequest;

/// BOOTP clients and old relays drop shorter packets (RFC 1542 section 2.1).
pub const MIN_REPLY: usize = 300;
/// Every client accepts an IP datagram of this length (RFC 2132 section 9.10), in bytes.
const MIN_MAX_SIZE: u16 = 576;
/// The longest IP datagram sent, whatever the client accepts: an Ethernet frame's.
const MAX_SIZE: usize = 1_500;
const IP_AND_UDP: usize = 28;

/// A reply that cannot be written as a packet.
#[derive(Debug, thiserror::Error)]
#[error("encoding the reply")]
pub struct EncodeError(#[from] dhcproto::error::EncodeError);

/// A DHCPOFFER or DHCPACK with a lease time in seconds; `None` makes the ACK of an INFORM, which has no lease times.
pub fn positive(
    kind: MessageType,
    request: &LeaseRequest,
    lease: Option<(Ipv4Addr, u32)>,
    hostname: Option<&str>,
    boot: &BootInfo,
    config: &ReplyConfig,
) -> Result<Vec<u8>, EncodeError> {
    let network = &config.network;
    let mut message = reply(kind, request, config);
    message.set_yiaddr(lease.map_or(Ipv4Addr::UNSPECIFIED, |(ip, _)| ip)).set_ciaddr(request.ciaddr);
    let options = message.opts_mut();
    options.insert(DhcpOption::SubnetMask(network.subnet.mask()));
    if let Some(router) = network.router {
        options.insert(DhcpOption::Router(vec![router]));
    }
    let dns = if network.dns.is_empty() { vec![config.server_ip] } else { network.dns.clone() };
    options.insert(DhcpOption::DomainNameServer(dns));
    options.insert(DhcpOption::BroadcastAddr(network.subnet.broadcast()));
    if let Some(name) = hostname {
        options.insert(DhcpOption::Hostname(name.to_owned()));
    }
    if let Some(domain) = &network.domain {
        options.insert(DhcpOption::DomainName(domain.clone()));
    }
    if !network.ntp.is_empty() {
        options.insert(DhcpOption::NtpServers(network.ntp.clone()));
    }
    if let Some(mtu) = network.mtu {
        options.insert(DhcpOption::InterfaceMtu(mtu));
    }
    if !network.search.is_empty() {
        options.insert(raw(119, domain_search(&network.search)));
    }
    if !network.routes.is_empty() {
        options.insert(raw(121, classless_routes(&network.routes, network.router)));
    }
    if let Some((_, secs)) = lease {
        options.insert(DhcpOption::AddressLeaseTime(secs));
        options.insert(DhcpOption::Renewal(secs / 2));
        options.insert(DhcpOption::Rebinding(secs / 8 * 7));
    }
    add_boot(&mut message, boot, config);
    if let Some(url) = config.http_base.as_ref().filter(|_| request.wants_seed) {
        // For a machine that was not netbooted: where its seed is.
        message.opts_mut().insert(raw(OPTION, option_value(url)));
    }
    for extra in &network.extra {
        let value = if matches!(extra.code, 66 | 67) { ended(&extra.value) } else { extra.value.clone() };
        message.opts_mut().insert(raw(extra.code, value));
    }
    encode_within(message, request, config)
}

/// An answer without an address: a proxy's DHCPOFFER, or the DHCPACK of the boot server on port 4011.
pub fn boot_only(
    kind: MessageType,
    request: &LeaseRequest,
    boot: &BootInfo,
    config: &ReplyConfig,
) -> Result<Vec<u8>, EncodeError> {
    let mut message = reply(kind, request, config);
    if kind == MessageType::Ack {
        message.set_ciaddr(request.ciaddr);
    }
    add_boot(&mut message, boot, config);
    encode(&message, request)
}

/// Encodes the reply. Options that exceed the client's maximum size (option 57; 576 bytes without it) are omitted, the least
/// important first.
fn encode_within(mut message: Message, request: &LeaseRequest, config: &ReplyConfig) -> Result<Vec<u8>, EncodeError> {
    let room = usize::from(request.max_size.unwrap_or(0).max(MIN_MAX_SIZE)).min(MAX_SIZE) - IP_AND_UDP;
    let mut bytes = encode(&message, request)?;
    let extras = config.network.extra.iter().rev().map(|e| e.code);
    for code in extras.chain([119, 121, OPTION, 42, 26, 150, 66, 15, 12]) {
        if bytes.len() <= room {
            break;
        }
        message.opts_mut().remove(OptionCode::from(code));
        bytes = encode(&message, request)?;
    }
    Ok(bytes)
}

/// A DHCPNAK: no addresses, no lease, only the server identifier and the reason (RFC 2131 table 3).
pub fn nak(request: &LeaseRequest, why: &str, config: &ReplyConfig) -> Result<Vec<u8>, EncodeError> {
    let mut message = reply(MessageType::Nak, request, config);
    message.opts_mut().insert(DhcpOption::Message(why.to_owned()));
    if !request.giaddr.is_unspecified() {
        // The relay must broadcast it: the client does not have a valid address.
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
    if name.len() <= MAX_NAME {
        message.set_fname(name.as_bytes());
    }
    let options = message.opts_mut();
    options.insert(DhcpOption::TFTPServerName(ended(config.next_server.to_string().as_bytes())));
    options.insert(DhcpOption::BootfileName(ended(name.as_bytes())));
    options.insert(raw(150, config.next_server.octets().to_vec()));
    if class.is_none() {
        // To iPXE: no-pxedhcp (175.176), or it waits seconds for a proxy DHCP server.
        options.insert(raw(175, vec![176, 1, 1]));
    }
    if let Some(class) = class {
        // A PXE ROM accepts a boot offer only if it names the class (PXE 2.1 section 2.2.3).
        options.insert(DhcpOption::ClassIdentifier(class.as_bytes().to_vec()));
        if *discovery {
            // PXE_DISCOVERY_CONTROL with bit 3: no boot server discovery, no menu, use the boot file.
            options.insert(DhcpOption::VendorExtensions(vec![6, 1, 8, 255]));
        }
    }
}

/// With a NUL, if it fits, as dnsmasq sends options 66 and 67: many ROMs and UEFI builds read up to a NUL whatever the option's
/// length says, and would take the next option for a part of the name. RFC 2132 section 2: clients must not need it, and accept
/// it.
fn ended(text: &[u8]) -> Vec<u8> {
    let nul: &[u8] = if text.len() < MAX_BOOT_FILE && text.last() != Some(&0) { &[0] } else { &[] };
    [text, nul].concat()
}

fn raw(code: u8, data: Vec<u8>) -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(OptionCode::from(code), data))
}

/// RFC 3397 without compression. Labels over 63 bytes cannot occur: the configuration validates names.
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

/// Option 82 is returned as received, after all others (RFC 3046 section 2.2); the encoder would write it twice.
fn encode(message: &Message, request: &LeaseRequest) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::with_capacity(512);
    message.encode(&mut Encoder::new(&mut bytes))?;
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
mod tests;
