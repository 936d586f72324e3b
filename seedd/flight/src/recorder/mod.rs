//! The boot flight recorder: every decision about a packet is passed from the network threads to the event log without
//! delaying packets, and the packets themselves are kept in memory.

pub mod frame;
pub mod gate;
pub mod pcapng;
pub mod reasons;
pub mod ring;
pub mod sniff;
mod words;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cluster_seed::events::EventKind;
use cluster_seed::ids::{EnrollmentId, Mac};
use host::clock::{Stopwatch, now_ms};
use prometheus_client::metrics::histogram::Histogram;
use pxe::{BootEvent, BootEventKind};
use site::store::events::PacketFacts;
use tokio::sync::mpsc;

use gate::Gate;
use ring::Ring;
use words::words;

/// Maximum number of events that wait to be written; further ones are counted and dropped.
const QUEUE: usize = 8_192;
/// Prefix of the MAC addresses of the doctor's simulated machines (locally administered, then "kd"). They are ignored only while
/// a simulation was announced over the control socket.
pub const REHEARSAL_PREFIX: [u8; 3] = [0x02, 0x6b, 0x64];
/// Upper bounds of the buckets of a transfer's duration, in seconds.
pub const TRANSFER_BUCKETS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];
/// Maximum number of transfers that are timed at once.
const MAX_TIMED: usize = 2_048;

/// One event: text, and facts of the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireEvent {
    /// Unix milliseconds.
    pub at: u64,
    pub kind: EventKind,
    pub text: String,
    pub mac: Option<Mac>,
    /// The address that the machine has.
    pub ip: Option<Ipv4Addr>,
    pub facts: PacketFacts,
    /// What it is about, where that is not found by MAC or IP address.
    pub machine: Option<i64>,
    pub enrollment: Option<EnrollmentId>,
}

impl WireEvent {
    pub fn new(at: u64, kind: EventKind) -> Self {
        WireEvent {
            at,
            kind,
            text: String::new(),
            mac: None,
            ip: None,
            facts: PacketFacts::default(),
            machine: None,
            enrollment: None,
        }
    }
}

/// The recorder of the running seed.
pub struct Flight {
    gate: Mutex<Gate>,
    pub ring: Arc<Ring>,
    pub lost: Arc<AtomicU64>,
    pub suppressed: AtomicU64,
    /// How long TFTP transfers took.
    pub transfers: Histogram,
    iface: OnceLock<String>,
    /// Until this time (Unix milliseconds) the doctor's simulated machines are not recorded.
    rehearsal: AtomicU64,
}

impl Flight {
    /// `now` in Unix milliseconds.
    pub fn new(now: u64) -> Self {
        let gate = Mutex::new(Gate::new(now));
        let (suppressed, transfers) = (AtomicU64::new(0), Histogram::new(TRANSFER_BUCKETS));
        Flight {
            gate,
            ring: Arc::default(),
            lost: Arc::default(),
            suppressed,
            transfers,
            iface: OnceLock::new(),
            rehearsal: AtomicU64::new(0),
        }
    }

    /// The interface that packets are captured on; empty before capturing starts.
    pub fn iface(&self) -> &str {
        self.iface.get().map_or("", String::as_str)
    }

    pub fn set_iface(&self, iface: &str) {
        let _ = self.iface.set(iface.to_owned());
    }

    /// Counts a request that was refused and not recorded.
    pub fn count_refused(&self) {
        self.suppressed.fetch_add(1, Ordering::Relaxed);
    }

    pub fn rehearse_until(&self, at: u64) {
        self.rehearsal.store(at, Ordering::Relaxed);
    }

    /// The events of this list that are to be written.
    pub fn pass(&self, mut events: Vec<WireEvent>) -> Vec<WireEvent> {
        let rehearsal = self.rehearsal.load(Ordering::Relaxed);
        events.retain(|e| e.at >= rehearsal || !e.mac.is_none_or(|m| m.0.starts_with(&REHEARSAL_PREFIX)));
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut out, before) = (Vec::with_capacity(events.len()), gate.suppressed());
        events.into_iter().for_each(|e| gate.push(e, &mut out));
        self.suppressed.fetch_add(gate.suppressed() - before, Ordering::Relaxed);
        out
    }

    /// Events that are due because time has passed.
    pub fn tick(&self, now: u64) -> Vec<WireEvent> {
        let mut out = Vec::new();
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).tick(now, &mut out);
        out
    }
}

/// The queue for events; adding to it never blocks.
#[derive(Clone)]
pub struct Queue {
    sender: mpsc::Sender<WireEvent>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    pub fn put(&self, event: WireEvent) {
        if self.sender.try_send(event).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            if lost.is_power_of_two() {
                tracing::warn!(lost, "the event log cannot keep up; packet events are lost");
            }
        }
    }
}

/// Turns what the DHCP and TFTP servers decide into events.
pub struct Recorder {
    pub queue: Queue,
    transfers: Histogram,
    /// When transfers began, by client and file.
    began: Mutex<HashMap<(Ipv4Addr, String), Stopwatch>>,
}

impl Recorder {
    /// The recorder, and the receiving end of its queue, from which the event log is written.
    pub fn new(flight: &Flight) -> (Arc<Self>, mpsc::Receiver<WireEvent>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let queue = Queue { sender, lost: flight.lost.clone() };
        let recorder = Recorder { queue, transfers: flight.transfers.clone(), began: Mutex::default() };
        (Arc::new(recorder), receiver)
    }

    fn time_transfer(&self, event: &BootEvent) {
        let (Some(ip), Some(file)) = (event.ip, &event.file) else { return };
        let mut began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        match event.kind {
            BootEventKind::TftpStarted if began.len() < MAX_TIMED => drop(began.insert((ip, file.clone()), Stopwatch::start())),
            BootEventKind::TftpDone | BootEventKind::TftpAborted(_) | BootEventKind::TftpError(_) => {
                let started = began.remove(&(ip, file.clone()));
                if let (BootEventKind::TftpDone, Some(started)) = (&event.kind, started) {
                    self.transfers.observe(started.elapsed().as_secs_f64());
                }
            }
            _ => {}
        }
    }
}

impl Recorder {
    /// Records a decision of a DHCP or TFTP server; never blocks.
    pub fn observe(&self, event: &BootEvent) {
        self.time_transfer(event);
        let (kind, text) = words(event);
        // An address that a machine only requests or is offered is not its address yet.
        let ip = if matches!(event.kind, BootEventKind::Ack) || event.mac.is_none() { event.ip } else { None };
        self.queue.put(WireEvent { text, mac: event.mac, ip, facts: facts(event), ..WireEvent::new(now_ms(), kind) });
    }
}

fn facts(event: &BootEvent) -> PacketFacts {
    let why = match &event.kind {
        BootEventKind::Nak { why } | BootEventKind::Ignored { why, .. } => Some(why.name().to_owned()),
        BootEventKind::TftpAborted(why) => Some(why.to_string()),
        BootEventKind::TftpError(why) => Some(why.to_string()),
        _ => None,
    };
    PacketFacts {
        iface: Some(event.iface.to_string()),
        xid: event.xid.map(|x| format!("{x:08x}")),
        arch: event.arch.map(|a| a.name().to_owned()),
        ipxe: event.ipxe,
        ip: event.ip,
        server: match event.kind {
            BootEventKind::OtherServer { server, .. }
            | BootEventKind::OtherServerDoubted { server, .. }
            | BootEventKind::OtherServerGone { server } => Some(server),
            _ => None,
        },
        file: event.file.clone(),
        bytes: event.bytes,
        why,
        cause: event.kind.cause(),
        vendor_class: event.vendor_class.clone(),
        hostname: event.hostname.clone(),
        uuid: event.uuid.map(hex::encode),
        repeats: None,
    }
}
