//! The thread that reads requests, decides, and sends replies that need no lease record.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;

use super::batch::Inbox;
use super::commit::Group;
use super::limits::{Clock, MAX_PENDING};
use super::outbox::Outbox;
use crate::counters::Count;
use crate::dhcp::mode::Serving;
use crate::dhcp::presence::Presence;
use crate::dhcp::responder::{Outcome, Pending, Probed, Responder, SERVER_PORT};
use crate::dhcp::watch::{Finding, Owner, Watch};
use crate::policy::{BootEvent, BootEventKind};
use crate::server::neighbours::Neighbours;
use crate::why::Why;

/// How long to wait for an answer to a probe.
const PROBE_WAIT: Duration = Duration::from_millis(250);
/// Most concurrent probes. In a flood, further addresses are offered without a probe: a rack that powers on must not wait.
const MAX_PROBING: usize = 64;
/// Pause after a receive error (interface down), so that the loop does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// Pause before retrying when the committer's queue was full.
const RETRY: Duration = Duration::from_millis(2);
/// Interval of [`Watch`] and of the search for absent strangers. The kernel sends one or two ARP requests in this time.
const TICK: Duration = Duration::from_secs(1);
/// Strangers probed per tick.
const MAX_SUSPECTS: usize = 64;

pub(crate) struct EventLoop {
    pub outbox: Outbox,
    pub boot_server: Option<UdpSocket>,
    pub watching: Option<UdpSocket>,
    pub neighbours: Option<Neighbours>,
    pub watch: Watch,
    pub responder: Responder,
    pub groups: SyncSender<Group>,
    pub group: Group,
    pub pending: Arc<AtomicUsize>,
    /// Ordered by deadline.
    pub probing: VecDeque<(Instant, Box<Pending>)>,
    /// Addresses probed at the last tick.
    pub suspects: Vec<Ipv4Addr>,
    pub servers: Vec<Ipv4Addr>,
    pub presence: Arc<Presence>,
    pub clock: Clock,
    pub stop: Arc<AtomicBool>,
}

impl EventLoop {
    pub fn run(mut self, wake: &EventFd) {
        let mut inbox = Inbox::new();
        let mut tick = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            self.wait(wake, tick);
            let now = (self.clock)();
            self.hear_of(now);
            if tick <= Instant::now() {
                tick = Instant::now() + TICK;
                self.reclaim(now);
                if self.watching.is_some() {
                    self.watch_others(now);
                }
            }
            self.requests(&mut inbox, now);
            self.boot_requests(&mut inbox);
            self.answers_of_others(&mut inbox, now);
            while self.probing.front().is_some_and(|(at, _)| *at <= Instant::now()) {
                self.probed(now);
            }
            self.hand_over();
            self.outbox.flush();
        }
    }

    fn watch_others(&mut self, now: u64) {
        for ip in std::mem::take(&mut self.servers) {
            let owner = match self.neighbours.as_mut().map(|n| n.answered(ip)) {
                Some(Ok(Some(mac))) => Owner::Machine(mac),
                Some(Ok(None)) => Owner::Nobody,
                Some(Err(_)) | None => Owner::NotAsked,
            };
            let findings = self.watch.owner(ip, owner);
            self.found(findings);
        }
        if self.has_link() {
            let findings = self.watch.tick(now);
            self.found(findings);
        } else {
            self.watch.link_lost();
        }
    }

    /// Machines heard from outside DHCP become known.
    fn hear_of(&mut self, now: u64) {
        let (addresses, machines) = self.presence.take();
        for network in &mut self.responder.networks {
            addresses.iter().for_each(|ip| network.table.heard_from(*ip, now));
            machines.iter().for_each(|mac| network.table.vouch(*mac, now));
        }
    }

    /// When addresses are scarce, reclaims those of absent strangers. A network behind a relay is not on this link: there, their
    /// leases simply expire.
    fn reclaim(&mut self, now: u64) {
        let (Some(neighbours), Some(own)) = (&mut self.neighbours, self.responder.networks.first_mut()) else { return };
        if !self.responder.probe || self.responder.serving != Serving::Addresses {
            return self.suspects.clear();
        }
        for ip in std::mem::take(&mut self.suspects) {
            let Ok(by) = neighbours.answered(ip) else { continue };
            if let Some(record) = own.table.answered(ip, by, now) {
                self.responder.counters.add(Count::LeaseReclaimed);
                self.group.push((record, None));
            }
        }
        let suspects = own.table.suspects(now, MAX_SUSPECTS);
        self.suspects = suspects.into_iter().filter(|ip| neighbours.ask(*ip).is_ok()).collect();
    }

    /// sysfs-class-net: `carrier` is 1 if the other end of the cable is up; unreadable while the interface is down.
    fn has_link(&self) -> bool {
        let path = format!("/sys/class/net/{}/carrier", self.responder.facts.iface);
        std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
    }

    fn wait(&self, wake: &EventFd, tick: Instant) {
        let mut left = tick.saturating_duration_since(Instant::now());
        if !self.group.is_empty() {
            left = left.min(RETRY);
        }
        if let Some((at, _)) = self.probing.front() {
            left = left.min(at.saturating_duration_since(Instant::now()));
        }
        let own = [self.outbox.socket.as_fd(), wake.as_fd()];
        let others = [&self.boot_server, &self.watching];
        let sockets = own.into_iter().chain(others.into_iter().flatten().map(|s| s.as_fd()));
        let mut fds: Vec<PollFd<'_>> = sockets.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // Rounded up, to avoid waking too early.
        let _ = poll(&mut fds, PollTimeout::from(left.as_micros().div_ceil(1000) as u16));
    }

    fn receive(&self, inbox: &mut Inbox, socket: &UdpSocket) -> usize {
        inbox.receive(socket).unwrap_or_else(|error| {
            self.responder.counters.add(Count::ReceiveError);
            tracing::warn!(iface = %self.responder.facts.iface, %error, "receiving DHCP packets failed");
            std::thread::sleep(ERROR_PAUSE);
            0
        })
    }

    fn requests(&mut self, inbox: &mut Inbox, now: u64) {
        for n in 0..self.receive(inbox, &self.outbox.socket) {
            let (bytes, from) = inbox.get(n);
            // The kernel delivers a broadcast to its sender too.
            if self.watching.is_none() || !self.watch.is_own(bytes) {
                let outcome = self.responder.handle_from(bytes, from, now);
                self.act(outcome, now);
            }
        }
    }

    fn boot_requests(&mut self, inbox: &mut Inbox) {
        let Some(socket) = self.boot_server.take() else { return };
        for n in 0..self.receive(inbox, &socket) {
            let (bytes, from) = inbox.get(n);
            if let Outcome::Send(reply) = self.responder.boot_server(bytes, from) {
                self.outbox.send_on(&socket, reply);
            }
        }
        self.boot_server = Some(socket);
    }

    fn answers_of_others(&mut self, inbox: &mut Inbox, now: u64) {
        let Some(socket) = &self.watching else { return };
        for n in 0..self.receive(inbox, socket) {
            let findings = self.watch.heard(inbox.get(n).0, now);
            self.found(findings);
        }
    }

    fn found(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            match finding {
                Finding::Arp(ip) => match self.neighbours.as_mut().map(|n| n.ask(ip)) {
                    Some(Ok(())) if self.servers.contains(&ip) => {}
                    Some(Ok(())) => self.servers.push(ip),
                    Some(Err(_)) | None => {
                        let findings = self.watch.owner(ip, Owner::NotAsked);
                        self.found(findings);
                    }
                },
                Finding::Ask(packet) => {
                    let everyone = SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVER_PORT);
                    // A DISCOVER that cannot be sent counts as unanswered: an interface that is down has no other server either.
                    if let Some(Err(error)) = self.watching.as_ref().map(|s| s.send_to(&packet, everyone)) {
                        tracing::debug!(iface = %self.responder.facts.iface, %error, "probing for other DHCP servers");
                    }
                }
                Finding::Serve(serving) => self.responder.serving = serving,
                Finding::Event(kind) => {
                    tracing::info!(iface = %self.responder.facts.iface, ?kind, "DHCP");
                    match kind {
                        BootEventKind::OtherServer { .. } => self.responder.counters.add(Count::OtherServer),
                        BootEventKind::OtherServerDoubted { .. } => self.responder.counters.add(Count::OtherServerDoubted),
                        _ => {}
                    }
                    self.responder.policy.observe(&BootEvent::new(kind, self.responder.facts.iface.clone()));
                }
            }
        }
    }

    fn act(&mut self, outcome: Outcome, now: u64) {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Send(reply) => self.outbox.push(reply),
            Outcome::Commit { record, reply } => {
                if self.pending.load(Ordering::Relaxed) + self.group.len() >= MAX_PENDING {
                    self.outbox.refuse(reply, Why::JournalFull, None);
                } else {
                    self.group.push((record, reply));
                }
            }
            Outcome::Probe(pending) => {
                let asked =
                    self.probing.len() < MAX_PROBING && self.neighbours.as_mut().is_some_and(|n| n.ask(pending.ip).is_ok());
                if asked {
                    self.probing.push_back((Instant::now() + PROBE_WAIT, pending));
                } else {
                    let outcome = self.responder.after_probe(*pending, Probed::NotAsked, now);
                    self.act(outcome, now);
                }
            }
        }
    }

    fn probed(&mut self, now: u64) {
        let Some((_, pending)) = self.probing.pop_front() else { return };
        let answer = self.neighbours.as_mut().map(|n| n.answered(pending.ip));
        let outcome = match answer {
            Some(Ok(Some(mac))) => Probed::InUse(mac),
            Some(Ok(None)) => Probed::Unused,
            Some(Err(_)) | None => Probed::NotAsked,
        };
        let outcome = self.responder.after_probe(*pending, outcome, now);
        self.act(outcome, now);
    }

    fn hand_over(&mut self) {
        if self.group.is_empty() {
            return;
        }
        let group = std::mem::take(&mut self.group);
        let count = group.len();
        self.pending.fetch_add(count, Ordering::Relaxed);
        match self.groups.try_send(group) {
            Ok(()) => {}
            // The disk is busy: requests that arrive in the meantime join this group, up to [`MAX_PENDING`] leases.
            Err(TrySendError::Full(group)) => {
                self.pending.fetch_sub(count, Ordering::Relaxed);
                self.group = group;
            }
            Err(TrySendError::Disconnected(group)) => {
                self.pending.fetch_sub(count, Ordering::Relaxed);
                group.into_iter().for_each(|(_, reply)| self.outbox.refuse(reply, Why::JournalFailed, None));
            }
        }
    }
}
