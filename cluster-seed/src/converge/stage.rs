//! Which node may go on: the stages of a site, as one pure decision.
//!
//! A node that has never converged waits for the roles that come before its own, and for enough nodes of its own role; the first
//! nodes of a role then start together, later ones join a few at a time. A change reaches one role after the other, and within a
//! role `serial` nodes at a time; it stops at the first failure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::orders::{Barrier, RunResult};
use super::role::{Resolved, upstream};
use super::survey::{self, NodeView, Survey, Tally, Target};
use crate::ids::Hostname;

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
    /// Made from these nodes and targets.
    pub survey: &'a Survey,
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
    fn tally(&self, role: &str) -> Tally {
        self.survey.role(role).cloned().unwrap_or_default()
    }

    fn target(&self, role: &str) -> Option<Target> {
        survey::target(self.roles, self.targets, role)
    }

    /// The role as a condition for others: healthy nodes of those that it has, at least its `count.min`.
    pub fn barrier(&self, role: &str) -> Barrier {
        let name = role.to_owned();
        if self.target(role).is_none() {
            return Barrier { name, open: true, detail: "nothing to run".to_owned() };
        }
        let min = self.roles.get(role).map_or(1, |r| r.count.min) as usize;
        let Tally { total, well, .. } = self.tally(role);
        Barrier { name, open: well >= min, detail: format!("{well} of {} healthy", total.max(min)) }
    }

    fn find(&self, name: &Hostname) -> Option<(usize, &NodeView)> {
        let index = self.survey.index(name)?;
        Some((index, self.nodes.get(index)?))
    }

    /// Decides for one node. Nodes that are not in [`Fleet::nodes`] have nothing to run.
    pub fn decide(&self, name: &Hostname) -> Decision {
        let Some((index, node)) = self.find(name) else { return Decision::Done };
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
        let mut barriers = self.stopped(index, node);
        if node.converged {
            barriers.extend(self.before_change(node, role));
        } else {
            barriers.extend(self.before_first(node, role));
        }
        if barriers.iter().all(|b| b.open) { Decision::Go } else { Decision::Wait(barriers) }
    }

    fn stopped(&self, index: usize, node: &NodeView) -> Vec<Barrier> {
        let mut barriers = Vec::new();
        if self.paused.all || self.paused.roles.contains(&node.role) {
            barriers.push(Barrier { name: "paused".to_owned(), open: false, detail: "paused by an operator".to_owned() });
        }
        let failed = if node.converged {
            self.survey.failed(index)
        } else {
            // A node that joins for the first time is stopped by its own role and by those before it only.
            let before = upstream(self.roles, &node.role);
            self.survey.failed_of(index, before.into_iter().chain([node.role.as_str()]))
        };
        if let Some(failed) = failed.and_then(|i| self.nodes.get(i)) {
            let detail = format!("the roll-out has stopped: {} failed", failed.name);
            barriers.push(Barrier { name: "stopped".to_owned(), open: false, detail });
        }
        barriers
    }

    fn before_first(&self, node: &NodeView, role: &Resolved) -> Vec<Barrier> {
        let named = |b: Barrier| Barrier { detail: format!("{}: {}", b.name, b.detail), ..b };
        let mut barriers: Vec<Barrier> = role.after.iter().map(|before| named(self.barrier(before))).collect();
        let Tally { ready, converged, .. } = self.tally(&role.name);
        let odd = !role.count.odd || ready % 2 == 1;
        let enough = ready >= role.count.min as usize;
        let detail = match (enough, odd) {
            (true, false) => format!("{ready} nodes; an odd number is required"),
            _ => format!("{ready} of at least {} nodes of the role are ready", role.count.min),
        };
        barriers.push(Barrier { name: "count".to_owned(), open: node.ready && enough && odd, detail });
        if converged > 0 {
            barriers.push(self.turn(node, role));
        }
        barriers
    }

    fn before_change(&self, node: &NodeView, role: &Resolved) -> Vec<Barrier> {
        let mut barriers = Vec::new();
        for earlier in self.survey.order().take_while(|r| *r != role.name) {
            let left = self.tally(earlier).left;
            if left > 0 {
                let detail = format!("{earlier}: {left} to be changed first");
                barriers.push(Barrier { name: earlier.to_owned(), open: false, detail });
            }
        }
        barriers.push(self.turn(node, role));
        // A node that is not healthy itself may need the change.
        if node.is_well(self.now) {
            let others = self.tally(&role.name).ill;
            let open = others < role.max_unavailable as usize;
            let detail = format!("{others} other nodes of the role are not healthy, at most {} may be", role.max_unavailable - 1);
            barriers.push(Barrier { name: "available".to_owned(), open, detail });
        }
        barriers
    }

    fn turn(&self, node: &NodeView, role: &Resolved) -> Barrier {
        let running = self.tally(&role.name).running - usize::from(node.is_running(self.now));
        let detail = format!("at most {} at a time, and {running} of the role are running", role.serial);
        Barrier { name: "turn".to_owned(), open: running < role.serial as usize, detail }
    }

    /// Where a node stands.
    pub fn stand(&self, name: &Hostname) -> Stand {
        let Some((_, node)) = self.find(name) else { return Stand::Nothing };
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

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
