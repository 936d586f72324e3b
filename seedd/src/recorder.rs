//! The boot flight recorder: every packet decision, handed from the network tasks to the event log without ever
//! holding a packet up.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cluster_seed::ids::Mac;
use pxe::script::{SeedUrl, boot_url};
use pxe::{BootDecision, BootEvent, BootPolicy, BootRequest, EventKind};
use tokio::sync::mpsc;

use crate::app::{App, now_ms};

/// Events that may wait to be written; beyond that they are counted and lost.
const QUEUE: usize = 8_192;
/// Most events in one transaction.
const BATCH: usize = 256;

/// One event, in words.
#[derive(Debug, Clone)]
pub struct WireEvent {
    /// Unix milliseconds.
    pub at: u64,
    pub kind: &'static str,
    pub text: String,
    pub mac: Option<Mac>,
    pub ip: Option<Ipv4Addr>,
}

/// What the DHCP and TFTP servers ask and tell.
pub struct Recorder {
    seed: SeedUrl,
    queue: mpsc::Sender<WireEvent>,
    lost: AtomicU64,
}

impl Recorder {
    /// The policy, and the other end of its queue for [`write_events`].
    pub fn new(seed: SeedUrl) -> (Arc<Self>, mpsc::Receiver<WireEvent>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Arc::new(Recorder { seed, queue, lost: AtomicU64::new(0) }), receiver)
    }
}

impl BootPolicy for Recorder {
    fn decide(&self, request: &BootRequest) -> BootDecision {
        if !request.ipxe {
            return BootDecision::Loader;
        }
        BootDecision::Script { url: boot_url(self.seed, request.lease.mac, request.arch.name(), None) }
    }

    fn observe(&self, event: &BootEvent) {
        let Some((kind, text)) = words(event) else { return };
        // An address a machine only asks for, or is offered, is not its own yet.
        let ip = if matches!(event.kind, EventKind::Ack) || event.mac.is_none() { event.ip } else { None };
        let event = WireEvent { at: now_ms(), kind, text, mac: event.mac, ip };
        if self.queue.try_send(event).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            if lost.is_power_of_two() {
                tracing::warn!(lost, "the event log cannot keep up; packet events are lost");
            }
        }
    }
}

/// Writes what comes, in batches, until the recorder is gone.
pub async fn write_events(app: Arc<App>, mut queue: mpsc::Receiver<WireEvent>) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let (events, app) = (std::mem::take(&mut batch), app.clone());
        if let Err(error) = tokio::task::spawn_blocking(move || app.record(&events)).await {
            tracing::error!(%error, "writing packet events");
        }
    }
}

/// The event's kind and a sentence, or `None` for what no operator asks about.
fn words(event: &BootEvent) -> Option<(&'static str, String)> {
    let who = if event.ipxe { "iPXE" } else { "firmware or system" };
    let arch = event.arch.map(|a| format!(", {}", a.name())).unwrap_or_default();
    let ip = event.ip.map(|i| i.to_string()).unwrap_or_default();
    let file = event.file.clone().unwrap_or_default();
    let then = if file.is_empty() { String::new() } else { format!(", boot file {file}") };
    Some(match &event.kind {
        EventKind::Discover => ("dhcp.discover", format!("{who} asks for an address{arch}")),
        EventKind::Offer => ("dhcp.offer", format!("offered {ip}{then}")),
        EventKind::Request => ("dhcp.request", format!("{who} asks for {ip}")),
        EventKind::Ack => ("dhcp.ack", format!("has {ip}{then}")),
        EventKind::Nak { why } => ("dhcp.nak", format!("was refused {ip}: {}", why.name())),
        EventKind::Release => ("dhcp.release", format!("gave {ip} back")),
        EventKind::Decline => ("dhcp.decline", format!("says {ip} is in use by somebody else")),
        EventKind::Inform => ("dhcp.inform", format!("{who} at {ip} asked for options")),
        EventKind::OtherServer { server } => ("dhcp.other", format!("another DHCP server answers here: {server}")),
        EventKind::OtherServerGone { server } => ("dhcp.other", format!("the DHCP server {server} answers no more")),
        EventKind::Serving { proxy: false } => ("dhcp.mode", "nobody else serves addresses here: this seed does".to_owned()),
        EventKind::Serving { proxy: true } => {
            ("dhcp.mode", "another DHCP server is here: this seed only tells machines what to boot".to_owned())
        }
        EventKind::AddressInUse { by } => ("dhcp.in_use", format!("not offered {ip}: {by} answers for it")),
        EventKind::TftpStarted => ("tftp.started", format!("{ip} fetches {file}")),
        EventKind::TftpDone => ("tftp.done", format!("{ip} has {file}, {} bytes", event.bytes.unwrap_or(0))),
        EventKind::TftpAborted { why } => ("tftp.aborted", format!("{ip} ended {file} itself: {why}")),
        EventKind::TftpError { why } => ("tftp.error", format!("{ip} did not get {file}: {why}")),
        EventKind::Ignored { why, detail } => {
            // Without a machine to show it at, a counter says enough.
            event.mac?;
            let detail = detail.as_ref().map(|d| format!(" ({d})")).unwrap_or_default();
            ("dhcp.ignored", format!("not answered: {}{detail}", why.name()))
        }
    })
}
