//! The heartbeat of the nodes: each reports the list that it holds every 30 seconds (`app::lists`). The watchdog finds those that
//! do not, and the page shows them as silent until they are heard again.

use std::sync::PoisonError;

use camino::Utf8Path;
use cluster_seed::events::EventKind;
use host::clock::{now, now_ms};
use host::interfaces::has_link;
use site::store::events::NewEvent;
use site::store::silence::Beat;
use web::api::ApiError;

use super::App;
use crate::clock::beats::Change;
use crate::metrics::Unheard;

/// Most nodes whose time since the last message is exported one by one; those that were silent longest come first.
const MAX_SERIES: usize = 500;

impl App {
    /// Whether the seed can hear nodes: its listeners run, and its interface has a link.
    pub(super) fn listens(&self) -> bool {
        let iface = self.flight.iface();
        self.meters.get().is_some() && (iface.is_empty() || has_link(Utf8Path::new("/"), iface).unwrap_or(true))
    }

    /// One round of the watchdog. `steady` is in seconds.
    pub fn beat(&self, steady: u64, listens: bool) -> Result<(), ApiError> {
        if !listens {
            self.beats.lock().unwrap_or_else(PoisonError::into_inner).pause();
            return Ok(());
        }
        let beats = self.store.write_quietly(|tx| {
            tx.prune_silence()?;
            tx.beats()
        })?;
        let changes = self.beats.lock().unwrap_or_else(PoisonError::into_inner).round(&beats, steady);
        if changes.is_empty() {
            return Ok(());
        }
        self.write(|tx| {
            for (n, change) in changes {
                let Some(beat) = beats.get(n) else { continue };
                let (kind, text) = match change {
                    Change::Silent(seconds) => {
                        tx.set_silent(beat.node, beat.mark, now())?;
                        (EventKind::NodeSilent, format!("{} is silent: no message for {}", beat.hostname, span(seconds)))
                    }
                    Change::Back => {
                        let since = tx.end_silence(beat.node)?.unwrap_or_else(now);
                        let seconds = now().saturating_sub(since);
                        (EventKind::NodeBack, format!("{} is heard again after {}", beat.hostname, span(seconds)))
                    }
                };
                let event =
                    NewEvent { machine: Some(beat.machine), enrollment: Some(beat.enrollment), ..NewEvent::new(kind, &text) };
                tx.event(now_ms(), &event)?;
            }
            Ok(())
        })
    }

    /// Seconds since each node was heard, for the metrics, and how many nodes are silent.
    pub(super) fn unheard_nodes(&self) -> Result<Unheard, ApiError> {
        let (mut beats, silent) = self.store.read(|tx| Ok::<_, site::store::StoreError>((tx.beats()?, tx.count_silent()?)))?;
        beats.sort_by(|a: &Beat, b| a.heard.cmp(&b.heard).then_with(|| a.hostname.cmp(&b.hostname)));
        let clock = now();
        let seconds = beats.into_iter().take(MAX_SERIES).map(|b| (b.hostname.to_string(), clock.saturating_sub(b.heard)));
        Ok(Unheard { silent, seconds: seconds.collect() })
    }
}

/// `45 s`, `12 min`, `5 h`, `3 d`.
fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_are_short() {
        for (seconds, text) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")] {
            assert_eq!(super::span(seconds), text);
        }
    }
}
