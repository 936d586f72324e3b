//! Live pages while events are written: how late an event arrives, and what the daemon holds meanwhile.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;

use crate::api::Client;
use crate::feed::Feed;
use crate::fleet::Fleet;
use crate::say;
use crate::stop;
use crate::trust::ca_of;

const VIEWERS: u8 = 50;
/// Events per second, by this many writers: each waits for the disk.
const RATE: u32 = 100;
const WRITERS: u32 = 4;
const LENGTH: Duration = Duration::from_secs(20);
/// Machines that get notes; no site of the bench has fewer.
const MACHINES: u32 = 200;
/// How long viewers wait for the last events.
const AFTER: Duration = Duration::from_secs(5);

/// What the viewers saw.
#[derive(Debug, Serialize)]
pub struct Watched {
    pub viewers: usize,
    pub written: u32,
    pub per_second: f64,
    /// Events that arrived, over all viewers.
    pub seen: usize,
    /// Of a viewer's events, as a share of those written, of the viewer who saw fewest.
    pub least_share: f64,
    /// Between the event's own time and its arrival.
    pub median_ms: u64,
    pub p99_ms: u64,
    pub worst_ms: u64,
}

impl Watched {
    fn of(mut lags: Vec<Vec<u64>>, written: u32, took: Duration) -> Self {
        let least = lags.iter().map(Vec::len).min().unwrap_or(0);
        let viewers = lags.len();
        let mut all: Vec<u64> = lags.drain(..).flatten().collect();
        all.sort_unstable();
        let at =
            |share: f64| all.get(((all.len() as f64 * share) as usize).min(all.len().saturating_sub(1))).copied().unwrap_or(0);
        Watched {
            viewers,
            written,
            per_second: f64::from(written) / took.as_secs_f64(),
            seen: all.len(),
            least_share: least as f64 / f64::from(written.max(1)),
            median_ms: at(0.5),
            p99_ms: at(0.99),
            worst_ms: at(1.0),
        }
    }

    pub fn print(&self) {
        say::plain(&format!(
            "{} viewers, {:.0} events per second written: an event arrives after {} ms (median), {} ms (99 %), {} ms (worst); \
             the viewer who saw fewest saw {:.1} % of {}",
            self.viewers,
            self.per_second,
            self.median_ms,
            self.p99_ms,
            self.worst_ms,
            self.least_share * 100.0,
            self.written
        ));
    }
}

/// Opens the live pages, writes events, and says what arrived; and the most memory of the daemon meanwhile, in bytes.
pub fn run(fleet: &mut Fleet) -> Result<(Watched, u64)> {
    let base = fleet.client.base.clone();
    let pages: SocketAddr = base.trim_start_matches("https://").parse().context("reading the address of the pages")?;
    let token = fleet.client.token.clone().context("a client without a session")?;
    let ca = ca_of(&fleet.seedd.data)?;
    say::line(&format!("{VIEWERS} live pages, {RATE} events per second for {} s", LENGTH.as_secs()));
    let mut feeds = Vec::new();
    for n in 1..=VIEWERS {
        feeds.push(Feed::open(Ipv4Addr::new(127, 0, 1, n), pages, &ca, &token)?);
    }
    let (over, written) = (AtomicBool::new(false), AtomicU32::new(0));
    let mut most = fleet.daemon.resident()?;
    let began = Instant::now();
    let (lags, took) = std::thread::scope(|scope| {
        let (base, token, ca, written, over) = (&base, &token, &ca, &written, &over);
        let viewers: Vec<_> = feeds.into_iter().map(|feed| scope.spawn(move || view(feed, over))).collect();
        let writers: Vec<_> = (0..WRITERS).map(|n| scope.spawn(move || write(base, token, ca, n, written))).collect();
        while writers.iter().any(|w| !w.is_finished()) {
            most = most.max(fleet.daemon.resident().unwrap_or(0));
            std::thread::sleep(stop::TICK);
        }
        let took = began.elapsed();
        // What was written last is on its way.
        let waited = stop::sleep(AFTER);
        over.store(true, Ordering::Relaxed);
        let wrote: Result<()> = writers.into_iter().try_for_each(joined);
        let lags: Result<Vec<_>> = viewers.into_iter().map(joined).collect();
        waited.and(wrote)?;
        Ok::<_, anyhow::Error>((lags?, took))
    })?;
    most = most.max(fleet.daemon.resident()?);
    Ok((Watched::of(lags, written.load(Ordering::Relaxed), took), most))
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!("a thread of the bench panicked"))?
}

/// Reads until the end; the lag of every event in milliseconds.
fn view(mut feed: Feed, over: &AtomicBool) -> Result<Vec<u64>> {
    let mut lags = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let Some(event) = feed.event()? else { continue };
        // The events of the bench, and none of what the seed says by itself.
        if event["kind"] == "machine.labelled" {
            lags.push(host::clock::now_ms().saturating_sub(event["at"].as_u64().unwrap_or(0)));
        }
    }
    Ok(lags)
}

/// Writes notes at its part of the rate: each is an event.
fn write(base: &str, token: &str, ca: &ureq::tls::Certificate<'static>, writer: u32, written: &AtomicU32) -> Result<()> {
    let mut client = Client::new(base, std::slice::from_ref(ca));
    client.token = Some(token.to_owned());
    let began = Instant::now();
    for n in 0.. {
        let due = Duration::from_secs(1) * n * WRITERS / RATE;
        if due >= LENGTH {
            break;
        }
        stop::check()?;
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        // A writer that falls behind stops at the end of the time, not after its last note.
        if began.elapsed() >= LENGTH {
            break;
        }
        let machine = 1 + (n * WRITERS + writer) % MACHINES;
        let note = json!({ "place": format!("note {n} of writer {writer}"), "labels": [] });
        client.put(&format!("/api/v1/machines/{machine}/note"), &note)?.good("writing a note")?;
        written.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_all_viewers() {
        let lags = vec![vec![1, 2, 3, 4], vec![5, 100]];
        let w = Watched::of(lags, 4, Duration::from_secs(2));
        assert_eq!((w.viewers, w.seen, w.median_ms, w.worst_ms), (2, 6, 4, 100));
        assert!((w.least_share - 0.5).abs() < 1e-9 && (w.per_second - 2.0).abs() < 1e-9);
        let none = Watched::of(Vec::new(), 0, Duration::from_secs(1));
        assert_eq!((none.seen, none.worst_ms), (0, 0));
    }
}
