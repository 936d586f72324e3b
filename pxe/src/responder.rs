//! One packet in, one outcome out: the DHCP server without its socket.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use dhcproto::v4::MessageType;

use crate::counters::{Count, Counters};
use crate::leases::{Answer, LeaseRecord, LeaseTable};
use crate::offer::{BootInfo, ReplyConfig, boot_info, nak, positive};
use crate::policy::{BootEvent, BootPolicy, EventKind};
use crate::request::{BootRequest, Classified, Facts, LeaseRequest, MessageKind, classify};
use crate::why::Why;

pub const SERVER_PORT: u16 = 67;
pub const CLIENT_PORT: u16 = 68;

/// A reply, where it goes, and what to record once it is gone.
#[derive(Debug)]
pub struct Reply {
    pub bytes: Vec<u8>,
    pub to: SocketAddrV4,
    pub event: BootEvent,
}

/// What the socket side has to do about a packet.
#[derive(Debug)]
pub enum Outcome {
    Nothing,
    Send(Reply),
    /// Make the record durable, then send the reply (a RELEASE has none).
    Commit {
        record: LeaseRecord,
        reply: Option<Reply>,
    },
}

/// Leases, policy and counters of one interface.
pub struct Responder {
    pub facts: Facts,
    pub config: ReplyConfig,
    pub table: LeaseTable,
    pub policy: Arc<dyn BootPolicy>,
    pub counters: Arc<Counters>,
}

impl Responder {
    /// Answers one datagram at `now` (seconds since 1970).
    pub fn handle(&mut self, bytes: &[u8], now: u64) -> Outcome {
        match classify(bytes, &self.facts) {
            Classified::Ignored { why, mac, xid } => {
                let mut event = BootEvent::new(EventKind::Ignored { why, detail: None }, self.facts.iface.clone());
                (event.mac, event.xid) = (mac, xid);
                self.counters.add_ignored(why);
                self.policy.observe(&event);
                Outcome::Nothing
            }
            Classified::Plain(lease) => {
                let event = base_event(&lease, None);
                self.dispatch(&lease, None, &event, now)
            }
            Classified::Boot(boot) => {
                let event = base_event(&boot.lease, Some(&boot));
                self.dispatch(&boot.lease, Some(&boot), &event, now)
            }
        }
    }

    fn dispatch(&mut self, lease: &LeaseRequest, boot: Option<&BootRequest>, event: &BootEvent, now: u64) -> Outcome {
        let (count, kind) = match lease.kind {
            MessageKind::Discover => (Count::Discover, EventKind::Discover),
            MessageKind::Request => (Count::Request, EventKind::Request),
            MessageKind::Decline => (Count::Decline, EventKind::Decline),
            MessageKind::Release => (Count::Release, EventKind::Release),
            MessageKind::Inform => (Count::Inform, EventKind::Inform),
        };
        self.counters.add(count);
        self.policy.observe(&BootEvent { kind, ..event.clone() });
        let result = match lease.kind {
            MessageKind::Discover => self.discover(lease, boot, event, now),
            MessageKind::Request => self.request(lease, boot, event, now),
            MessageKind::Inform => self.inform(lease, boot, event),
            MessageKind::Release => self.table.release(lease, now).map(silent_commit).map_err(Refusal::from),
            MessageKind::Decline => self.table.decline(lease, now).map(silent_commit).map_err(Refusal::from),
        };
        result.unwrap_or_else(|Refusal { why, detail }| {
            self.counters.add_ignored(why);
            self.policy.observe(&BootEvent { kind: EventKind::Ignored { why, detail }, ..event.clone() });
            Outcome::Nothing
        })
    }

    fn discover(
        &mut self,
        lease: &LeaseRequest,
        boot: Option<&BootRequest>,
        event: &BootEvent,
        now: u64,
    ) -> Result<Outcome, Refusal> {
        // First the policy: a machine that is met with silence must not hold an address.
        let info = self.decide(boot)?;
        let ip = self.table.offer(lease, now)?;
        self.positive(MessageType::Offer, lease, Some(ip), &info, event).map(Outcome::Send)
    }

    fn request(
        &mut self,
        lease: &LeaseRequest,
        boot: Option<&BootRequest>,
        event: &BootEvent,
        now: u64,
    ) -> Result<Outcome, Refusal> {
        let for_us = lease.server_id.is_none_or(|server| server == self.config.server_ip);
        let info = if for_us { self.decide(boot)? } else { BootInfo::Nothing };
        match self.table.request(lease, now) {
            Answer::Silent(why) => Err(why.into()),
            Answer::Nak(why) => {
                let bytes = nak(lease, why.name(), &self.config).map_err(unencodable)?;
                let event = BootEvent { kind: EventKind::Nak { why }, ..event.clone() };
                // A NAK is never unicast to an address its client should not have (RFC 2131 section 4.1).
                Ok(Outcome::Send(Reply { bytes, to: destination(lease, Ipv4Addr::UNSPECIFIED), event }))
            }
            Answer::Ack(record) => {
                let reply = self.positive(MessageType::Ack, lease, Some(record.ip), &info, event)?;
                Ok(Outcome::Commit { record, reply: Some(reply) })
            }
        }
    }

    fn inform(&mut self, lease: &LeaseRequest, boot: Option<&BootRequest>, event: &BootEvent) -> Result<Outcome, Refusal> {
        if lease.ciaddr.is_unspecified() {
            return Err(Why::NoAddressAsked.into());
        }
        if !self.config.subnet.is_host(lease.ciaddr) {
            return Err(Why::WrongNetwork.into());
        }
        let info = self.decide(boot)?;
        self.positive(MessageType::Ack, lease, None, &info, event).map(Outcome::Send)
    }

    fn decide(&self, boot: Option<&BootRequest>) -> Result<BootInfo, Refusal> {
        let Some(boot) = boot else { return Ok(BootInfo::Nothing) };
        let decision = self.policy.decide(boot);
        boot_info(boot, &decision, &self.config).map_err(|why| Refusal { why: Why::PolicySilent, detail: Some(why) })
    }

    fn positive(
        &self,
        kind: MessageType,
        lease: &LeaseRequest,
        ip: Option<Ipv4Addr>,
        info: &BootInfo,
        event: &BootEvent,
    ) -> Result<Reply, Refusal> {
        let hostname = self.table.reservation(lease.mac).and_then(|r| r.hostname.as_deref());
        let bytes = positive(kind, lease, ip, hostname, info, &self.config).map_err(unencodable)?;
        let offer = kind == MessageType::Offer;
        let event = BootEvent {
            kind: if offer { EventKind::Offer } else { EventKind::Ack },
            ip: ip.or(event.ip),
            file: info.file().map(str::to_owned),
            ..event.clone()
        };
        let ciaddr = if offer { Ipv4Addr::UNSPECIFIED } else { lease.ciaddr };
        Ok(Reply { bytes, to: destination(lease, ciaddr), event })
    }
}

struct Refusal {
    why: Why,
    detail: Option<String>,
}

impl From<Why> for Refusal {
    fn from(why: Why) -> Self {
        Refusal { why, detail: None }
    }
}

fn unencodable(detail: String) -> Refusal {
    Refusal { why: Why::SendFailed, detail: Some(detail) }
}

fn silent_commit(record: LeaseRecord) -> Outcome {
    Outcome::Commit { record, reply: None }
}

/// RFC 2131 section 4.1: to the relay, to a client that has its address, else to everyone on the link.
/// Unicast to an address not yet configured would need the kernel's ARP table edited for every client.
fn destination(lease: &LeaseRequest, ciaddr: Ipv4Addr) -> SocketAddrV4 {
    if !lease.giaddr.is_unspecified() {
        SocketAddrV4::new(lease.giaddr, SERVER_PORT)
    } else if !ciaddr.is_unspecified() {
        SocketAddrV4::new(ciaddr, CLIENT_PORT)
    } else {
        SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT)
    }
}

fn base_event(lease: &LeaseRequest, boot: Option<&BootRequest>) -> BootEvent {
    let ciaddr = Some(lease.ciaddr).filter(|ip| !ip.is_unspecified());
    BootEvent {
        mac: Some(lease.mac),
        arch: boot.map(|b| b.arch),
        ipxe: boot.is_some_and(|b| b.ipxe),
        ip: ciaddr.or(lease.requested),
        xid: Some(lease.xid),
        hostname: lease.hostname.clone(),
        vendor_class: lease.vendor_class.clone(),
        uuid: lease.uuid.map(|[_, uuid @ ..]| uuid),
        ..BootEvent::new(EventKind::Discover, lease.iface.clone())
    }
}

#[cfg(test)]
#[path = "responder_tests.rs"]
mod tests;
