//! The site at one moment: roles, targets, nodes; and what one node may run.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cluster_seed::cluster::ClusterSpec;
use cluster_seed::converge::orders::{Barrier, Member, Run, RunMode, RunResult, SILENT};
use cluster_seed::converge::role::{Resolved, resolve_all};
use cluster_seed::converge::stage::{Decision, Fleet, Paused, Stand};
use cluster_seed::converge::survey::{NodeView, Survey, Target};
use cluster_seed::converge::{NODE_CHECKS, platform};
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::{Digest, EnrollmentId, Hostname};
use cluster_seed::kubernetes::KubernetesSpec;
use serde_json::Value;
use site::setting;
use site::store::converge::{ConvergeRecord, Converging};
use site::store::{StoreError, Tx};

use crate::pki::Names;

/// Role whose nodes receive the journals of all others.
const COLLECTOR: &str = "log-collector";
/// Variables with a virtual address.
const VIPS: [&str; 2] = ["lb_vip_wg3", "lb_vip_underlay"];
/// Play that sends them.
const LOGS: &str = "logs";
/// Play that forwards to the API servers, and the play of those: they come after it, and it gets to know them nevertheless.
const BALANCER: &str = "loadbalancer";
const CONTROL: &str = "controlplane";

/// Members of this play vote.
pub const VOTING: &str = "etcd";

/// The members of a cluster that votes, without one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voters {
    /// Healthy members.
    pub healthy: usize,
    /// All members, the one included.
    pub all: usize,
}

impl Voters {
    /// The healthy ones can go on writing.
    pub fn majority(self) -> bool {
        self.healthy > self.all / 2
    }
}

/// Everything that a decision needs.
pub struct Scene {
    pub roles: BTreeMap<String, Resolved>,
    pub targets: BTreeMap<String, Target>,
    pub nodes: Vec<Converging>,
    pub paused: Paused,
    /// Id and size of the payload in use.
    pub payload: Option<(Digest, u64)>,
    views: Vec<NodeView>,
    survey: Survey,
    /// Networks of Kubernetes, if the site has it.
    kubernetes: Option<KubernetesSpec>,
    /// When a check run was asked for, by role.
    checks: BTreeMap<String, u64>,
    now: u64,
}

fn numbers(tx: &Tx<'_>, prefix: &str) -> Result<BTreeMap<String, u64>, StoreError> {
    let rows = tx.settings_under(prefix)?;
    Ok(rows.into_iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.parse().ok()?))).collect())
}

/// What an operator has stopped.
pub fn paused(tx: &Tx<'_>) -> Result<Paused, StoreError> {
    let text = tx.setting(setting::CONVERGE_PAUSED)?;
    let parsed = text.map(|t| serde_json::from_str(&t).map_err(|_| StoreError::Corrupt { what: "setting.converge" }));
    Ok(parsed.transpose()?.unwrap_or_default())
}

impl Scene {
    /// Reads everything. `payload` is id and size of the payload in use; `now` in Unix seconds.
    pub fn read(tx: &Tx<'_>, spec: &ClusterSpec, payload: Option<(Digest, u64)>, now: u64) -> Result<Self, StoreError> {
        let mut roles = resolve_all(&spec.spec.roles);
        crate::registries::add(&mut roles, &spec.spec.extras);
        let mut scene = Scene {
            nodes: tx.converging()?,
            paused: paused(tx)?,
            payload,
            checks: numbers(tx, setting::CONVERGE_CHECK)?,
            targets: BTreeMap::new(),
            views: Vec::new(),
            survey: Survey::default(),
            kubernetes: spec.kubernetes(),
            roles,
            now,
        };
        let attempts = numbers(tx, setting::CONVERGE_ATTEMPT)?;
        for (name, role) in &scene.roles {
            if let Some(revision) = scene.revision(role) {
                let attempt = attempts.get(name).copied().unwrap_or(0);
                scene.targets.insert(name.clone(), Target { revision, attempt });
            }
        }
        scene.views = scene.nodes.iter().map(view).collect();
        scene.survey = Survey::of(&scene.roles, &scene.targets, &scene.views, now);
        Ok(scene)
    }

    /// A live node by its enrollment.
    pub fn node(&self, id: EnrollmentId) -> Option<&Converging> {
        self.nodes.iter().find(|n| n.node.enrollment == id)
    }

    /// Whether a scene that was read some seconds ago tells the same of a node that has just been heard, whose record is now this
    /// one. Not if it may begin a run: that is decided by what is true now.
    pub fn still_decides(&self, id: EnrollmentId, record: &ConvergeRecord) -> bool {
        self.node(id).is_some_and(|node| {
            let heard = self.now.saturating_sub(node.at) <= SILENT;
            heard && same_for_decisions(&node.record, record) && self.decide(node) != Decision::Go
        })
    }

    pub fn fleet(&self) -> Fleet<'_> {
        Fleet {
            roles: &self.roles,
            targets: &self.targets,
            nodes: &self.views,
            survey: &self.survey,
            paused: &self.paused,
            now: self.now,
        }
    }

    pub fn role_of(&self, node: &Converging) -> Option<&Resolved> {
        self.roles.get(&node.node.role)
    }

    /// Digest over what nodes of the role run; `None` without plays or without a payload.
    fn revision(&self, role: &Resolved) -> Option<Digest> {
        let (payload, _) = self.payload.filter(|_| !role.plays.is_empty())?;
        let mut groups = self.groups(role);
        // An address on the boot network may change by itself.
        groups.values_mut().flatten().for_each(|member| member.underlay = None);
        let text = serde_json::to_string(&(payload, &role.name, &role.plays, &role.vars, groups)).unwrap_or_default();
        Some(Digest::of(text.as_bytes()))
    }

    /// The nodes that the plays of a role may refer to: of the role itself and of those before it, by role and by play.
    fn groups(&self, role: &Resolved) -> BTreeMap<String, Vec<Member>> {
        let mut groups = BTreeMap::new();
        let names: Vec<&String> = std::iter::once(&role.name).chain(&role.after).collect();
        for name in &names {
            groups.insert((*name).clone(), self.members(|r| r == name.as_str()));
        }
        for play in &platform::PLAYS {
            let has = |r: &str| self.roles.get(r).is_some_and(|r| r.plays.iter().any(|p| p == play.name));
            let with = |other: &str| role.plays.iter().any(|p| p == other);
            let later = match play.name {
                COLLECTOR => with(LOGS),
                CONTROL => with(BALANCER),
                _ => false,
            };
            let wanted = names.iter().any(|name| has(name)) || later;
            if wanted {
                groups.insert(play.name.to_owned(), self.members(has));
            }
        }
        groups
    }

    fn members(&self, of: impl Fn(&str) -> bool) -> Vec<Member> {
        let member = |c: &Converging| Member {
            name: c.node.hostname.clone(),
            planes: c.node.planes.iter().map(|(plane, (address, _))| (plane.clone(), *address)).collect(),
            underlay: c.node.endpoint,
        };
        self.nodes.iter().filter(|c| of(&c.node.role)).map(member).collect()
    }

    /// What this node waits for, or may do.
    pub fn decide(&self, node: &Converging) -> Decision {
        let plays = self.role_of(node).is_some_and(|r| !r.plays.is_empty());
        if plays && self.payload.is_none() {
            let detail = "no payload is published".to_owned();
            return Decision::Wait(vec![Barrier { name: "payload".to_owned(), open: false, detail }]);
        }
        self.fleet().decide(&node.node.hostname)
    }

    pub fn stand(&self, hostname: &Hostname) -> Stand {
        self.fleet().stand(hostname)
    }

    /// Who votes without this node; `None` if it does not vote itself.
    pub fn voters_without(&self, hostname: &Hostname) -> Option<Voters> {
        let votes = |n: &&Converging| self.role_of(n).is_some_and(|r| r.plays.iter().any(|p| p == VOTING));
        let voters: Vec<&Hostname> = self.nodes.iter().filter(votes).map(|n| &n.node.hostname).collect();
        let healthy = voters.iter().filter(|h| **h != hostname && self.stand(h) == Stand::Converged).count();
        voters.contains(&hostname).then_some(Voters { healthy, all: voters.len() })
    }

    /// The target of a node as a run. `extra` attempts of the node alone are added.
    pub fn run(&self, node: &Converging) -> Option<Run> {
        let role = self.role_of(node)?;
        let target = self.targets.get(&role.name)?;
        let (payload, payload_size) = self.payload?;
        Some(Run {
            revision: target.revision,
            attempt: target.attempt + node.record.extra,
            mode: RunMode::Apply,
            payload,
            payload_size,
            role: role.name.clone(),
            plays: role.plays.clone(),
            vars: role.vars.clone(),
            groups: self.groups(role),
        })
    }

    /// The number of the check run that the node has not made yet, if one was asked for or it is due. Only a node that has run its
    /// target is checked.
    pub fn check_due(&self, node: &Converging, every: u64) -> Option<u64> {
        if self.decide(node) != Decision::Done || self.role_of(node).is_none_or(|r| r.plays.is_empty()) {
            return None;
        }
        let record = &node.record;
        let asked = self.checks.get(&node.node.role).copied().unwrap_or(0).max(record.check_asked);
        let last = record.checked_at.max(record.ended_at);
        let due = record.converged && last > 0 && self.now.saturating_sub(last) >= every;
        match (asked > record.check_attempt, due) {
            (true, _) => Some(asked),
            // The time when it was due: the same at every message until it is made, and later than all before.
            (false, true) => Some((last + every).max(record.check_attempt + 1)),
            (false, false) => None,
        }
    }
}

/// What a node ran last, and the result, unless it still runs.
fn ran(record: &ConvergeRecord) -> Option<(Target, RunResult)> {
    let run = record.run.as_ref().filter(|run| run.result != RunResult::Running)?;
    // A run from before the node's own further attempt has a lower number than that.
    let attempt = run.attempt.checked_sub(record.extra)?;
    Some((Target { revision: run.revision, attempt }, run.result))
}

/// The checks of its plays passed in its last message.
fn is_healthy(record: &ConvergeRecord) -> bool {
    record.checks.iter().all(|check| check.ok || NODE_CHECKS.contains(&check.name.as_str()))
}

/// Two records of a node from which every decision, about itself and others, follows alike.
pub fn same_for_decisions(a: &ConvergeRecord, b: &ConvergeRecord) -> bool {
    let of_runs = |r: &ConvergeRecord| (r.granted, ran(r), r.ended_at, r.extra, r.converged, is_healthy(r));
    let of_checks = |r: &ConvergeRecord| (r.checked_at, r.check_attempt, r.check_asked);
    of_runs(a) == of_runs(b) && of_checks(a) == of_checks(b)
}

/// What the decision sees of a node.
fn view(c: &Converging) -> NodeView {
    NodeView {
        name: c.node.hostname.clone(),
        role: c.node.role.clone(),
        ready: matches!(c.state, EnrollmentState::FabricReady | EnrollmentState::Converged),
        granted: c.record.granted,
        ran: ran(&c.record),
        converged: c.record.converged,
        healthy: is_healthy(&c.record),
        seen: c.at,
    }
}

impl Scene {
    /// The names of a node itself.
    pub fn own_names(&self, node: &Converging) -> Names {
        let addresses = node.node.planes.values().map(|(address, _)| *address).collect();
        Names { addresses, ..self.names(node) }
    }

    /// The names in the certificates of a node: its own, and the virtual addresses, behind which it may answer.
    pub fn names(&self, node: &Converging) -> Names {
        let hostname = &node.node.hostname;
        let mut addresses: Vec<Ipv4Addr> = vec![Ipv4Addr::LOCALHOST];
        addresses.extend(node.node.planes.values().map(|(address, _)| *address));
        for (role, key) in self.roles.values().flat_map(|role| VIPS.map(|key| (role, key))) {
            let vip = role.vars.get(key).and_then(Value::as_str).and_then(|text| text.parse::<Ipv4Addr>().ok());
            addresses.extend(vip.filter(|vip| !addresses.contains(vip)));
        }
        Names {
            name: hostname.to_string(),
            dns: vec![hostname.to_string(), hostname.label().to_owned(), "localhost".to_owned()],
            addresses,
            api: self.api(node),
        }
    }

    /// Names and address of the service `kubernetes`, for the nodes that answer for it.
    fn api(&self, node: &Converging) -> Option<(Vec<String>, Ipv4Addr)> {
        let role = self.role_of(node)?;
        let kubernetes = self.kubernetes.as_ref()?;
        let answers = role.certificates().iter().any(|c| c.subject == platform::Subject::Api);
        answers.then(|| (kubernetes.api_names(), kubernetes.api()))
    }
}
