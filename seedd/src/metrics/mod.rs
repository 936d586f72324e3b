//! Metrics for Prometheus, generated for every scrape from the servers' counters.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};
use flight::recorder::Flight;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use pxe::counters::{Count, Counters};
use pxe::why::Why;
use site::store::tallies::Tallies;
use web::meter::{DoorMeter, HttpMeter, Turn};

/// Counters of the running servers.
#[derive(Debug, Clone)]
pub struct Meters {
    /// One for each interface.
    pub dhcp: Vec<Arc<Counters>>,
    pub tftp: Vec<Arc<Counters>>,
    pub http: Arc<HttpMeter>,
    /// Of the pages' listener.
    pub pages: Arc<DoorMeter>,
}

/// Values in addition to the counters.
#[derive(Debug, Clone, Default)]
pub struct Now {
    pub tallies: Tallies,
    pub sealed: bool,
    pub mode: &'static str,
    pub epoch: u64,
    /// Unix seconds.
    pub clock: u64,
    pub synchronised: bool,
    pub offset: Option<f64>,
    /// Addresses that can be leased.
    pub pool: u64,
    pub free: Option<u64>,
    pub administrators_needed: bool,
    /// Requests for the peer list of no member.
    pub peers_refused: u64,
    /// Nodes that hold an older list.
    pub behind: u32,
    pub unheard: Unheard,
}

/// Nodes that are not heard.
#[derive(Debug, Clone, Default)]
pub struct Unheard {
    pub silent: u32,
    /// Host names, and seconds since the last message; bounded by the caller.
    pub seconds: Vec<(String, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Type {
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Node {
    node: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    of: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    of: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Turned {
    listener: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// All metrics in Prometheus' text format, version 0.0.4.
pub fn render(meters: Option<&Meters>, flight: &Flight, now: &Now) -> Result<String> {
    let mut registry = Registry::with_prefix("kubedos");
    if let Some(meters) = meters {
        dhcp(&mut registry, &meters.dhcp);
        tftp(&mut registry, &meters.tftp);
        http(&mut registry, &meters.http);
        turned(&mut registry, meters);
    }
    recorder(&mut registry, flight);
    site(&mut registry, now);
    let mut out = String::new();
    text::encode(&mut out, &registry).context("writing the metrics")?;
    Ok(to_prometheus(&out))
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

/// Sums over all interfaces.
fn sum(counters: &[Arc<Counters>], of: impl Fn(&Counters) -> u64) -> u64 {
    counters.iter().map(|c| of(c)).sum()
}

/// Names of DHCP's own counters; those of TFTP begin with `tftp_`.
fn dhcp(registry: &mut Registry, counters: &[Arc<Counters>]) {
    let (packets, ignored) = (Family::<Type, Counter>::default(), Family::<Reason, Counter>::default());
    for count in Count::ALL.iter().filter(|c| !c.name().starts_with("tftp_")) {
        packets.get_or_create(&Type { r#type: count.name() }).inc_by(sum(counters, |c| c.get(*count)));
    }
    for why in Why::ALL {
        ignored.get_or_create(&Reason { reason: why.name() }).inc_by(sum(counters, |c| c.ignored(*why)));
    }
    registry.register("dhcp_packets", "DHCP packets received and sent, by type", packets);
    registry.register("dhcp_ignored", "DHCP packets that were not answered, or refused, by reason", ignored);
}

fn tftp(registry: &mut Registry, counters: &[Arc<Counters>]) {
    let results = Family::<Outcome, Counter>::default();
    for count in Count::ALL {
        if let Some(result) = count.name().strip_prefix("tftp_") {
            results.get_or_create(&Outcome { result }).inc_by(sum(counters, |c| c.get(*count)));
        }
    }
    registry.register("tftp_transfers", "TFTP requests and transfers, by result", results);
    counter(registry, "tftp_sent_bytes", "File bytes that TFTP clients acknowledged", sum(counters, Counters::tftp_bytes));
}

fn http(registry: &mut Registry, meter: &HttpMeter) {
    let (requests, bytes) = (Family::<Status, Counter>::default(), Family::<Of, Counter>::default());
    for (of, status, value) in meter.requests() {
        requests.get_or_create(&Status { of, status }).inc_by(value);
    }
    for (of, value) in meter.bytes() {
        bytes.get_or_create(&Of { of }).inc_by(value);
    }
    registry.register("http_requests", "HTTP responses to machines, by kind of resource and status class", requests);
    registry.register("http_sent_bytes", "File bytes sent to machines over HTTP, by kind of resource", bytes);
}

fn turned(registry: &mut Registry, meters: &Meters) {
    let turned = Family::<Turned, Counter>::default();
    for (listener, door) in [("machines", meters.http.door()), ("pages", &meters.pages)] {
        for turn in Turn::ALL {
            turned.get_or_create(&Turned { listener, reason: turn.name() }).inc_by(door.get(turn));
        }
    }
    registry.register("http_turned_away", "Connections that were not taken, or closed because their place was needed", turned);
}

fn recorder(registry: &mut Registry, flight: &Flight) {
    let (lost, suppressed) = (flight.lost.load(Ordering::Relaxed), flight.suppressed.load(Ordering::Relaxed));
    counter(registry, "recorder_lost_events", "Packet events lost because the database could not keep up", lost);
    let help = "Packet events suppressed by the limits per machine and for unknown machines";
    counter(registry, "recorder_suppressed_events", help, suppressed);
    let help = "Duration of completed TFTP transfers, from the first to the last packet";
    registry.register("tftp_transfer_seconds", help, flight.transfers.clone());
}

fn site(registry: &mut Registry, now: &Now) {
    let build = Family::<Build, Gauge>::default();
    build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
    registry.register("build_info", "The program's version", build);
    let (enrollments, modes) = (Family::<State, Gauge>::default(), Family::<State, Gauge>::default());
    for (state, count) in &now.tallies.enrollments {
        enrollments.get_or_create(&State { state: state.clone() }).set(i64::from(*count));
    }
    for mode in ["active", "standby", "fenced"] {
        modes.get_or_create(&State { state: mode.to_owned() }).set(i64::from(mode == now.mode));
    }
    registry.register("enrollments", "Enrollments by state, including ended ones", enrollments);
    registry.register("mode", "1 for the current mode of this seed", modes);
    gauge(registry, "machines", "Machines seen on the network", now.tallies.machines.into());
    gauge(registry, "nodes", "Nodes that are not revoked", now.tallies.nodes.into());
    gauge(registry, "nodes_behind", "Nodes that hold an older peer list, or have not reported one", now.behind.into());
    heartbeats(registry, &now.unheard);
    counter(registry, "peers_refused", "Requests for the peer list that came from no member", now.peers_refused);
    gauge(registry, "leases", "Addresses leased now", now.tallies.leases.into());
    gauge(registry, "lease_pool_addresses", "Addresses that can be leased", now.pool);
    gauge(registry, "sealed", "1 while the private keys are sealed", u64::from(now.sealed));
    gauge(registry, "setup_needed", "1 while there is no administrator", u64::from(now.administrators_needed));
    gauge(registry, "epoch", "The site's epoch", now.epoch);
    gauge(registry, "clock_seconds", "The seed's clock, in seconds since 1970", now.clock);
    gauge(registry, "clock_synchronised", "1 while the clock follows a time server", u64::from(now.synchronised));
    if let Some(offset) = now.offset {
        let gauge = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
        gauge.set(offset);
        registry.register("clock_offset_seconds", "Seconds from the time server; negative is slow", gauge);
    }
    if let Some(free) = now.free {
        gauge(registry, "data_free_bytes", "Free space on the file system of the site's data", free);
    }
    gauge(registry, "events", "Rows of the event log", now.tallies.events);
}

fn heartbeats(registry: &mut Registry, unheard: &Unheard) {
    gauge(
        registry,
        "nodes_silent",
        "Running nodes that have not been heard for longer than four periods of their report",
        unheard.silent.into(),
    );
    let seconds = Family::<Node, Gauge>::default();
    for (node, s) in &unheard.seconds {
        seconds.get_or_create(&Node { node: node.clone() }).set(i64::try_from(*s).unwrap_or(i64::MAX));
    }
    registry.register(
        "node_unheard_seconds",
        "Seconds since the last message of a running node; the longest first, at most 500",
        seconds,
    );
}

/// From OpenMetrics to the older format that every Prometheus reads and `promtool check metrics` checks: there a
/// counter's own name has the `_total`, help texts come without a full stop added, and there is no end mark.
fn to_prometheus(open: &str) -> String {
    let counters: Vec<&str> = open.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(open.len());
    for line in open.lines().filter(|l| *l != "# EOF" && !l.starts_with("# UNIT ")) {
        let comment = ["# HELP ", "# TYPE "].iter().find_map(|p| Some((p, line.strip_prefix(p)?.split_once(' ')?)));
        match comment {
            Some((prefix, (name, rest))) => {
                let total = if counters.contains(&name) { "_total" } else { "" };
                let rest = if *prefix == "# HELP " { rest.trim_end_matches('.') } else { rest };
                out.push_str(&format!("{prefix}{name}{total} {rest}\n"));
            }
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
