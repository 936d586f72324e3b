//! What running nodes send all day: each of them says every 30 seconds which peer list it holds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster_seed::held::{Held, HeldReply, MAX_LIST, PERIOD};
use cluster_seed::ids::Digest;
use cluster_seed::seal::Sealed;
use serde::Serialize;
use serde_json::Value;

use crate::api::http_agent;
use crate::fleet::Fleet;
use crate::large_fleet::{enrollment, is_node, node_key};
use crate::netns::SEED_IP;
use crate::say;
use crate::stop;

/// Connections, each with nodes of its own.
const SENDERS: u32 = 4;
const LENGTH: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

/// How the seed answered them.
#[derive(Debug, Serialize)]
pub struct Messages {
    pub nodes: u32,
    /// The signed list that they hold.
    pub list_bytes: usize,
    pub per_second: f64,
    /// What as many nodes send.
    pub needed_per_second: f64,
    pub median_ms: f64,
    pub p99_ms: f64,
}

impl Messages {
    fn of(mut times: Vec<f64>, nodes: u32, list_bytes: usize, took: Duration) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
        Messages {
            nodes,
            list_bytes,
            per_second: times.len() as f64 / took.as_secs_f64(),
            needed_per_second: f64::from(nodes) / PERIOD as f64,
            median_ms: at(0.5),
            p99_ms: at(0.99),
        }
    }

    pub fn print(&self) {
        say::plain(&format!(
            "{} nodes with a peer list of {} say which list they hold: {:.0} messages per second are answered, {:.1} times what they \
             send; {:.1} ms (median), {:.1} ms (99 %)",
            self.nodes,
            say::megabytes(self.list_bytes as u64),
            self.per_second,
            self.per_second / self.needed_per_second,
            self.median_ms,
            self.p99_ms
        ));
    }
}

/// Epoch, version and digest of a list.
type Numbers = (u64, u64, Digest);

/// Every node holds the newest list already.
pub fn run(fleet: &Fleet, machines: u32) -> Result<Messages> {
    let nodes: Vec<u32> = (0..machines).filter(|n| is_node(*n)).collect();
    let first = *nodes.first().context("a site without nodes")?;
    say::line(&format!("messages of {} nodes for {} s", nodes.len(), LENGTH.as_secs()));
    // The database was filled with message 1 of each node.
    let reply = fleet.ns.enter(|| send(&http_agent(PATIENCE), first, 2, (1, 1, Digest::of(b"none"))))?;
    let list = reply.peers.context("the seed sent no peer list")?;
    let text = serde_json::to_value(&list)?;
    let payload: Value = serde_json::from_str(text["payload"].as_str().context("a list without a payload")?)?;
    let number = |key: &str| payload[key].as_u64().with_context(|| format!("a list without {key}"));
    let numbers = (number("epoch")?, number("version")?, list.digest());
    let began = Instant::now();
    let mut senders = Vec::new();
    for sender in 0..SENDERS as usize {
        let own: Vec<u32> = nodes.iter().copied().skip(sender).step_by(SENDERS as usize).collect();
        senders.push(fleet.ns.spawn(move || report(&own, numbers))?);
    }
    let mut times = Vec::new();
    for sender in senders {
        times.extend(sender.join().map_err(|_| anyhow::anyhow!("a thread of the bench panicked"))??);
    }
    Ok(Messages::of(times, u32::try_from(nodes.len())?, text.to_string().len(), began.elapsed()))
}

/// One message after the other; the milliseconds that each took.
fn report(nodes: &[u32], numbers: Numbers) -> Result<Vec<f64>> {
    let agent = http_agent(PATIENCE);
    let mut times = Vec::new();
    let began = Instant::now();
    for seq in 3.. {
        for n in nodes {
            if began.elapsed() >= LENGTH {
                return Ok(times);
            }
            stop::check()?;
            let sent = Instant::now();
            let reply = send(&agent, *n, seq, numbers)?;
            ensure!(reply.peers.is_none() && !reply.send, "the seed sent a list that the node holds");
            times.push(sent.elapsed().as_secs_f64() * 1000.0);
        }
        ensure!(!nodes.is_empty(), "a sender without nodes");
    }
    Ok(times)
}

fn send(agent: &ureq::Agent, n: u32, seq: u64, (epoch, version, digest): Numbers) -> Result<HeldReply> {
    let enrollment = enrollment(n);
    let held = Held { enrollment, seq, epoch, version, digest, next: BTreeMap::new(), refused: None };
    let url = format!("http://{SEED_IP}/api/v1/agent/{enrollment}/held");
    let sealed = Sealed::sign(&held, &node_key(n))?;
    let mut response = agent.post(&url).send_json(&sealed).with_context(|| format!("asking {url}"))?;
    let text = response.body_mut().with_config().limit(2 * MAX_LIST as u64).read_to_string();
    let text = text.with_context(|| format!("reading the answer of {url}"))?;
    ensure!(response.status().as_u16() == 200, "{url}: {}: {text}", response.status());
    serde_json::from_str(&text).with_context(|| format!("the answer of {url}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_compared_with_what_the_nodes_send() {
        let m = Messages::of(vec![3.0, 1.0, 2.0, 9.0], 60, 100, Duration::from_secs(2));
        assert!((m.per_second - 2.0).abs() < 1e-9 && (m.needed_per_second - 2.0).abs() < 1e-9);
        assert!((m.median_ms - 3.0).abs() < 1e-9 && (m.p99_ms - 9.0).abs() < 1e-9);
    }
}
