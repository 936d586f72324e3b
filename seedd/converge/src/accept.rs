//! Acceptance: the checks of cluster.yaml, from what every node said last.

use cluster_seed::agent::GateCheck;
use cluster_seed::converge::CHECKS;
use cluster_seed::converge::orders::SILENT;
use cluster_seed::converge::stage::Stand;
use cluster_seed::ids::Digest;
use cluster_seed::seal::Sealable;
use serde::{Deserialize, Serialize};
use site::store::converge::Converging;

use crate::fleet::Scene;

/// Which checks of a node show what a check of the site asks for, and whether every node must have one of them.
const SHOWN_BY: [(&str, &[&str], bool); 9] = [
    ("planes", &["planes"], true),
    ("security", &["security"], true),
    ("etcd", &["etcd"], false),
    ("vip", &["vip", "loadbalancer"], false),
    ("containers", &["containers", "podman"], false),
    ("kubernetes", &["controlplane", "worker"], false),
    ("monitoring", &["monitoring", "exporters"], false),
    ("time", &["time"], true),
    ("egress", &["egress"], true),
];

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    pub name: String,
    pub ok: bool,
    /// One line per node that fails it, or on how many nodes it passed.
    pub details: Vec<String>,
}

/// The report of `seedd accept`; signed by the site key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptReport {
    pub site: String,
    /// Unix seconds by the seed's clock.
    pub at: u64,
    pub epoch: u64,
    pub payload: Option<Digest>,
    pub nodes: usize,
    pub verdicts: Vec<Verdict>,
}

impl Sealable for AcceptReport {
    const PURPOSE: &'static str = "accept";
}

impl AcceptReport {
    pub fn passed(&self) -> bool {
        self.verdicts.iter().all(|v| v.ok)
    }

    /// One line per check.
    pub fn text(&self) -> String {
        let line = |v: &Verdict| format!("{:4} {:<12} {}", if v.ok { "ok" } else { "FAIL" }, v.name, v.details.join("; "));
        self.verdicts.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Evaluates the required checks, in the order of [`CHECKS`], after one of our own: that every node has converged.
pub fn verdicts(scene: &Scene, required: &[String], now: u64) -> Vec<Verdict> {
    let mut all = vec![converged(scene)];
    for (name, shown_by, everywhere) in SHOWN_BY.iter().filter(|(name, ..)| required.iter().any(|r| r == name)) {
        all.push(verdict(scene, name, shown_by, *everywhere, now));
    }
    debug_assert!(CHECKS.iter().all(|(name, _)| SHOWN_BY.iter().any(|(n, ..)| n == name)));
    all
}

fn label(node: &Converging) -> &str {
    node.node.hostname.label()
}

fn converged(scene: &Scene) -> Verdict {
    let good = |n: &&Converging| matches!(scene.stand(&n.node.hostname), Stand::Converged | Stand::Nothing);
    let bad: Vec<String> = scene
        .nodes
        .iter()
        .filter(|n| !good(n))
        .map(|n| format!("{}: {}", label(n), scene.stand(&n.node.hostname).as_str()))
        .collect();
    let (ok, details) = match (scene.nodes.len(), bad.is_empty()) {
        (0, _) => (false, vec!["there is no node".to_owned()]),
        (n, true) => (true, vec![format!("{n} nodes")]),
        _ => (false, bad),
    };
    Verdict { name: "converged".to_owned(), ok, details }
}

fn verdict(scene: &Scene, name: &str, shown_by: &[&str], everywhere: bool, now: u64) -> Verdict {
    let (mut failing, mut passing) = (Vec::new(), 0);
    for node in &scene.nodes {
        let plays = scene.role_of(node).is_some_and(|r| !r.plays.is_empty());
        let checks: Vec<&GateCheck> = node.record.checks.iter().filter(|c| shown_by.contains(&c.name.as_str())).collect();
        let expected =
            everywhere && plays || scene.role_of(node).is_some_and(|r| r.plays.iter().any(|p| shown_by.contains(&p.as_str())));
        match checks.iter().find(|c| !c.ok) {
            _ if expected && now.saturating_sub(node.at) > SILENT => {
                failing.push(format!("{}: no message for {} s", label(node), now.saturating_sub(node.at)))
            }
            Some(bad) => failing.push(format!("{}: {}: {}", label(node), bad.name, bad.detail)),
            None if checks.is_empty() && expected => failing.push(format!("{}: has not been checked yet", label(node))),
            None if checks.is_empty() => {}
            None => passing += 1,
        }
    }
    let (ok, details) = match (failing.is_empty(), passing) {
        (true, 0) => (false, vec!["no node has this check".to_owned()]),
        (true, n) => (true, vec![format!("{n} nodes")]),
        (false, _) => (false, failing),
    };
    Verdict { name: name.to_owned(), ok, details }
}
