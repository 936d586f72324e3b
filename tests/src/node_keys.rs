//! Nodes replace their keys of a plane while packets travel on it: seen by `wg show` on both nodes and the seed, and by ping.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::checks::Ssh;
use crate::fleet::Fleet;
use crate::member::Member;
use crate::{say, stop};

const PLANE: &str = "wg2";
const PLANES: [&str; 3] = ["wg1", PLANE, "wg3"];
/// Four stages, each within a period of the nodes' timers; emulated nodes are slower.
const PATIENCE: Duration = Duration::from_secs(900);
/// Where the ping on a node writes.
const LOG: &str = "/run/kubedos-lab-ping";
/// Answers that may be lost while both nodes change over: five a second, for a few seconds each, on an emulated machine.
const MAX_LOST: u64 = 100;

type Keys = BTreeMap<String, String>;

fn keys(ssh: &Ssh<'_>) -> Result<Keys> {
    PLANES.iter().map(|p| Ok(((*p).to_owned(), ssh.run(&format!("wg show {p} public-key"))?.trim().to_owned()))).collect()
}

/// Sent and received, as `ping` says at its end.
fn counts(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find(|l| l.contains("packets transmitted"))?;
    let mut numbers = line.split(", ").filter_map(|part| part.split(' ').next()?.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

pub fn replaced(fleet: &Fleet, key: &Path) -> Result<()> {
    let planes = |m: &Member| Ok(m.machine.as_ref().context("a member without a machine")?.planes());
    let nodes: Vec<Keys> = fleet.members.iter().map(planes).collect::<Result<_>>()?;
    let at = |n: usize| nodes.get(n).context("no second node");
    let ssh = |n: usize| Ok::<_, anyhow::Error>(Ssh { fleet, key, address: &at(n)?["wg1"] });
    let before = [keys(&ssh(0)?)?, keys(&ssh(1)?)?];
    ssh(0)?.run(&format!("nohup ping -n -i 0.2 -W 2 {} > {LOG} 2>&1 < /dev/null & echo $! > {LOG}.pid", at(1)?[PLANE]))?;

    let said = fleet.seedd.say_plain(&["plane", "rotate", PLANE, "--json"])?;
    let begun: Value = serde_json::from_str(&said).with_context(|| format!("reading {said:?}"))?;
    ensure!(begun["rotations"].as_array().is_some_and(|all| all.len() == nodes.len()), "{begun}");
    stop::wait_for("the nodes to replace their keys", PATIENCE, || {
        let left: Value = serde_json::from_str(&fleet.seedd.say_plain(&["plane", "rotations", "--json"])?)?;
        Ok(left["rotations"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })?;

    let text = ssh(0)?.run(&format!("kill -INT $(cat {LOG}.pid); sleep 2; tail -n 3 {LOG}"))?;
    let (sent, received) = counts(&text).with_context(|| format!("reading {text:?}"))?;
    ensure!(sent.saturating_sub(received) <= MAX_LOST, "{received} of {sent} answers on {PLANE}");
    let own = fleet.ns.outcome(&["wg", "show", PLANE, "peers"])?.stdout;
    for (n, before) in before.iter().enumerate() {
        let after = keys(&ssh(n)?)?;
        let changed: Vec<&String> = after.keys().filter(|p| after[*p] != before[*p]).collect();
        ensure!(changed == [PLANE], "keys that changed: {changed:?}");
        let peers = ssh(1 - n)?.run(&format!("wg show {PLANE} peers"))?;
        for (who, peers) in [("the seed", &own), ("the other node", &peers)] {
            ensure!(peers.contains(&after[PLANE]) && !peers.contains(&before[PLANE]), "{who} has {peers}");
        }
    }
    say::line(&format!("both nodes replaced their keys of {PLANE}: {} of {sent} answers were lost meanwhile", sent - received));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_ping_are_read() {
        let text = "--- 10.79.0.3 ping statistics ---\n80 packets transmitted, 71 received, 11.25% packet loss, time 8781ms\n";
        assert_eq!(counts(text), Some((80, 71)));
        assert_eq!(counts("ping: unknown host"), None);
    }
}
