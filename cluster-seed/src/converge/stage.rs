//! Which node may go on: the stages of a site, as one pure decision.
//!
//! A node that has never converged waits for the roles that come before its own, and for enough nodes of its own role; the first
//! nodes of a role then start together, later ones join a few at a time. A change reaches one role after the other, and within a
//! role `serial` nodes at a time; it stops at the first failure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::orders::{Barrier, RunResult, SILENT};
use super::role::Resolved;
use crate::ids::{Digest, Hostname};

/// What the nodes of a role have to have run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub revision: Digest,
    pub attempt: u64,
}

/// What the seed knows of a live node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    pub name: Hostname,
    pub role: String,
    /// It has passed the fabric gate.
    pub ready: bool,
    /// What it was allowed to run last.
    pub granted: Option<Target>,
    /// What it ran last, and the result.
    pub ran: Option<(Target, RunResult)>,
    /// A run of its plays has succeeded once.
    pub converged: bool,
    /// The checks of its plays passed in its last message.
    pub healthy: bool,
    /// Unix seconds of its last message; 0 if there was none.
    pub seen: u64,
}

impl NodeView {
    fn is_silent(&self, now: u64) -> bool {
        now.saturating_sub(self.seen) > SILENT
    }

    fn has(&self, target: Target, result: RunResult) -> bool {
        self.ran == Some((target, result))
    }
}

/// What an operator has stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paused {
    pub all: bool,
    pub roles: BTreeSet<String>,
}

/// The site at one moment.
#[derive(Debug)]
pub struct Fleet<'a> {
    pub roles: &'a BTreeMap<String, Resolved>,
    pub targets: &'a BTreeMap<String, Target>,
    pub nodes: &'a [NodeView],
    pub paused: &'a Paused,
    /// Unix seconds.
    pub now: u64,
}

/// What a node may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The role has no plays, or the node has run them.
    Done,
    /// It was allowed to run the target, and has not finished.
    Running,
    /// It failed; an operator has to ask for another run, or change something.
    Failed,
    /// It may run the target now.
    Go,
    Wait(Vec<Barrier>),
}

/// Where a node stands, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stand {
    /// No plays.
    Nothing,
    Waiting,
    Running,
    Converged,
    /// It has converged once; a change has not reached it yet.
    Outdated,
    Failed,
    /// Converged, but a check of its plays fails.
    Unhealthy,
    Silent,
}

impl Stand {
    pub fn as_str(self) -> &'static str {
        match self {
            Stand::Nothing => "nothing to run",
            Stand::Waiting => "waiting",
            Stand::Running => "running",
            Stand::Converged => "converged",
            Stand::Outdated => "outdated",
            Stand::Failed => "failed",
            Stand::Unhealthy => "unhealthy",
            Stand::Silent => "silent",
        }
    }
}

impl Fleet<'_> {
    /// Roles in the order of their stages: each after those it names, otherwise by name.
    pub fn stages(&self) -> Vec<&str> {
        stages(self.roles)
    }

    fn members<'f>(&'f self, role: &'f str) -> impl Iterator<Item = &'f NodeView> + 'f {
        self.nodes.iter().filter(move |n| n.role == role)
    }

    fn well(&self, node: &NodeView) -> bool {
        node.converged && node.healthy && !node.is_silent(self.now)
    }

    fn target(&self, role: &str) -> Option<Target> {
        let plays = self.roles.get(role).is_some_and(|r| !r.plays.is_empty());
        self.targets.get(role).copied().filter(|_| plays)
    }

    /// The role as a condition for others: healthy nodes of those that it has, at least its `count.min`.
    pub fn barrier(&self, role: &str) -> Barrier {
        let name = role.to_owned();
        let total = self.members(role).count();
        if self.target(role).is_none() {
            return Barrier { name, open: true, detail: "nothing to run".to_owned() };
        }
        let min = self.roles.get(role).map_or(1, |r| r.count.min) as usize;
        let well = self.members(role).filter(|n| self.well(n)).count();
        Barrier { name, open: well >= min, detail: format!("{well} of {} healthy", total.max(min)) }
    }

    fn failed_at_target(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.iter().filter(|n| self.target(&n.role).is_some_and(|t| n.has(t, RunResult::Failed)))
    }

    /// Other nodes of the role that were allowed to run something, be it the target or what was the target before, and have not
    /// finished. A silent one does not count: it may never come back.
    fn running(&self, node: &NodeView) -> usize {
        let open = |n: &&NodeView| n.granted.is_some() && n.granted != n.ran.map(|(target, _)| target);
        self.members(&node.role).filter(open).filter(|n| n.name != node.name && !n.is_silent(self.now)).count()
    }

    /// Decides for one node. Nodes that are not in [`Fleet::nodes`] have nothing to run.
    pub fn decide(&self, name: &Hostname) -> Decision {
        let Some(node) = self.nodes.iter().find(|n| n.name == *name) else { return Decision::Done };
        let (Some(target), Some(role)) = (self.target(&node.role), self.roles.get(&node.role)) else { return Decision::Done };
        if node.has(target, RunResult::Ok) {
            return Decision::Done;
        }
        if node.has(target, RunResult::Failed) {
            return Decision::Failed;
        }
        if node.granted == Some(target) {
            return Decision::Running;
        }
        let mut barriers = self.stopped(node);
        if node.converged {
            barriers.extend(self.before_change(node, role));
        } else {
            barriers.extend(self.before_first(node, role));
        }
        if barriers.iter().all(|b| b.open) { Decision::Go } else { Decision::Wait(barriers) }
    }

    fn stopped(&self, node: &NodeView) -> Vec<Barrier> {
        let mut barriers = Vec::new();
        if self.paused.all || self.paused.roles.contains(&node.role) {
            barriers.push(Barrier { name: "paused".to_owned(), open: false, detail: "paused by an operator".to_owned() });
        }
        // A node that joins for the first time is stopped by its own role and by those before it only.
        let before = upstream(self.roles, &node.role);
        let counts = |n: &&NodeView| node.converged || n.role == node.role || before.contains(n.role.as_str());
        if let Some(failed) = self.failed_at_target().filter(counts).find(|n| n.name != node.name) {
            let detail = format!("the roll-out has stopped: {} failed", failed.name);
            barriers.push(Barrier { name: "stopped".to_owned(), open: false, detail });
        }
        barriers
    }

    fn before_first(&self, node: &NodeView, role: &Resolved) -> Vec<Barrier> {
        let named = |b: Barrier| Barrier { detail: format!("{}: {}", b.name, b.detail), ..b };
        let mut barriers: Vec<Barrier> = role.after.iter().map(|before| named(self.barrier(before))).collect();
        let ready = self.members(&role.name).filter(|n| n.ready).count();
        let odd = !role.count.odd || ready % 2 == 1;
        let enough = ready >= role.count.min as usize;
        let detail = match (enough, odd) {
            (true, false) => format!("{ready} nodes; an odd number is required"),
            _ => format!("{ready} of at least {} nodes of the role are ready", role.count.min),
        };
        barriers.push(Barrier { name: "count".to_owned(), open: node.ready && enough && odd, detail });
        if self.members(&role.name).any(|n| n.converged) {
            barriers.push(self.turn(node, role));
        }
        barriers
    }

    fn before_change(&self, node: &NodeView, role: &Resolved) -> Vec<Barrier> {
        let mut barriers = Vec::new();
        for earlier in self.stages().into_iter().take_while(|r| *r != role.name) {
            let Some(goal) = self.target(earlier) else { continue };
            let open = |n: &&NodeView| n.converged && !n.has(goal, RunResult::Ok);
            let left = self.members(earlier).filter(open).count();
            if left > 0 {
                let detail = format!("{earlier}: {left} to be changed first");
                barriers.push(Barrier { name: earlier.to_owned(), open: false, detail });
            }
        }
        barriers.push(self.turn(node, role));
        // A node that is not healthy itself may need the change.
        if self.well(node) {
            let others = self.members(&role.name).filter(|n| n.name != node.name && n.converged && !self.well(n)).count();
            let open = others < role.max_unavailable as usize;
            let detail = format!("{others} other nodes of the role are not healthy, at most {} may be", role.max_unavailable - 1);
            barriers.push(Barrier { name: "available".to_owned(), open, detail });
        }
        barriers
    }

    fn turn(&self, node: &NodeView, role: &Resolved) -> Barrier {
        let running = self.running(node);
        let detail = format!("at most {} at a time, and {running} of the role are running", role.serial);
        Barrier { name: "turn".to_owned(), open: running < role.serial as usize, detail }
    }

    /// Where a node stands.
    pub fn stand(&self, name: &Hostname) -> Stand {
        let Some(node) = self.nodes.iter().find(|n| n.name == *name) else { return Stand::Nothing };
        let decision = self.decide(name);
        let silent = node.is_silent(self.now) && (node.seen > 0 || node.converged);
        match decision {
            Decision::Done if self.target(&node.role).is_none() => Stand::Nothing,
            _ if silent => Stand::Silent,
            Decision::Done if node.healthy => Stand::Converged,
            Decision::Done => Stand::Unhealthy,
            Decision::Failed => Stand::Failed,
            Decision::Running => Stand::Running,
            Decision::Go | Decision::Wait(_) if node.converged => Stand::Outdated,
            Decision::Go | Decision::Wait(_) => Stand::Waiting,
        }
    }
}

/// Roles in the order of their stages: each after those it names, otherwise by name.
pub fn stages(roles: &BTreeMap<String, Resolved>) -> Vec<&str> {
    let mut order: Vec<&str> = Vec::new();
    let mut open: BTreeSet<&str> = roles.keys().map(String::as_str).collect();
    while !open.is_empty() {
        let free =
            open.iter().copied().find(|name| roles.get(*name).is_none_or(|r| r.after.iter().all(|a| !open.contains(a.as_str()))));
        // The roles are checked, so there is no circle; if there were, its first name would be taken.
        let Some(next) = free.or_else(|| open.first().copied()) else { break };
        open.remove(next);
        order.push(next);
    }
    order
}

/// Every role that comes before `role`.
fn upstream<'r>(roles: &'r BTreeMap<String, Resolved>, role: &str) -> BTreeSet<&'r str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = roles.get(role).map(|r| r.after.iter().map(String::as_str).collect()).unwrap_or_default();
    while let Some(name) = open.pop() {
        if let Some((key, resolved)) = roles.get_key_value(name)
            && found.insert(key.as_str())
        {
            open.extend(resolved.after.iter().map(String::as_str));
        }
    }
    found
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
