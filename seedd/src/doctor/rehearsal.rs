//! `seedd doctor --simulate N`: simulated machines that all boot at once, and how many per minute succeed.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use cluster_seed::ids::Mac;
use flight::recorder::REHEARSAL_PREFIX;
use host::clock::Stopwatch;
use serde::{Deserialize, Serialize};
use site::hint::Hint as _;
use tokio::task::JoinSet;

use super::net::machines::{Fetched, Wire, boot};
use super::net::probe;
use super::tool;

/// Most simulated machines.
pub const MAX_MACHINES: u32 = 1_000;
/// All of them, from power on to the kernel.
const LIMIT: Duration = Duration::from_secs(900);

/// The result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    pub machines: u32,
    pub booted: u32,
    pub seconds: f64,
    pub nodes_per_minute: f64,
    /// Time of the slowest machine that booted, and of the one in the middle.
    pub slowest: f64,
    pub median: f64,
    pub tftp_bytes: u64,
    pub http_bytes: u64,
    /// Reasons of failures, each once.
    pub failures: Vec<String>,
}

/// The simulated machine of that number.
pub fn mac(number: u32) -> Mac {
    let [a, b, c] = REHEARSAL_PREFIX;
    let [_, d, e, f] = number.to_be_bytes();
    Mac([a, b, c, d, e, f])
}

/// Boots `count` machines on `iface` against the seed at `seed`, and no other: the first answer of another server ends
/// it, before anything was taken from that one.
pub fn run(iface: &str, seed: Ipv4Addr, count: u32) -> Result<Outcome> {
    ensure!((1..=MAX_MACHINES).contains(&count), "between 1 and {MAX_MACHINES} machines can be simulated");
    refuse_foreign(iface, seed)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let wire = Wire::new(probe::client_socket(iface)?, seed)?;
        let listening = tokio::spawn(wire.clone().listen());
        let began = Stopwatch::start();
        let mut boots = JoinSet::new();
        for number in 1..=count {
            let (wire, iface) = (wire.clone(), iface.to_owned());
            boots.spawn(async move { one(&wire, number, &iface).await });
        }
        let done = tokio::time::timeout(LIMIT, boots.join_all()).await;
        listening.abort();
        let done = done.map_err(|_| anyhow!("not all machines booted within {} s", LIMIT.as_secs()))?;
        if let Some(other) = wire.foreign() {
            return Err(foreign(iface, other));
        }
        Ok(outcome(count, began.elapsed(), done))
    })
}

async fn one(wire: &Arc<Wire>, number: u32, iface: &str) -> Result<(Duration, Fetched)> {
    let began = Stopwatch::start();
    let iface = iface.to_owned();
    let fetched = boot(wire, mac(number), number, |lease| {
        let address = format!("{}/{}", lease.ip, lease.prefix);
        tokio::task::block_in_place(|| tool::add_address(&iface, &address))
    });
    let fetched = fetched.await?;
    Ok((began.elapsed(), fetched))
}

fn foreign(iface: &str, other: Ipv4Addr) -> anyhow::Error {
    let error = anyhow!("another DHCP server, {other}, answers on {iface}; not simulating machines here");
    site::hint::with(error, "use a network where only this seed answers; `seedd doctor` lists other servers")
}

/// Refuses a network where another server answers, or the seed does not.
fn refuse_foreign(iface: &str, seed: Ipv4Addr) -> Result<()> {
    let answers = probe::ask_who_answers(iface)?;
    if let Some(other) = answers.iter().find(|r| r.server != seed) {
        return Err(foreign(iface, other.server));
    }
    if answers.is_empty() {
        return Err(anyhow!("the seed {seed} does not answer on {iface}"))
            .hint("check that `seedd serve` runs there; `seedd doctor` shows why not");
    }
    Ok(())
}

fn outcome(machines: u32, took: Duration, done: Vec<Result<(Duration, Fetched)>>) -> Outcome {
    let (mut times, mut failures, mut sum) = (Vec::new(), Vec::new(), Fetched::default());
    for one in done {
        match one {
            Ok((time, fetched)) => {
                times.push(time.as_secs_f64());
                sum.tftp += fetched.tftp;
                sum.http += fetched.http;
            }
            Err(e) => failures.push(format!("{e:#}")),
        }
    }
    times.sort_by(f64::total_cmp);
    failures.sort();
    failures.dedup();
    failures.truncate(10);
    let seconds = took.as_secs_f64();
    let booted = u32::try_from(times.len()).unwrap_or(u32::MAX);
    Outcome {
        machines,
        booted,
        seconds,
        nodes_per_minute: f64::from(booted) * 60.0 / seconds.max(0.001),
        slowest: times.last().copied().unwrap_or(0.0),
        median: times.get(times.len() / 2).copied().unwrap_or(0.0),
        tftp_bytes: sum.tftp,
        http_bytes: sum.http,
        failures,
    }
}

impl Outcome {
    /// As text.
    pub fn text(&self) -> String {
        let mb = |n: u64| n as f64 / 1e6;
        let mut text = format!(
            "{} of {} machines booted in {:.1} s: {:.0} nodes per minute\n  boot time: median {:.1} s, slowest {:.1} s\n  \
             {:.1} MB over TFTP, {:.1} MB over HTTP ({:.0} MB/s)",
            self.booted,
            self.machines,
            self.seconds,
            self.nodes_per_minute,
            self.median,
            self.slowest,
            mb(self.tftp_bytes),
            mb(self.http_bytes),
            mb(self.http_bytes) / self.seconds.max(0.001),
        );
        for failure in &self.failures {
            text.push_str(&format!("\n  failed: {failure}"));
        }
        text
    }
}

/// Runs the simulation in a namespace connected to the seed's bridge, and reads its outcome.
pub fn through_bridge(bridge: &str, seed: Ipv4Addr, count: u32) -> Result<Outcome> {
    let booth = tool::Booth::new(bridge)?;
    let words =
        ["doctor", "--simulate", &count.to_string(), "--iface", tool::INSIDE, "--seed", &seed.to_string(), "--json", "--here"];
    let text = booth.run(&words.map(str::to_owned))?;
    serde_json::from_str(&text).context("reading the outcome of the simulation")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_counts_who_booted() {
        let time = |s| Ok((Duration::from_secs(s), Fetched { tftp: 10, http: 1_000_000 }));
        let done = vec![time(3), time(1), Err(anyhow!("no answer")), Err(anyhow!("no answer"))];
        let o = outcome(4, Duration::from_secs(6), done);
        assert_eq!((o.booted, o.nodes_per_minute, o.slowest, o.failures.len()), (2, 20.0, 3.0, 1));
        assert!(o.text().starts_with("2 of 4 machines booted in 6.0 s: 20 nodes per minute"), "{}", o.text());
    }

    #[test]
    fn simulated_machines_are_known_by_their_addresses() {
        assert_eq!(mac(1).to_string(), "02:6b:64:00:00:01");
        assert_eq!(mac(1_000).to_string(), "02:6b:64:00:03:e8");
        assert!(run("nonesuch0", Ipv4Addr::LOCALHOST, 0).is_err() && run("nonesuch0", Ipv4Addr::LOCALHOST, 1_001).is_err());
    }
}
