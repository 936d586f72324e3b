//! Replies on their way out, and the thread that makes leases durable before their ACKs.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use nix::errno::Errno;

use crate::counters::{Count, Counters};
use crate::dhcp_batch_server::send_all;
use crate::dhcp_server::Commit;
use crate::leases::LeaseRecord;
use crate::neighbour_server::Neighbours;
use crate::policy::{BootEvent, BootPolicy, EventKind};
use crate::responder::{CLIENT_PORT, Reply, Responder};
use crate::why::Why;

/// Leases made durable by one write at most.
const MAX_GROUP: usize = 1_024;

/// Leases, each with the reply that waits for it.
pub(crate) type Group = Vec<(LeaseRecord, Option<Reply>)>;

/// Sends replies in batches and records what became of them.
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

    /// Sends what is waiting.
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

    /// Sends one reply from another socket.
    pub fn send_on(&mut self, socket: &UdpSocket, reply: Reply) {
        let results = send_all(socket, self.server_ip, &[(&reply.bytes, reply.to)]);
        if let Some(result) = results.into_iter().next() {
            self.record(reply, result);
        }
    }

    /// A client without an address is reached by the table of neighbours; where that cannot be changed, by
    /// everyone's address, which every client hears too.
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
            EventKind::Offer => Count::Offer,
            EventKind::Nak { .. } => Count::Nak,
            _ => Count::Ack,
        });
        self.policy.observe(&reply.event);
    }

    /// Records that a reply does not leave.
    pub fn refuse(&self, reply: Option<Reply>, why: Why, detail: Option<String>) {
        self.counters.add_ignored(why);
        if let Some(error) = &detail {
            tracing::warn!(%why, %error, "no DHCP reply was sent");
        }
        if let Some(reply) = reply {
            self.policy.observe(&BootEvent { kind: EventKind::Ignored { why, detail }, ..reply.event });
        }
    }
}

/// The thread that waits for the disk.
pub(crate) struct Committer {
    pub outbox: Outbox,
    pub groups: Receiver<Group>,
    pub commit: Commit,
    /// Leases that were handed over and are not answered yet.
    pub pending: Arc<AtomicUsize>,
}

impl Committer {
    /// Runs until the other thread is gone; what was handed over before is still made durable and answered.
    pub fn run(mut self) {
        while let Ok(mut group) = self.groups.recv() {
            // While the disk was busy, more came: one sync for all of them.
            while group.len() < MAX_GROUP
                && let Ok(more) = self.groups.try_recv()
            {
                group.extend(more);
            }
            let (records, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            match (self.commit)(&records) {
                Ok(()) => {
                    replies.into_iter().flatten().for_each(|r| self.outbox.push(r));
                    self.outbox.flush();
                }
                Err(error) => {
                    for reply in replies {
                        self.outbox.refuse(reply, Why::JournalFailed, Some(error.clone()));
                    }
                }
            }
            self.pending.fetch_sub(records.len(), Ordering::Relaxed);
        }
    }
}
