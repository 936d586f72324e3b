//! Carries out a plan: hosts in parallel, a few machines of each at once. What fails for one node stops no other, and a second
//! run continues: it makes a new plan of what is there then. In reading order:

/// What a run did, for people and as JSON.
mod outcome;

/// The steps for one machine.
mod steps;

use std::collections::BTreeMap;

use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::parallel;

pub use outcome::{HostOutcome, NodeOutcome, NodeResult, Outcome};
use steps::{Failure, Machine};

use crate::image::{Image, Images};
use crate::plan::{Action, Entry, Plan, Surplus};
use crate::read::Fleet;
use crate::ssh::{Remote, SshError};

/// Hosts that are worked on at once.
const HOSTS_AT_ONCE: usize = 16;
/// Most machines of a host that are worked on at once: sshd allows ten sessions per connection (sshd_config, MaxSessions).
pub const MAX_PER_HOST: usize = 8;

#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions {
    /// The operator's flag. Nothing is replaced or removed without it and without `spec.substrate.allowDestroy`.
    pub allow_destroy: bool,
    /// Machines of a host that are worked on at once (1 to [`MAX_PER_HOST`]).
    pub per_host: usize,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        ApplyOptions { allow_destroy: false, per_host: 2 }
    }
}

struct Run<'a> {
    plan: &'a Plan,
    images: &'a Images,
    fleet: &'a Fleet<'a>,
    destroy: bool,
    per_host: usize,
    progress: &'a dyn Progress,
}

/// Carries out `plan`. Errors are in the outcome, node by node.
pub fn apply(plan: &Plan, images: &Images, fleet: &Fleet<'_>, options: ApplyOptions, progress: &dyn Progress) -> Outcome {
    let destroy = plan.allow_destroy && options.allow_destroy;
    let per_host = options.per_host.clamp(1, MAX_PER_HOST);
    let run = Run { plan, images, fleet, destroy, per_host, progress };
    let mut hosts: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in &plan.entries {
        hosts.entry(entry.vm.host.as_str()).or_default().push(entry);
    }
    let hosts: Vec<(&str, Vec<&Entry>)> = hosts.into_iter().collect();
    progress.begin("virtual machines", Some(plan.entries.len() as u64));
    let done = parallel::each(HOSTS_AT_ONCE, &hosts, |_, (host, entries)| run.host(host, entries));
    progress.end();
    let mut outcome = Outcome::default();
    for (images, nodes) in done {
        outcome.images.extend(images);
        outcome.nodes.extend(nodes);
    }
    let refused = plan.refused.iter().map(|r| NodeOutcome {
        node: r.node.clone(),
        vmid: None,
        host: None,
        result: NodeResult::Refused { why: r.why.clone(), hint: r.hint.clone() },
    });
    outcome.nodes.extend(refused);
    // In the order of the plan, whatever was ready first.
    let order: BTreeMap<&str, usize> = plan.entries.iter().enumerate().map(|(n, e)| (e.vm.node.as_str(), n)).collect();
    outcome.nodes.sort_by_key(|n| order.get(n.node.as_str()).copied().unwrap_or(usize::MAX));
    outcome.nodes.extend(parallel::each(HOSTS_AT_ONCE, &plan.surplus, |_, surplus| run.surplus(surplus)));
    outcome
}

impl Run<'_> {
    fn host(&self, host: &str, entries: &[&Entry]) -> (Vec<HostOutcome>, Vec<NodeOutcome>) {
        let Some(remote) = self.fleet.remote(host) else {
            let why = || SshError::Connect { host: host.to_owned(), stderr: "there is no connection".to_owned() };
            let failed = entries.iter().map(|e| node_outcome(e, Failure::new("connect", why()).result()));
            return (Vec::new(), failed.collect());
        };
        let (sent, failed) = self.send(remote, entries);
        let nodes = parallel::each(self.per_host, entries, |_, entry| {
            let result = match failed.get(&entry.vm.image).filter(|_| self.needs_image(entry)) {
                Some((error, hint)) => NodeResult::Failed { step: "upload".into(), error: error.clone(), hint: hint.clone() },
                None => self.node(remote, entry),
            };
            if let NodeResult::Failed { step, error, .. } = &result {
                self.progress.say(&format!("{}: {step}: {error}", entry.vm.node));
            }
            self.progress.advance(1);
            node_outcome(entry, result)
        });
        (sent, nodes)
    }

    fn needs_image(&self, entry: &Entry) -> bool {
        match entry.action {
            Action::Create | Action::Rebuild => true,
            Action::Replace => self.destroy,
            Action::Update | Action::Start | Action::Unchanged => false,
        }
    }

    /// Each image once, and what failed by digest.
    fn send(&self, remote: &Remote<'_>, entries: &[&Entry]) -> (Vec<HostOutcome>, BTreeMap<Digest, (String, String)>) {
        let mut needed: BTreeMap<Digest, (&Image, &Entry)> = BTreeMap::new();
        for entry in entries.iter().filter(|e| self.needs_image(e)) {
            if let Some(image) = self.images.get(&entry.vm.role).filter(|i| i.sha256 == entry.vm.image) {
                needed.insert(image.sha256, (image, entry));
            }
        }
        let (mut sent, mut failed) = (Vec::new(), BTreeMap::new());
        for (digest, (image, entry)) in needed {
            let path = camino::Utf8Path::new(&entry.vm.image_path);
            let folder = path.parent().unwrap_or(path);
            self.progress.say(&format!("{}: image {} ({} MiB)", remote.name(), digest.short(), image.size >> 20));
            match remote.upload(image, folder) {
                Ok(result) => {
                    sent.push(HostOutcome { host: remote.name().to_owned(), image: digest, path: path.to_string(), result });
                }
                Err(e) => {
                    failed.insert(digest, (outcome::chain(&e), e.hint().to_owned()));
                }
            }
        }
        (sent, failed)
    }

    fn node(&self, remote: &Remote<'_>, entry: &Entry) -> NodeResult {
        if self.progress.cancelled() {
            return NodeResult::NotStarted;
        }
        let vm = &entry.vm;
        let existing = entry.existing.as_ref();
        // Where the machine is now; another host than the planned one before it is replaced.
        let there = existing.and_then(|e| self.fleet.remote(&e.host)).unwrap_or(remote);
        let machine = Machine {
            remote: there,
            site: &self.plan.site,
            name: &vm.node,
            node: existing.map_or(vm.host.as_str(), |e| e.host.as_str()),
            vmid: existing.map_or(vm.vmid, |e| e.vmid),
        };
        let done = match entry.action {
            Action::Unchanged => return NodeResult::Unchanged,
            Action::Create => steps::make(remote, entry).map(|()| NodeResult::Created),
            Action::Rebuild => {
                let made = machine.destroy(steps::Which::Incomplete).and_then(|()| steps::make(remote, entry));
                made.map(|()| NodeResult::Rebuilt)
            }
            Action::Replace if !self.destroy => {
                let options = entry.differences.iter().map(|d| d.option.as_str()).collect::<Vec<_>>().join(", ");
                return NodeResult::Kept { why: format!("a new machine is needed for: {options}") };
            }
            Action::Replace => {
                let made = machine.destroy(steps::Which::Replaced).and_then(|()| steps::make(remote, entry));
                made.map(|()| NodeResult::Replaced)
            }
            Action::Update => machine.update(entry).map(|()| NodeResult::Updated),
            Action::Start => machine.start().map(|()| NodeResult::Started),
        };
        done.unwrap_or_else(Failure::result)
    }

    fn surplus(&self, surplus: &Surplus) -> NodeOutcome {
        let result = match self.fleet.remote(&surplus.host) {
            _ if !self.destroy => NodeResult::Kept { why: "cluster.yaml does not name it".to_owned() },
            _ if self.progress.cancelled() => NodeResult::NotStarted,
            None => NodeResult::Kept { why: format!("substrate.hosts does not name its host {}", surplus.host) },
            Some(remote) => {
                let Surplus { name, host, vmid, .. } = surplus;
                let machine = Machine { remote, site: &self.plan.site, name, node: host, vmid: *vmid };
                let removed = machine.destroy(steps::Which::Removed).map(|()| NodeResult::Removed);
                removed.unwrap_or_else(Failure::result)
            }
        };
        let (vmid, host) = (Some(surplus.vmid), Some(surplus.host.clone()));
        NodeOutcome { node: surplus.name.clone(), vmid, host, result }
    }
}

fn node_outcome(entry: &Entry, result: NodeResult) -> NodeOutcome {
    let vm = &entry.vm;
    NodeOutcome { node: vm.node.clone(), vmid: Some(vm.vmid), host: Some(vm.host.clone()), result }
}
