//! Replies on their way out, and the threads that make leases durable and then send their ACKs.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

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
const MAX_GROUP: usize = 4_096;
/// ACKs of one sync that leave in one go. More would overflow the receive buffer of whoever hears them all, a relay: an
/// unchanged Linux socket has room for some 160.
const BURST: usize = 64;
/// Of more, this many leave at a time, spread over as long as their sync took.
const PIECE: usize = 16;
/// But no ACK waits for longer than this.
const MAX_SPREAD: Duration = Duration::from_millis(100);
/// Groups that wait to be sent; beyond them the next sync waits.
const MAX_UNSENT: usize = 4;

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
    outbox: Outbox,
    groups: Receiver<Group>,
    commit: Commit,
    /// Leases that were handed over and are not durable yet.
    pending: Arc<AtomicUsize>,
    pacer: SyncSender<(Vec<Reply>, Duration)>,
    /// ACKs that the other thread has not sent yet.
    unsent: Arc<AtomicUsize>,
}

/// The thread that sends the ACKs of a large group, while the next group waits for the disk.
pub(crate) struct Pacer {
    outbox: Outbox,
    groups: Receiver<(Vec<Reply>, Duration)>,
    unsent: Arc<AtomicUsize>,
}

/// Both threads' halves; each sends through an outbox of its own.
pub(crate) fn committer(
    outboxes: [Outbox; 2],
    groups: Receiver<Group>,
    commit: Commit,
    pending: Arc<AtomicUsize>,
) -> (Committer, Pacer) {
    let [outbox, paced] = outboxes;
    let (pacer, unsent) = (sync_channel(MAX_UNSENT), Arc::new(AtomicUsize::new(0)));
    let committer = Committer { outbox, groups, commit, pending, pacer: pacer.0, unsent: unsent.clone() };
    (committer, Pacer { outbox: paced, groups: pacer.1, unsent })
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
            let began = Instant::now();
            let result = (self.commit)(&records);
            self.pending.fetch_sub(records.len(), Ordering::Relaxed);
            match result {
                Ok(()) => self.send(replies.into_iter().flatten().collect(), began.elapsed()),
                Err(error) => {
                    for reply in replies {
                        self.outbox.refuse(reply, Why::JournalFailed, Some(error.clone()));
                    }
                }
            }
        }
    }

    fn send(&mut self, replies: Vec<Reply>, took: Duration) {
        if replies.len() <= BURST && self.unsent.load(Ordering::Relaxed) == 0 {
            replies.into_iter().for_each(|r| self.outbox.push(r));
            return self.outbox.flush();
        }
        self.unsent.fetch_add(replies.len(), Ordering::Relaxed);
        // It ends after this thread.
        let _ = self.pacer.send((replies, took));
    }
}

impl Pacer {
    /// Runs until the committer is gone and everything is sent.
    pub fn run(mut self) {
        while let Ok((replies, took)) = self.groups.recv() {
            let gap = gap(replies.len(), took);
            let mut at = Instant::now();
            let mut replies = replies.into_iter().peekable();
            while replies.peek().is_some() {
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                at += gap;
                let before = replies.len();
                replies.by_ref().take(PIECE).for_each(|r| self.outbox.push(r));
                self.outbox.flush();
                self.unsent.fetch_sub(before - replies.len(), Ordering::Relaxed);
            }
        }
    }
}

/// The time from one piece of a group to the next.
fn gap(replies: usize, took: Duration) -> Duration {
    let pieces = u32::try_from(replies.div_ceil(PIECE).max(1)).unwrap_or(u32::MAX);
    took.min(MAX_SPREAD) / pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_acks_are_spread_over_as_long_as_its_sync_took() {
        let ms = Duration::from_millis;
        for (replies, took, wait) in [
            (0, ms(4), ms(4)),
            (1, ms(4), ms(4)),
            (PIECE, ms(4), ms(4)),
            (PIECE + 1, ms(4), ms(2)),
            (64 * PIECE, ms(64), ms(1)),
            (100 * PIECE, Duration::from_secs(5), ms(1)),
        ] {
            assert_eq!(gap(replies, took), wait, "{replies} {took:?}");
        }
    }
}
