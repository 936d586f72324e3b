//! The boot policy, and the path of packet events into the event log.

use std::sync::Arc;
use std::time::Duration;

use flight::recorder::{Recorder, WireEvent};
use host::clock::now_ms;
use pxe::script::{SeedUrl, boot_url};
use pxe::{BootDecision, BootEvent, BootPolicy, BootRequest};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::App;

/// Most events in one transaction.
const BATCH: usize = 256;
/// How often ended series of repeated events are written.
const TICK: Duration = Duration::from_secs(5);

/// The boot policy of a seed: a loader for firmware and for an iPXE that cannot run the script, else the script. Decisions
/// are passed to the recorder.
pub struct Policy {
    pub seed: SeedUrl,
    pub recorder: Arc<Recorder>,
}

impl BootPolicy for Policy {
    fn decide(&self, request: &BootRequest) -> BootDecision {
        if !request.takes_script() {
            return BootDecision::Loader;
        }
        BootDecision::Script { url: boot_url(self.seed, request.lease.mac, request.arch.name(), None) }
    }

    fn observe(&self, event: &BootEvent) {
        self.recorder.observe(event);
    }
}

/// Writes events in batches until the recorder ends.
pub async fn write_events(app: Arc<App>, mut queue: mpsc::Receiver<WireEvent>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let events = tokio::select! {
            count = queue.recv_many(&mut batch, BATCH) => match count {
                0 => return,
                _ => app.flight.pass(std::mem::take(&mut batch)),
            },
            _ = tick.tick() => app.flight.tick(now_ms()),
        };
        if events.is_empty() {
            continue;
        }
        let app = app.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || app.write_wire(&events)).await {
            tracing::error!(%error, "writing packet events");
        }
    }
}
