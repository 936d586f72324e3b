//! One thread that runs many transfers: an epoll set of connected sockets, and their timers.
//!
//! A window is sent as one datagram that the kernel (or the card) splits into packets (UDP_SEGMENT, udp(7)); if that is not
//! supported, packet by packet.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind, IoSlice};
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};

use super::shared::{Job, Order, Shared, tftp_event};
use crate::counters::Count;
use crate::policy::{Abort, BootEventKind, TransferError};
use crate::tftp::limits::{MAX_DATAGRAM, MAX_DURATION};
use crate::tftp::transfer::{Send, Status, Step};

/// Most packets into which the kernel splits one datagram (UDP_MAX_SEGMENTS of older kernels).
const MAX_SEGMENTS: usize = 64;
/// The longest datagram before it is split, in bytes.
const MAX_SEND: usize = 65_000;
/// Sockets handled in one round.
const EVENTS: usize = 256;
/// Packets read from one socket in one round: more than its default queue holds.
const MAX_READS: usize = 512;
/// The epoll key of the wake-up; a transfer's key is its slot.
const WAKE: u64 = u64::MAX;

struct Run {
    job: Job,
    deadline: Duration,
    /// The valid timer entry of this transfer; its others are stale.
    queued: Duration,
    ends: Duration,
    segments: bool,
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    epoll: Epoll,
    wake: Arc<EventFd>,
    orders: Receiver<Order>,
    runs: Vec<Option<Run>>,
    free: Vec<usize>,
    /// At least one entry per transfer; its deadline may have changed since.
    timers: BinaryHeap<Reverse<(Duration, usize, u64)>>,
    out: Vec<u8>,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, wake: Arc<EventFd>, orders: Receiver<Order>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        let out = Vec::with_capacity(MAX_SEND);
        Ok(Worker { shared, epoll, wake, orders, runs: Vec::new(), free: Vec::new(), timers: BinaryHeap::new(), out })
    }

    /// Runs until the server stops.
    pub fn run(mut self) {
        let mut events = vec![EpollEvent::empty(); EVENTS];
        let mut buffer = vec![0u8; MAX_DATAGRAM];
        loop {
            let ready = match self.epoll.wait(&mut events, self.until_next_timer()) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                Err(error) => {
                    tracing::error!(%error, "waiting for TFTP packets failed");
                    std::thread::sleep(Duration::from_millis(100));
                    0
                }
            };
            let now = self.shared.began.elapsed();
            for event in &events[..ready] {
                if event.data() == WAKE {
                    let _ = self.wake.read();
                } else if let Ok(slot) = usize::try_from(event.data()) {
                    self.receive(slot, &mut buffer, now);
                }
            }
            if self.shared.stop.load(Ordering::Relaxed) {
                return;
            }
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Start(job) => self.start(*job, now),
                    Order::Abort(id, why) => self.abort(id, why),
                }
            }
            self.timeouts(&mut buffer, now);
        }
    }

    /// Milliseconds, rounded up to avoid waking too early.
    fn until_next_timer(&self) -> EpollTimeout {
        let Some(Reverse((at, ..))) = self.timers.peek() else { return EpollTimeout::NONE };
        let left = at.saturating_sub(self.shared.began.elapsed()).as_micros().div_ceil(1000);
        EpollTimeout::try_from(left.min(60_000) as i32).unwrap_or(EpollTimeout::ZERO)
    }

    fn start(&mut self, job: Job, now: Duration) {
        let slot = self.free.pop().unwrap_or(self.runs.len());
        // Edge-triggered: otherwise the kernel checks every socket a second time at the next wait.
        let watched = self.epoll.add(&job.socket, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, slot as u64));
        let id = job.id;
        let run = Run { job, deadline: now, queued: now, ends: now + MAX_DURATION, segments: true };
        if slot == self.runs.len() {
            self.runs.push(Some(run));
        } else {
            self.runs[slot] = Some(run);
        }
        self.shared.counters.add(Count::TftpStarted);
        self.observe(slot, BootEventKind::TftpStarted, None);
        if let Err(error) = watched {
            self.end(slot, BootEventKind::TftpError(TransferError::Socket(error.to_string())));
            return;
        }
        self.timers.push(Reverse((now, slot, id)));
        if let Some(run) = &mut self.runs[slot] {
            let step = run.job.transfer.start(now);
            self.act(slot, step, now);
        }
    }

    fn abort(&mut self, id: u64, why: Abort) {
        let found = self.runs.iter().position(|r| r.as_ref().is_some_and(|r| r.job.id == id));
        if let Some(slot) = found {
            self.end(slot, BootEventKind::TftpAborted(why));
        }
    }

    /// Reads until the queue is empty: a remaining packet causes no further event. In lock-step the client sends nothing until
    /// its packet is answered, and checking for more would cost as much as the answer; a packet that is queued anyway is read
    /// with the next one, or when the timer expires.
    fn receive(&mut self, slot: usize, buffer: &mut [u8], now: Duration) {
        for _ in 0..MAX_READS {
            let Some(run) = self.runs.get_mut(slot).and_then(Option::as_mut) else { return };
            // Connected, the kernel drops packets of other senders and reports a closed port at once.
            let step = match run.job.socket.recv(buffer) {
                Ok(len) => run.job.transfer.on_packet(&buffer[..len], now),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return self.end(slot, BootEventKind::TftpError(TransferError::Socket(error.to_string()))),
            };
            let answered = run.job.transfer.is_lock_step() && matches!(step.send, Send::Blocks(_));
            self.act(slot, step, now);
            if answered {
                return;
            }
        }
    }

    fn timeouts(&mut self, buffer: &mut [u8], now: Duration) {
        while let Some(Reverse((at, slot, id))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            let Some(run) = self.runs.get_mut(slot).and_then(Option::as_mut).filter(|r| r.job.id == id) else { continue };
            if at != run.queued {
                continue;
            }
            if run.ends <= now {
                self.end(slot, BootEventKind::TftpError(TransferError::TooSlow(MAX_DURATION)));
                continue;
            }
            if run.deadline <= now {
                self.receive(slot, buffer, now);
            }
            let Some(run) = self.runs[slot].as_mut().filter(|r| r.job.id == id) else { continue };
            if run.deadline <= now {
                let step = run.job.transfer.on_timeout(now);
                self.act(slot, step, now);
            }
            if let Some(run) = self.runs[slot].as_mut().filter(|r| r.job.id == id) {
                run.queued = run.deadline.min(run.ends);
                self.timers.push(Reverse((run.queued, slot, id)));
            }
        }
    }

    fn act(&mut self, slot: usize, step: Step, now: Duration) {
        let Some(run) = self.runs.get_mut(slot).and_then(Option::as_mut) else { return };
        // Before the answer leaves: who gets it has a slot that nobody without one can take.
        if run.job.transfer.contacted() {
            run.job.contacted.store(true, Ordering::Relaxed);
        }
        let sent = send(run, &step.send, &mut self.out);
        match (sent, step.status) {
            (Err(error), _) if error.kind() == ErrorKind::ConnectionRefused => {
                self.end(slot, BootEventKind::TftpError(TransferError::Socket(error.to_string())));
            }
            // A full queue or a dropping firewall is packet loss like any other.
            (_, Status::Running) => {
                if step.rearm {
                    run.deadline = now + run.job.transfer.wait();
                    if run.deadline < run.queued {
                        run.queued = run.deadline;
                        self.timers.push(Reverse((run.queued, slot, run.job.id)));
                    }
                }
            }
            (_, Status::Done) => self.end(slot, BootEventKind::TftpDone),
            (_, Status::Aborted { message }) => self.end(slot, BootEventKind::TftpAborted(Abort::Error(message))),
            (_, Status::TooSlow) => self.end(slot, BootEventKind::TftpError(TransferError::BelowRate)),
            (_, Status::TimedOut) => self.end(slot, BootEventKind::TftpError(TransferError::ClientSilent)),
        }
    }

    fn end(&mut self, slot: usize, kind: BootEventKind) {
        self.shared.counters.add(match kind {
            BootEventKind::TftpDone => Count::TftpDone,
            BootEventKind::TftpAborted(_) => Count::TftpAborted,
            _ => Count::TftpFailed,
        });
        let bytes = self.runs[slot].as_ref().map_or(0, |r| r.job.transfer.acked_bytes());
        self.shared.counters.add_tftp_bytes(bytes);
        let is_done = kind == BootEventKind::TftpDone;
        self.observe(slot, kind, Some(bytes));
        let Some(run) = self.runs[slot].take() else { return };
        if is_done {
            self.shared.presence.heard(*run.job.client.ip());
        }
        let _ = self.epoll.delete(&run.job.socket);
        self.free.push(slot);
        let mut active = self.shared.active.lock().unwrap_or_else(PoisonError::into_inner);
        if active.running.get(&run.job.client).is_some_and(|a| a.id == run.job.id) {
            active.running.remove(&run.job.client);
        }
    }

    fn observe(&self, slot: usize, kind: BootEventKind, bytes: Option<u64>) {
        if let Some(Run { job, .. }) = &self.runs[slot] {
            self.shared.policy.observe(&tftp_event(kind, &self.shared.iface, job.client, &job.name, bytes));
        }
    }
}

fn send(run: &mut Run, what: &Send, out: &mut Vec<u8>) -> io::Result<()> {
    let (transfer, socket) = (&run.job.transfer, &run.job.socket);
    let blocks = match what {
        Send::Nothing => return Ok(()),
        Send::Options => return socket.send(transfer.option_ack()).map(|_| ()),
        Send::Blocks(blocks) => blocks.clone(),
    };
    let step = (MAX_SEND / transfer.packet_len()).clamp(1, MAX_SEGMENTS);
    let mut first = *blocks.start();
    while first <= *blocks.end() {
        let last = if run.segments { (first + step as u64 - 1).min(*blocks.end()) } else { first };
        out.clear();
        for block in first..=last {
            out.extend_from_slice(&transfer.header(block));
            out.extend_from_slice(transfer.data(block));
        }
        if first == last {
            socket.send(out)?;
        } else if let Err(error) = send_segmented(socket, out, transfer.packet_len()) {
            if !matches!(error, Errno::EIO | Errno::EINVAL | Errno::EMSGSIZE | Errno::EOPNOTSUPP) {
                return Err(error.into());
            }
            // Not possible on this path: send the same blocks one by one.
            run.segments = false;
            continue;
        }
        first = last + 1;
    }
    Ok(())
}

fn send_segmented(socket: &UdpSocket, bytes: &[u8], packet: usize) -> nix::Result<()> {
    let size = u16::try_from(packet).map_err(|_| Errno::EINVAL)?;
    let cut = [ControlMessage::UdpGsoSegments(&size)];
    sendmsg::<SockaddrIn>(socket.as_raw_fd(), &[IoSlice::new(bytes)], &cut, MsgFlags::MSG_DONTWAIT, None).map(|_| ())
}
