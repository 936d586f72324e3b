//! What a decision needs to know of all nodes, counted once: a site may have ten thousand, and each of them is decided for.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::orders::{RunResult, SILENT};
use super::role::{Resolved, stages};
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
    pub(super) fn is_silent(&self, now: u64) -> bool {
        now.saturating_sub(self.seen) > SILENT
    }

    pub(super) fn has(&self, target: Target, result: RunResult) -> bool {
        self.ran == Some((target, result))
    }

    /// It has converged, its checks pass, and it was heard of lately.
    pub(super) fn is_well(&self, now: u64) -> bool {
        self.converged && self.healthy && !self.is_silent(now)
    }

    /// It was allowed to run something, be it the target or what was the target before, and has not finished. A silent one does not
    /// count: it may never come back.
    pub(super) fn is_running(&self, now: u64) -> bool {
        self.granted.is_some() && self.granted != self.ran.map(|(target, _)| target) && !self.is_silent(now)
    }
}

/// The nodes of one role, counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) total: usize,
    pub(super) ready: usize,
    pub(super) converged: usize,
    /// See [`NodeView::is_well`].
    pub(super) well: usize,
    /// Those that have converged, and are not well now.
    pub(super) ill: usize,
    /// See [`NodeView::is_running`].
    pub(super) running: usize,
    /// Those that have converged, but have not run the target yet.
    pub(super) left: usize,
    failed: First,
}

/// The first two nodes of a kind, as indexes: enough to name one that is not a given node.
#[derive(Debug, Clone, Copy, Default)]
struct First([Option<usize>; 2]);

impl First {
    fn add(&mut self, index: usize) {
        if let Some(free) = self.0.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(index);
        }
    }

    fn other_than(self, index: usize) -> Option<usize> {
        self.0.into_iter().flatten().find(|i| *i != index)
    }
}

/// All nodes of a site at one moment, counted by role. It belongs to the nodes and targets that it was made from.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    index: HashMap<Hostname, usize>,
    roles: BTreeMap<String, Tally>,
    order: Vec<String>,
    failed: First,
}

impl Survey {
    /// Counts the nodes. `now` is in Unix seconds.
    pub fn of(roles: &BTreeMap<String, Resolved>, targets: &BTreeMap<String, Target>, nodes: &[NodeView], now: u64) -> Self {
        let order = stages(roles).into_iter().map(str::to_owned).collect();
        let mut survey = Survey { order, ..Survey::default() };
        for (index, node) in nodes.iter().enumerate() {
            survey.index.entry(node.name.clone()).or_insert(index);
            let target = target(roles, targets, &node.role);
            let failed = target.is_some_and(|t| node.has(t, RunResult::Failed));
            let tally = survey.roles.entry(node.role.clone()).or_default();
            tally.add(node, target, now);
            if failed {
                tally.failed.add(index);
                survey.failed.add(index);
            }
        }
        survey
    }

    pub(super) fn index(&self, name: &Hostname) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The count of a role; `None` if it has no nodes.
    pub(super) fn role(&self, role: &str) -> Option<&Tally> {
        self.roles.get(role)
    }

    /// The roles in the order of their stages.
    pub(super) fn order(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    /// The first node that failed, other than this one.
    pub(super) fn failed(&self, index: usize) -> Option<usize> {
        self.failed.other_than(index)
    }

    /// The same among the nodes of some roles.
    pub(super) fn failed_of<'r>(&self, index: usize, roles: impl Iterator<Item = &'r str>) -> Option<usize> {
        roles.filter_map(|role| self.role(role)?.failed.other_than(index)).min()
    }
}

impl Tally {
    fn add(&mut self, node: &NodeView, target: Option<Target>, now: u64) {
        let well = node.is_well(now);
        self.total += 1;
        self.ready += usize::from(node.ready);
        self.converged += usize::from(node.converged);
        self.well += usize::from(well);
        self.ill += usize::from(node.converged && !well);
        self.running += usize::from(node.is_running(now));
        self.left += usize::from(node.converged && target.is_some_and(|t| !node.has(t, RunResult::Ok)));
    }
}

/// What the nodes of a role have to have run; `None` if it has no plays.
pub(super) fn target(roles: &BTreeMap<String, Resolved>, targets: &BTreeMap<String, Target>, role: &str) -> Option<Target> {
    let plays = roles.get(role).is_some_and(|r| !r.plays.is_empty());
    targets.get(role).copied().filter(|_| plays)
}
