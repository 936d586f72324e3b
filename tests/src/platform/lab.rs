//! The fleet of the platform, and what is asked of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::checks::Ssh;
use crate::fleet::Fleet;
use crate::say;
use crate::site::Template;
use crate::stop;

/// From power-on to Converged, all plays included, under emulation.
pub const FLOW_LIMIT: Duration = Duration::from_secs(80 * 60);
/// For what takes a run of the plays on each node.
pub const CHANGE_LIMIT: Duration = Duration::from_secs(40 * 60);
/// Attempts to enter a node: one whose processor is busy may not answer in time.
const CONNECTS: u32 = 4;
const CONNECT_PAUSE: Duration = Duration::from_secs(5);
/// The last one watches.
pub const NODES: [&str; 3] = ["core-1", "core-2", "watch-1"];
pub const WATCH: &str = NODES[2];

/// The fleet, and how its nodes are entered.
pub struct Lab<'a> {
    pub fleet: Fleet,
    pub template: &'a Template,
}

impl Lab<'_> {
    /// A command as root on a node, over the control plane.
    pub fn on(&self, name: &str, command: &str) -> Result<String> {
        let member = self.fleet.members.iter().find(|m| m.name() == name).with_context(|| format!("no member {name}"))?;
        let planes = member.machine.as_ref().context("a member without a machine")?.planes();
        let ssh = Ssh { fleet: &self.fleet, key: &self.template.ssh_key, address: &planes["wg1"] };
        for _ in 1..CONNECTS {
            match ssh.run(command) {
                Err(error) if never_began(&format!("{error:#}")) => stop::sleep(CONNECT_PAUSE)?,
                done => return done,
            }
        }
        ssh.run(command)
    }

    pub fn address(&self, name: &str, plane: &str) -> Result<String> {
        let member = self.fleet.members.iter().find(|m| m.name() == name).with_context(|| format!("no member {name}"))?;
        let planes = member.machine.as_ref().context("a member without a machine")?.planes();
        planes.get(plane).cloned().with_context(|| format!("{name} has no address on {plane}"))
    }

    /// What `seedd converge status --json` says of every node.
    pub fn status(&self) -> Result<Vec<Value>> {
        let argv = self.fleet.seedd.argv(&["converge", "status", "--json"]);
        let out = crate::tool::outcome(&argv)?;
        let said: Value = serde_json::from_str(&out.stdout).with_context(|| format!("reading {out:?}"))?;
        let stages = said["stages"].as_array().cloned().unwrap_or_default();
        Ok(stages.iter().flat_map(|s| s["nodes"].as_array().cloned().unwrap_or_default()).collect())
    }

    /// Waits until every node has this state; a failed one ends it with its words.
    pub fn until_all(&mut self, state: &str, limit: Duration) -> Result<()> {
        let began = Instant::now();
        let mut last = Instant::now();
        loop {
            stop::check()?;
            self.fleet.tick(false)?;
            if last.elapsed() > Duration::from_secs(5) {
                last = Instant::now();
                let nodes = self.status()?;
                say::progress(&nodes.iter().map(phrase).collect::<Vec<_>>().join("; "));
                if let Some(failed) = nodes.iter().find(|n| n["state"] == "failed") {
                    anyhow::bail!("{}", phrase(failed));
                }
                if nodes.len() == self.fleet.members.len() && nodes.iter().all(|n| n["state"] == state) {
                    return Ok(());
                }
                ensure!(began.elapsed() < limit, "not {state}: {}", nodes.iter().map(phrase).collect::<Vec<_>>().join("; "));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Whether these are words of ssh(1) about a connection that was not made: nothing was run on the node.
fn never_began(error: &str) -> bool {
    ["ssh: connect to host", "during banner exchange", "kex_exchange_identification"].iter().any(|words| error.contains(words))
}

/// One line about a node.
fn phrase(node: &Value) -> String {
    let run = &node["run"];
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let waits: Vec<String> = node["waits"].as_array().into_iter().flatten().map(|w| text(&w["detail"])).collect();
    let checks: Vec<String> = node["checks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|c| c["ok"] == false)
        .map(|c| format!("{}: {}", text(&c["name"]), text(&c["detail"])))
        .collect();
    let name = text(&node["hostname"]);
    format!(
        "{name} {} {}/{} {} {} {}",
        text(&node["state"]),
        text(&run["play"]),
        text(&run["task"]),
        text(&run["why"]),
        waits.join(", "),
        checks.join("; ")
    )
    .trim_end()
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_command_that_did_not_begin_is_sent_again() {
        for error in [
            "ssh 10.78.0.3 true: 255 ssh: connect to host 10.78.0.3 port 22: Connection timed out",
            "ssh 10.78.0.3 true: 255 Connection timed out during banner exchange",
            "ssh 10.78.0.3 true: 255 kex_exchange_identification: Connection closed by remote host",
        ] {
            assert!(never_began(error), "{error}");
        }
        for error in ["ssh 10.78.0.3 false: 1 ", "ssh 10.78.0.3 true: 255 Timeout, server 10.78.0.3 not responding."] {
            assert!(!never_began(error), "{error}");
        }
    }
}
