//! The DHCP server without its socket: one packet in, one outcome out.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use cluster_seed::events::Cause;
use cluster_seed::ids::Mac;
use dhcproto::v4::MessageType;

use crate::counters::{Count, Counters};
use crate::dhcp::boot_info::{BootInfo, NoBoot, boot_info};
use crate::dhcp::budget::Budget;
use crate::dhcp::leases::{Answer, LeaseRecord, LeaseTable};
use crate::dhcp::mode::Serving;
use crate::dhcp::network::ReplyConfig;
use crate::dhcp::reply::{EncodeError, boot_only, nak, positive};
pub use crate::dhcp::request::SERVER_PORT;
use crate::dhcp::request::{BootRequest, Classified, Facts, LeaseRequest, MessageKind, classify};
use crate::policy::{BootEvent, BootEventKind, BootPolicy};
use crate::why::Why;

pub const CLIENT_PORT: u16 = 68;
/// Addresses tried for one DISCOVER if probes find them in use.
pub const MAX_PROBES: u8 = 4;

/// Burst and rate per second of answers to INFORM.
pub const INFORMS: Budget = Budget::new(64, 32);

/// A reply, its destination, and the event to record once it is sent.
#[derive(Debug)]
pub struct Reply {
    pub bytes: Vec<u8>,
    pub to: SocketAddrV4,
    /// The client does not use `to` yet: the frame is sent to this hardware address.
    pub hardware: Option<Mac>,
    pub event: BootEvent,
}

/// What the server has to do for a packet.
#[derive(Debug)]
pub enum Outcome {
    Nothing,
    Send(Reply),
    /// Store the record, then send the reply (a RELEASE has none).
    Commit {
        record: LeaseRecord,
        reply: Option<Reply>,
    },
    /// Probe whether a machine uses the address, then call [`Responder::after_probe`].
    Probe(Box<Pending>),
}

/// A DISCOVER that waits for the result of a probe.
#[derive(Debug)]
pub struct Pending {
    pub ip: Ipv4Addr,
    ask: Ask,
    network: usize,
    tries: u8,
}

/// The result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    Unused,
    /// The hardware address that answered.
    InUse(Mac),
    /// The probe was not possible, or too many are running.
    NotAsked,
}

/// A request and its event.
#[derive(Debug, Clone)]
struct Ask {
    lease: LeaseRequest,
    boot: Option<BootRequest>,
    event: BootEvent,
}

/// One network's leases and reply options.
pub struct Network {
    pub table: LeaseTable,
    pub config: ReplyConfig,
}

/// Leases, policy and counters of one interface.
pub struct Responder {
    pub facts: Facts,
    /// The first is the interface's own; the others are behind relays.
    pub networks: Vec<Network>,
    /// Addresses of relays outside all networks.
    pub relays: Vec<Ipv4Addr>,
    pub serving: Serving,
    /// Addresses of the interface's own network are probed before they are offered.
    pub probe: bool,
    /// Limits answers to INFORM, which need no lease and are sent to the address in the packet.
    pub informs: Budget,
    pub policy: Arc<dyn BootPolicy>,
    pub counters: Arc<Counters>,
}

impl Responder {
    /// Answers one datagram of port 67 from a client's own port at `now` (seconds since 1970).
    pub fn handle(&mut self, bytes: &[u8], now: u64) -> Outcome {
        self.handle_from(bytes, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT), now)
    }

    /// The same with the sender's address.
    pub fn handle_from(&mut self, bytes: &[u8], from: SocketAddrV4, now: u64) -> Outcome {
        let Some(ask) = self.read(bytes, from) else { return Outcome::Nothing };
        let count = match ask.lease.kind {
            MessageKind::Discover => Count::Discover,
            MessageKind::Request => Count::Request,
            MessageKind::Decline => Count::Decline,
            MessageKind::Release => Count::Release,
            MessageKind::Inform => Count::Inform,
        };
        self.counters.add(count);
        self.policy.observe(&ask.event);
        let result = self.network_of(&ask.lease).and_then(|network| match ask.lease.kind {
            _ if self.serving == Serving::Undecided => Err(Why::StillProbing.into()),
            MessageKind::Discover => self.discover(&ask, network, Some(0), now),
            MessageKind::Request => self.request(&ask, network, now),
            MessageKind::Inform if !self.informs.take(now) => Err(Why::TooMany.into()),
            MessageKind::Inform => self.inform(&ask, network),
            MessageKind::Release => Ok(silent_commit(self.networks[network].table.release(&ask.lease, now)?)),
            MessageKind::Decline => Ok(silent_commit(self.networks[network].table.decline(&ask.lease, now)?)),
        });
        self.settle(result, &ask.event)
    }

    /// Continues with a DISCOVER whose address was probed.
    pub fn after_probe(&mut self, pending: Pending, outcome: Probed, now: u64) -> Outcome {
        let Pending { ip, ask, network, tries } = pending;
        let table = &mut self.networks[network].table;
        match outcome {
            Probed::InUse(by) if by != ask.lease.mac => {
                table.found_in_use(ip, by, now);
                self.counters.add(Count::AddressInUse);
                let kind = BootEventKind::AddressInUse { by };
                self.policy.observe(&BootEvent { kind, ip: Some(ip), ..ask.event.clone() });
            }
            Probed::InUse(_) | Probed::Unused => table.found_unused(ip, now),
            Probed::NotAsked => {}
        }
        let tries = if outcome == Probed::NotAsked { None } else { Some(tries) };
        let result = self.discover(&ask, network, tries, now);
        self.settle(result, &ask.event)
    }

    /// Answers one datagram to the boot server's port 4011: PXE ROMs ask there for information that a proxy's offer omits.
    pub fn boot_server(&mut self, bytes: &[u8], from: SocketAddrV4) -> Outcome {
        let Some(ask) = self.read(bytes, from) else { return Outcome::Nothing };
        let result = self.boot_server_reply(&ask, from);
        self.settle(result, &ask.event)
    }

    fn boot_server_reply(&self, ask: &Ask, from: SocketAddrV4) -> Result<Outcome, Refusal> {
        let Ask { lease, boot, event } = ask;
        if boot.is_none() || matches!(lease.kind, MessageKind::Decline | MessageKind::Release) {
            return Err(Why::NotPxe.into());
        }
        let here = |network: &&Network| network.config.network.subnet.is_host(*from.ip());
        let Some(network) = self.networks.iter().find(here).filter(|_| from.port() != 0) else {
            // The answer would be sent to an address chosen by a stranger.
            return Err(Why::WrongNetwork.into());
        };
        self.policy.observe(event);
        let info = self.decide(boot.as_ref(), &network.config, true)?;
        let bytes = boot_only(MessageType::Ack, lease, &info, &network.config)?;
        self.counters.add(Count::BootServerAck);
        let event =
            BootEvent { kind: BootEventKind::Ack, ip: Some(*from.ip()), file: info.file().map(str::to_owned), ..event.clone() };
        Ok(Outcome::Send(Reply { bytes, to: from, hardware: None, event }))
    }

    fn read(&self, bytes: &[u8], from: SocketAddrV4) -> Option<Ask> {
        let (mut lease, mut boot) = match classify(bytes, &self.facts) {
            Classified::Ignored { why, mac, xid, detail } => {
                let kind = BootEventKind::Ignored { why, cause: None, detail };
                // Without a hardware address, the sender's other address says who it was.
                let ip = Some(*from.ip()).filter(|ip| mac.is_none() && !ip.is_unspecified());
                self.counters.add_ignored(why);
                self.policy.observe(&BootEvent { mac, xid, ip, ..BootEvent::new(kind, self.facts.iface.clone()) });
                return None;
            }
            Classified::Plain(lease) => (lease, None),
            Classified::Boot(boot) => (boot.lease.clone(), Some(boot)),
        };
        if lease.from_port && from.port() != 0 {
            lease.relay_port = from.port();
        }
        if let (Some(boot), Some(own)) = (&mut boot, self.networks.first()) {
            boot.choose(&own.config.loaders);
        }
        Some(Ask { event: base_event(&lease, boot.as_ref()), lease, boot })
    }

    fn settle(&self, result: Result<Outcome, Refusal>, event: &BootEvent) -> Outcome {
        result.unwrap_or_else(|Refusal { why, cause, detail }| {
            self.counters.add_ignored(why);
            self.policy.observe(&BootEvent { kind: BootEventKind::Ignored { why, cause, detail }, ..event.clone() });
            Outcome::Nothing
        })
    }

    /// RFC 2131 section 4.3.1, RFC 3527: the network of the relay, or the one it names; for a client with an address,
    /// the address's network; else the interface's own.
    fn network_of(&self, lease: &LeaseRequest) -> Result<usize, Refusal> {
        let of = |ip: Ipv4Addr| self.networks.iter().position(|n| n.config.network.subnet.is_host(ip));
        if lease.is_relayed() {
            // Replies are sent to the relay, so only known relays are accepted.
            let ours = of(lease.giaddr);
            if ours.is_none() && !self.relays.contains(&lease.giaddr) {
                return Err(Why::UnknownRelay.into());
            }
            return lease.link.map_or(ours, of).ok_or(Why::UnknownRelay.into());
        }
        let hint = if lease.ciaddr.is_unspecified() { lease.link } else { Some(lease.ciaddr) };
        Ok(hint.and_then(of).unwrap_or(0))
    }

    fn discover(&mut self, ask: &Ask, network: usize, tries: Option<u8>, now: u64) -> Result<Outcome, Refusal> {
        let Ask { lease, boot, event } = ask;
        if self.serving == Serving::Proxy {
            return self.proxy_offer(ask, network);
        }
        // The policy decides first: a machine that gets no answer must not occupy an address.
        let info = self.decide(boot.as_ref(), &self.networks[network].config, false)?;
        let table = &mut self.networks[network].table;
        let ip = table.offer(lease, now)?;
        // A network behind a relay is not on this link: a probe would not reach it.
        let tries = tries.filter(|_| self.probe && network == 0 && !lease.is_relayed());
        if let Some(tries) = tries
            && table.wants_probe(ip, now)
        {
            if tries >= MAX_PROBES {
                return Err(Why::AddressTaken.into());
            }
            self.counters.add(Count::AddressProbe);
            return Ok(Outcome::Probe(Box::new(Pending { ip, ask: ask.clone(), network, tries: tries + 1 })));
        }
        let secs = self.networks[network].table.lease_secs(lease.mac);
        self.positive(MessageType::Offer, lease, Some((ip, secs)), &info, event, network).map(Outcome::Send)
    }

    fn proxy_offer(&self, ask: &Ask, network: usize) -> Result<Outcome, Refusal> {
        let Ask { lease, boot, event } = ask;
        if boot.is_none() {
            return Err(Why::ProxyPlain.into());
        }
        let config = &self.networks[network].config;
        let info = self.decide(boot.as_ref(), config, true)?;
        let bytes = boot_only(MessageType::Offer, lease, &info, config)?;
        self.counters.add(Count::ProxyOffer);
        let event = BootEvent { kind: BootEventKind::Offer, ip: None, file: info.file().map(str::to_owned), ..event.clone() };
        let (to, hardware) = destination(lease, Ipv4Addr::UNSPECIFIED, None);
        Ok(Outcome::Send(Reply { bytes, to, hardware, event }))
    }

    fn request(&mut self, ask: &Ask, network: usize, now: u64) -> Result<Outcome, Refusal> {
        let Ask { lease, boot, event } = ask;
        let Network { table, config } = &self.networks[network];
        let chosen = lease.selects(config.server_ip);
        if self.serving == Serving::Proxy && table.lease_of(&lease.key, now).is_none() {
            return Err(if chosen == Some(false) { Why::OtherServer } else { Why::ProxyPlain }.into());
        }
        let info = if chosen == Some(false) { BootInfo::Nothing } else { self.decide(boot.as_ref(), config, false)? };
        match self.networks[network].table.request(lease, now) {
            Answer::Silent(why) => Err(why.into()),
            Answer::Nak(why) => {
                let bytes = nak(lease, why.name(), &self.networks[network].config)?;
                let event = BootEvent { kind: BootEventKind::Nak { why }, ..event.clone() };
                // A NAK is never unicast to an address that its client should not have (RFC 2131 section 4.1).
                let (to, hardware) = destination(lease, Ipv4Addr::UNSPECIFIED, None);
                Ok(Outcome::Send(Reply { bytes, to, hardware, event }))
            }
            Answer::Ack(record) => {
                let secs = u32::try_from(record.expires_at.saturating_sub(now)).unwrap_or(u32::MAX);
                let reply = self.positive(MessageType::Ack, lease, Some((record.ip, secs)), &info, event, network)?;
                Ok(Outcome::Commit { record, reply: Some(reply) })
            }
        }
    }

    fn inform(&mut self, ask: &Ask, network: usize) -> Result<Outcome, Refusal> {
        let Ask { lease, boot, event } = ask;
        if lease.ciaddr.is_unspecified() {
            return Err(Why::NoAddressAsked.into());
        }
        if self.serving == Serving::Proxy && boot.is_none() {
            return Err(Why::ProxyPlain.into());
        }
        let config = &self.networks[network].config;
        if !config.network.subnet.is_host(lease.ciaddr) {
            return Err(Why::WrongNetwork.into());
        }
        let info = self.decide(boot.as_ref(), config, self.serving == Serving::Proxy)?;
        self.positive(MessageType::Ack, lease, None, &info, event, network).map(Outcome::Send)
    }

    fn decide(&self, boot: Option<&BootRequest>, config: &ReplyConfig, proxy: bool) -> Result<BootInfo, Refusal> {
        let Some(boot) = boot else { return Ok(BootInfo::Nothing) };
        let decision = self.policy.decide(boot);
        Ok(boot_info(boot, &decision, config, proxy)?)
    }

    fn positive(
        &self,
        kind: MessageType,
        lease: &LeaseRequest,
        given: Option<(Ipv4Addr, u32)>,
        info: &BootInfo,
        event: &BootEvent,
        network: usize,
    ) -> Result<Reply, Refusal> {
        let Network { table, config } = &self.networks[network];
        let hostname = table.reservation(lease.mac).and_then(|r| r.hostname.as_deref());
        let bytes = positive(kind, lease, given, hostname, info, config)?;
        let ip = given.map(|(ip, _)| ip);
        let offer = kind == MessageType::Offer;
        let event = BootEvent {
            kind: if offer { BootEventKind::Offer } else { BootEventKind::Ack },
            ip: ip.or(event.ip),
            file: info.file().map(str::to_owned),
            ..event.clone()
        };
        let ciaddr = if offer { Ipv4Addr::UNSPECIFIED } else { lease.ciaddr };
        let (to, hardware) = destination(lease, ciaddr, ip);
        Ok(Reply { bytes, to, hardware, event })
    }
}

struct Refusal {
    why: Why,
    cause: Option<Cause>,
    detail: Option<String>,
}

impl From<Why> for Refusal {
    fn from(why: Why) -> Self {
        Refusal { why, cause: None, detail: None }
    }
}

impl From<NoBoot> for Refusal {
    fn from(no: NoBoot) -> Self {
        Refusal { why: Why::PolicySilent, cause: Some(no.cause()), detail: Some(no.to_string()) }
    }
}

impl From<EncodeError> for Refusal {
    fn from(error: EncodeError) -> Self {
        Refusal { why: Why::SendFailed, cause: None, detail: Some(error.to_string()) }
    }
}

fn silent_commit(record: LeaseRecord) -> Outcome {
    Outcome::Commit { record, reply: None }
}

/// RFC 2131 section 4.1: to the relay, to a client that has its address, to everyone on the link if the client
/// can receive nothing else, and otherwise to the address it is offered, at its hardware address.
fn destination(lease: &LeaseRequest, ciaddr: Ipv4Addr, given: Option<Ipv4Addr>) -> (SocketAddrV4, Option<Mac>) {
    if lease.is_relayed() {
        (SocketAddrV4::new(lease.giaddr, lease.relay_port), None)
    } else if !ciaddr.is_unspecified() {
        (SocketAddrV4::new(ciaddr, CLIENT_PORT), None)
    } else if let Some(ip) = given.filter(|_| lease.flags & 0x8000 == 0) {
        (SocketAddrV4::new(ip, CLIENT_PORT), Some(lease.mac))
    } else {
        (SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT), None)
    }
}

fn base_event(lease: &LeaseRequest, boot: Option<&BootRequest>) -> BootEvent {
    let kind = match lease.kind {
        MessageKind::Discover => BootEventKind::Discover,
        MessageKind::Request => BootEventKind::Request,
        MessageKind::Decline => BootEventKind::Decline,
        MessageKind::Release => BootEventKind::Release,
        MessageKind::Inform => BootEventKind::Inform,
    };
    let ciaddr = Some(lease.ciaddr).filter(|ip| !ip.is_unspecified());
    BootEvent {
        mac: Some(lease.mac),
        arch: boot.map(|b| b.arch),
        // An iPXE that is replaced by a loader is firmware like any other.
        ipxe: boot.is_some_and(BootRequest::takes_script),
        ip: ciaddr.or(lease.requested),
        xid: Some(lease.xid),
        hostname: lease.hostname.clone(),
        vendor_class: lease.vendor_class.clone(),
        uuid: lease.uuid.map(|[_, uuid @ ..]| uuid),
        ..BootEvent::new(kind, lease.iface.clone())
    }
}

#[cfg(test)]
mod tests;
