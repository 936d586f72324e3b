//! Sends replies.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;

use nix::errno::Errno;

use super::batch::send_all;
use crate::counters::{Count, Counters};
use crate::dhcp::responder::{CLIENT_PORT, Reply, Responder};
use crate::policy::{BootEvent, BootEventKind, BootPolicy};
use crate::server::neighbours::Neighbours;
use crate::why::Why;

/// Sends replies in batches and records the results.
pub(crate) struct Outbox {
    pub socket: UdpSocket,
    server_ip: Ipv4Addr,
    neighbours: Option<Neighbours>,
    policy: Arc<dyn BootPolicy>,
    counters: Arc<Counters>,
    waiting: Vec<Reply>,
}

impl Outbox {
    pub fn new(socket: UdpSocket, responder: &Responder) -> Self {
        Outbox {
            socket,
            server_ip: responder.networks[0].config.server_ip,
            neighbours: Neighbours::open(&responder.facts.iface).ok(),
            policy: responder.policy.clone(),
            counters: responder.counters.clone(),
            waiting: Vec::new(),
        }
    }

    pub fn push(&mut self, reply: Reply) {
        self.waiting.push(reply);
    }

    /// Sends queued replies.
    pub fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut replies = std::mem::take(&mut self.waiting);
        for reply in &mut replies {
            self.aim(reply);
        }
        let batch: Vec<(&[u8], SocketAddrV4)> = replies.iter().map(|r| (&r.bytes[..], r.to)).collect();
        let results = send_all(&self.socket, self.server_ip, &batch);
        for (reply, result) in replies.drain(..).zip(results) {
            self.record(reply, result);
        }
        self.waiting = replies;
    }

    /// Sends one reply through another socket.
    pub fn send_on(&mut self, socket: &UdpSocket, reply: Reply) {
        let results = send_all(socket, self.server_ip, &[(&reply.bytes, reply.to)]);
        if let Some(result) = results.into_iter().next() {
            self.record(reply, result);
        }
    }

    /// A client without an address is reached through the neighbour table; if that cannot be changed, by broadcast, which
    /// every client receives too.
    fn aim(&mut self, reply: &mut Reply) {
        let Some(mac) = reply.hardware else { return };
        let known = self.neighbours.as_mut().is_some_and(|n| n.learn(*reply.to.ip(), mac).is_ok());
        if !known {
            reply.to = SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT);
        }
    }

    fn record(&self, reply: Reply, result: Result<(), Errno>) {
        if let Err(error) = result {
            return self.refuse(Some(reply), Why::SendFailed, Some(error.to_string()));
        }
        self.counters.add(match reply.event.kind {
            BootEventKind::Offer => Count::Offer,
            BootEventKind::Nak { .. } => Count::Nak,
            _ => Count::Ack,
        });
        self.policy.observe(&reply.event);
    }

    /// Records that a reply is not sent.
    pub fn refuse(&self, reply: Option<Reply>, why: Why, detail: Option<String>) {
        self.counters.add_ignored(why);
        if let Some(error) = &detail {
            tracing::warn!(%why, %error, "no DHCP reply was sent");
        }
        if let Some(reply) = reply {
            self.policy.observe(&BootEvent { kind: BootEventKind::Ignored { why, cause: None, detail }, ..reply.event });
        }
    }
}
