//! The seed's clock: its time source, and setting it. `host::clock` has the two clocks.

pub mod beats;
pub mod tool;

use std::collections::HashMap;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8Path;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::time::{TimeState, Tracking, is_seed_config, seed_config};
use host::clock::now_ms;
use host::files::{PUBLIC, create_dirs, read_limited, write_atomic};
use ipnet::Ipv4Net;
use site::hint::Hint as _;
use web::api::ClockView;

/// Where the daemon on an appliance leaves chrony's configuration, for `seedd appliance time`.
pub const CHRONY_CONFIG: &str = "/run/kubedos/chrony.conf";
/// A clock before this date (2025-01-01) was never set: the program is newer.
pub const PROGRAM_DATE: u64 = 1_735_689_600;
/// A clock more than this many seconds (20 years) after the snapshot is wrong.
const TOO_LATE: u64 = 20 * 365 * 86_400;
/// Maximum size of chrony's configuration, in bytes.
const MAX_CONFIG: u64 = 64 << 10;
/// Maximum size of a Release file, in bytes.
const MAX_RELEASE: u64 = 1 << 20;

/// A stored end of something that lasts at most `longest` seconds: one that is further away was stored under another
/// clock.
pub fn bounded(end: u64, longest: u64, steady: u64) -> u64 {
    end.min(steady.saturating_add(longest))
}

/// How long each enrollment has been silent, as observed by this daemon.
#[derive(Debug, Default)]
pub struct Silence(HashMap<EnrollmentId, (u64, u64)>);

impl Silence {
    /// Seconds since `touched`, an opaque mark of the last word, was first seen. Forgets those that are not in `all`.
    pub fn of(&mut self, all: &[(EnrollmentId, u64)], steady: u64) -> HashMap<EnrollmentId, u64> {
        let mut kept = HashMap::with_capacity(all.len());
        for (id, touched) in all {
            let seen = self.0.get(id).filter(|(mark, _)| mark == touched).map_or(steady, |(_, seen)| *seen);
            kept.insert(*id, (*touched, seen));
        }
        self.0 = kept;
        self.0.iter().map(|(id, (_, seen))| (*id, steady.saturating_sub(*seen))).collect()
    }
}

/// The networks whose machines may query the seed's time.
pub fn served(spec: &ClusterSpec) -> Vec<Ipv4Net> {
    let n = &spec.spec.networking;
    std::iter::once(n.underlay.subnet.trunc()).chain(n.planes.values().map(|p| p.value.cidr)).collect()
}

/// chrony's configuration for this site.
pub fn chrony_config(spec: &ClusterSpec) -> String {
    seed_config(&spec.spec.time, &served(spec))
}

/// Writes it on an appliance, whose kubedos-time.path then runs [`install_config`] and restarts chrony. On other systems the
/// directory does not exist, and the operator configures chrony.
pub fn write_config(spec: &ClusterSpec) {
    let path = Utf8Path::new(CHRONY_CONFIG);
    if path.parent().is_none_or(|dir| !dir.is_dir()) {
        return;
    }
    if let Err(error) = write_atomic(path, chrony_config(spec).as_bytes(), 0o644) {
        tracing::warn!(error = format!("{error:#}"), "chrony was not configured; nodes cannot get the time from this seed");
    }
}

/// As root: takes over the configuration that the daemon wrote if it has only what [`chrony_config`] writes. chrony starts
/// as root, and with another configuration could write anywhere.
pub fn install_config(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    let text = String::from_utf8(read_limited(from, MAX_CONFIG)?).with_context(|| format!("reading {from}"))?;
    if !is_seed_config(&text) {
        return Err(anyhow!("{from} contains directives that a seed does not write")).hint("restart kubedos-seed.service");
    }
    create_dirs(to.parent().unwrap_or(to))?;
    Ok(write_atomic(to, text.as_bytes(), PUBLIC)?)
}

/// The date of a published snapshot (the `Date` of its Release), in Unix seconds.
pub fn snapshot_date(snapshot: &Utf8Path, suite: &str) -> Option<u64> {
    let bytes = read_limited(&snapshot.join("dists").join(suite).join("Release"), MAX_RELEASE).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let date = text.lines().find_map(|l| l.strip_prefix("Date:"))?;
    // Debian writes RFC 2822 dates with the zone name UTC.
    let date = date.trim().replace("UTC", "+0000");
    u64::try_from(jiff::fmt::rfc2822::parse(&date).ok()?.timestamp().as_second()).ok()
}

/// Why the clock must be wrong, as text.
pub fn doubt(clock: u64, snapshot: Option<u64>) -> Option<String> {
    let floor = snapshot.unwrap_or(PROGRAM_DATE).max(PROGRAM_DATE);
    let than = if snapshot.is_some_and(|s| s >= PROGRAM_DATE) { "the package snapshot" } else { "this program" };
    if clock < floor {
        return Some(format!("the seed's clock is older than {than}: set it on the clock page; times below are wrong"));
    }
    (clock > floor.saturating_add(TOO_LATE))
        .then(|| format!("the seed's clock is 20 years ahead of {than}: set it on the clock page; times below are wrong"))
}

/// What the web interface shows.
pub fn view(tracking: Option<&Tracking>, clock_ms: u64, snapshot: Option<u64>) -> ClockView {
    let source = match tracking {
        None => "system clock, not synchronised".to_owned(),
        Some(t) => match t.state {
            TimeState::Synchronised => format!("chrony, from {}", t.source),
            TimeState::Local => "system clock, not synchronised; chrony serves it to the nodes".to_owned(),
            TimeState::Unsynchronised => "system clock; chrony has no answer from its servers yet".to_owned(),
        },
    };
    let followed = tracking.filter(|t| t.state == TimeState::Synchronised);
    ClockView {
        clock_ms,
        source,
        synchronised: followed.is_some(),
        stratum: tracking.filter(|t| t.state != TimeState::Unsynchronised).map(|t| t.stratum),
        offset: followed.map(|t| t.offset),
        drift: tracking.filter(|t| t.state != TimeState::Unsynchronised).map(|t| t.drift),
        doubt: doubt(clock_ms / 1000, snapshot),
    }
}

/// The machine's clock, while there is no site yet.
pub fn of_machine() -> ClockView {
    view(tool::tracking().as_ref(), now_ms(), None)
}

/// Sets the machine's clock, in Unix milliseconds, while there is no site yet and therefore no event log.
pub fn set_machine(to_ms: u64) -> Result<ClockView> {
    tool::set(to_ms)?;
    Ok(of_machine())
}

#[cfg(test)]
mod tests;
