//! Nodes replace their keys of a plane while packets travel on it: seen by `wg show` on both nodes and the seed, and by ping.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::ask::{self, Node, ask, until};
use crate::fleet::Fleet;
use crate::say;

const PLANE: &str = "wg2";
const PLANES: [&str; 3] = ["wg1", PLANE, "wg3"];
/// Four stages, each within a period of the nodes' timers; emulated nodes are slower.
const PATIENCE: Duration = Duration::from_secs(900);
/// Where the ping on a node writes.
const LOG: &str = "/run/kubedos-lab-ping";
/// Answers that may be lost while both nodes change over, at five a second: until each peer has seen a handshake of the new key. Emulated,
/// each step takes seconds.
const MAX_LOST: u64 = 100;

type Keys = BTreeMap<String, String>;

fn keys(node: &Node<'_>) -> Result<Keys> {
    let said = node.run(&format!("for p in {}; do wg show $p public-key; done", PLANES.join(" ")))?;
    let keys: Vec<&str> = said.split_whitespace().collect();
    ensure!(keys.len() == PLANES.len(), "{} has the keys {said}", node.name);
    Ok(PLANES.iter().zip(keys).map(|(plane, key)| ((*plane).to_owned(), key.to_owned())).collect())
}

/// Sent and received, as `ping` says at its end.
pub fn counts(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find(|l| l.contains("packets transmitted"))?;
    let mut numbers = line.split(", ").filter_map(|part| part.split(' ').next()?.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

pub fn replaced(fleet: &Fleet, key: &Path) -> Result<()> {
    let nodes = ask::nodes(fleet, key)?;
    let [a, b] = &nodes[..] else { bail!("{} nodes, not two", nodes.len()) };
    let before = [keys(a)?, keys(b)?];
    a.run(&format!("nohup ping -n -i 0.2 -W 2 {} > {LOG} 2>&1 < /dev/null & echo $! > {LOG}.pid", b.on(PLANE)?))?;

    let begun = ask(fleet, &["plane", "rotate", PLANE])?;
    ensure!(begun["rotations"].as_array().is_some_and(|all| all.len() == nodes.len()), "{begun}");
    until("the nodes to replace their keys", PATIENCE, |seen| {
        let left = ask(fleet, &["plane", "rotations"])?;
        *seen = left.to_string();
        Ok(left["rotations"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })?;
    // The last list, which has no old keys, takes its time to arrive.
    followed(fleet, (a, b), &before[0])?;
    followed(fleet, (b, a), &before[1])?;

    let text = a.run(&format!("kill -INT $(cat {LOG}.pid); sleep 2; tail -n 3 {LOG}"))?;
    let (sent, received) = counts(&text).with_context(|| format!("reading {text:?}"))?;
    let lost = sent.saturating_sub(received);
    ensure!(lost <= MAX_LOST, "{received} of {sent} answers on {PLANE}");
    say::line(&format!("both nodes replaced their keys of {PLANE}: {lost} of {sent} answers were lost meanwhile"));
    Ok(())
}

/// Waits until a node uses a new key of this plane only, and the other one and the seed have no other key of it.
fn followed(fleet: &Fleet, (node, other): (&Node<'_>, &Node<'_>), before: &Keys) -> Result<()> {
    until(&format!("the new key of {} on {PLANE}", node.name), PATIENCE, |seen| {
        let after = keys(node)?;
        let changed: Vec<&String> = after.keys().filter(|plane| after[*plane] != before[*plane]).collect();
        let peers = other.run(&format!("wg show {PLANE} peers"))?;
        let own = fleet.ns.run(&["wg", "show", PLANE, "peers"])?;
        *seen = format!("keys that changed: {changed:?}; {} has {peers}; the seed has {own}", other.name);
        let follows = |peers: &str| peers.contains(&after[PLANE]) && !peers.contains(&before[PLANE]);
        Ok((changed == [PLANE] && follows(&peers) && follows(&own)).then_some(()))
    })
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
