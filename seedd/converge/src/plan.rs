//! The plan of a site: what follows from cluster.yaml, and the difference to what runs.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cluster_seed::cluster::ClusterSpec;
use cluster_seed::converge::role;
use cluster_seed::converge::stage::{Decision, Stand};
use cluster_seed::ids::Digest;
use serde::Serialize;

use crate::fleet::Scene;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub payload: Option<Digest>,
    pub stages: Vec<Stage>,
    /// Container images among the extras.
    pub images: Vec<String>,
    /// What keeps the site from converging, whatever is done on the nodes.
    pub missing: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    pub role: String,
    pub plays: Vec<String>,
    pub after: Vec<String>,
    pub serial: u32,
    pub max_unavailable: u32,
    pub min: u32,
    pub odd: bool,
    pub packages: Vec<String>,
    pub certificates: Vec<String>,
    pub nodes: Vec<Node>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub name: String,
    /// `None` for a machine of cluster.yaml that has not enrolled.
    pub addresses: Option<BTreeMap<String, Ipv4Addr>>,
    /// What a run would do: `first run`, `change`, `nothing`, `not enrolled`.
    pub does: &'static str,
    pub state: Option<Stand>,
}

/// Draws the plan up. `extras` says whether the extras of cluster.yaml were fetched.
pub fn plan(scene: &Scene, spec: &ClusterSpec) -> Plan {
    let mut stages = Vec::new();
    for name in role::stages(&scene.roles) {
        let Some(role) = scene.roles.get(name) else { continue };
        let mut nodes: Vec<Node> = scene.nodes.iter().filter(|n| n.node.role == name).map(|n| node(scene, n)).collect();
        let planned = spec.spec.nodes.iter().filter(|n| n.role.value == name);
        let known = |label: &str| nodes.iter().any(|n| n.name.split('.').next() == Some(label));
        let new: Vec<String> = planned.map(|n| n.name.value.to_string()).filter(|label| !known(label)).collect();
        nodes.extend(new.into_iter().map(|name| Node { name, addresses: None, does: "not enrolled", state: None }));
        if role.included && nodes.is_empty() {
            continue;
        }
        stages.push(Stage {
            role: name.to_owned(),
            plays: role.plays.clone(),
            after: role.after.iter().cloned().collect(),
            serial: role.serial,
            max_unavailable: role.max_unavailable,
            min: role.count.min,
            odd: role.count.odd,
            packages: role.packages.clone(),
            certificates: role.certificates().iter().map(|c| format!("{}/{}", c.authority.as_str(), c.name)).collect(),
            nodes,
        });
    }
    let images = spec.spec.extras.images.iter().map(|i| format!("{}:{}", i.name, i.tag)).collect();
    Plan { payload: scene.payload.map(|(id, _)| id), missing: missing(scene, &stages), stages, images }
}

fn node(scene: &Scene, n: &site::store::converge::Converging) -> Node {
    let does = match scene.decide(n) {
        Decision::Done => "nothing",
        Decision::Failed => "nothing until it is run again",
        Decision::Running => "running",
        Decision::Go | Decision::Wait(_) if n.record.converged => "change",
        Decision::Go | Decision::Wait(_) => "first run",
    };
    Node {
        name: n.node.hostname.to_string(),
        addresses: Some(n.node.planes.iter().map(|(plane, (address, _))| (plane.clone(), *address)).collect()),
        does,
        state: Some(scene.stand(&n.node.hostname)),
    }
}

fn missing(scene: &Scene, stages: &[Stage]) -> Vec<String> {
    let mut all = Vec::new();
    let plays = stages.iter().any(|s| !s.plays.is_empty());
    if plays && scene.payload.is_none() {
        all.push("no payload is published".to_owned());
    }
    for stage in stages.iter().filter(|s| !s.plays.is_empty()) {
        let count = stage.nodes.len();
        if count > 0 && count < stage.min as usize {
            all.push(format!("role {} has {count} of at least {} nodes", stage.role, stage.min));
        } else if stage.odd && count > 0 && count.is_multiple_of(2) {
            all.push(format!("role {} has {count} nodes; an odd number is required", stage.role));
        }
    }
    all
}

impl Plan {
    pub fn text(&self) -> String {
        let mut lines = vec![match self.payload {
            Some(id) => format!("payload {}", id.short()),
            None => "no payload".to_owned(),
        }];
        for (number, s) in (1..).zip(&self.stages) {
            let plays = if s.plays.is_empty() { "no plays".to_owned() } else { s.plays.join(", ") };
            let after = if s.after.is_empty() { String::new() } else { format!(", after {}", s.after.join(", ")) };
            lines.push(format!("{number}. {}: {plays}{after}", s.role));
            let odd = if s.odd { ", odd" } else { "" };
            lines.push(format!(
                "   at least {} nodes{odd}; {} at once; waits while {} of the others are not healthy",
                s.min, s.serial, s.max_unavailable
            ));
            for (what, list) in [("packages", &s.packages), ("certificates", &s.certificates)] {
                if !list.is_empty() {
                    lines.push(format!("   {what}  {}", list.join(", ")));
                }
            }
            for n in &s.nodes {
                let at = n.addresses.iter().flatten().map(|(plane, ip)| format!("{plane} {ip}")).collect::<Vec<_>>().join(" ");
                lines.push(format!("   {:<28} {:<14} {at}", n.name, n.does));
            }
        }
        if !self.images.is_empty() {
            lines.push(format!("images of the extras: {}", self.images.join(", ")));
        }
        lines.extend(self.missing.iter().map(|m| format!("missing: {m}")));
        let changes = self.stages.iter().flat_map(|s| &s.nodes).filter(|n| ["change", "first run"].contains(&n.does)).count();
        lines.push(format!("{changes} {} run their plays", if changes == 1 { "node would" } else { "nodes would" }));
        lines.join("\n")
    }
}
