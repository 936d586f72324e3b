//! The plan: for each node whether its virtual machine is made, changed, replaced or left alone. A pure function of
//! cluster.yaml, images and what is present, so that a dry run and a run cannot differ.

mod types;

mod capacity;
mod numbers;
mod text;

use std::collections::BTreeMap;

use cluster_seed::cluster::ClusterSpec;
use cluster_seed::inventory::NodeSpec;
use cluster_seed::substrate::{HostSpec, SubstrateKind, SubstrateSpec};

pub use types::{Action, Entry, Existing, HostUse, Plan, Refused, Surplus};

use crate::image::Images;
use crate::options::{Difference, How, differences};
use crate::place::place;
use crate::present::{Present, PresentVm};
use crate::selection::Selection;
use crate::vm::{INCOMPLETE, Missing, Place, Vm};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("spec.substrate in cluster.yaml is not of type proxmox")]
    NotProxmox,
}

impl PlanError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        "add substrate: {type: proxmox, …}; examples/cluster-16.yaml is an example"
    }
}

/// Everything that a plan depends on.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub spec: &'a ClusterSpec,
    pub images: &'a Images,
    pub selection: &'a Selection,
    pub present: &'a Present,
}

/// Virtual machines of this site by name.
type Ours<'a> = BTreeMap<&'a str, Vec<&'a PresentVm>>;

/// Makes the plan.
pub fn plan(request: Request<'_>) -> Result<Plan, PlanError> {
    let Request { spec, selection, present, .. } = request;
    let substrate = spec.spec.substrate.as_ref().filter(|s| s.kind == SubstrateKind::Proxmox).ok_or(PlanError::NotProxmox)?;
    let site = spec.metadata.name.as_str();
    let (nodes, hosts) = (&spec.spec.nodes, &substrate.hosts);
    let mut ours = Ours::new();
    for vm in present.vms.iter().filter(|vm| vm.is_of(site)) {
        ours.entry(vm.name.as_str()).or_default().push(vm);
    }
    let existing = |node: &NodeSpec| ours.get(node.name.value.as_str()).and_then(|all| all.first()).copied();
    let stays = |node: &NodeSpec| {
        let at = existing(node).and_then(|vm| hosts.iter().position(|h| h.name.value.as_str() == vm.node))?;
        may_stay(node, &hosts[at]).then(|| (node.name.value.to_string(), at))
    };
    let placed = place(nodes, hosts, &nodes.iter().filter_map(stays).collect());
    let vmids = numbers::assign(nodes, substrate.vmid_base.value, &ours);
    let (mut entries, mut refused) = (Vec::new(), Vec::new());
    for ((node, at), vmid) in nodes.iter().zip(placed).zip(vmids) {
        if !selection.has(node.name.value.as_str(), &node.role.value) {
            continue;
        }
        let Some(host) = at.and_then(|at| hosts.get(at)) else {
            refused.push(Refused::new(node, "no host can take it", "check failureDomain and substrate.hosts"));
            continue;
        };
        match entry(request, substrate, node, host, vmid, &ours) {
            Ok(entry) => entries.push(entry),
            Err(why) => refused.push(why),
        }
    }
    let named = |vm: &&PresentVm| nodes.iter().any(|n| n.name.value.as_str() == vm.name);
    let surplus = ours.values().flatten().filter(|vm| selection.is_all() && !named(vm)).map(|vm| Surplus {
        vmid: vm.vmid,
        name: vm.name.clone(),
        host: vm.node.clone(),
        running: vm.running,
    });
    let mut surplus: Vec<Surplus> = surplus.collect();
    surplus.sort_by_key(|s| s.vmid);
    let uses = capacity::uses(hosts, &entries);
    let warnings = capacity::warnings(&uses, &entries, present);
    Ok(Plan { site: site.to_owned(), allow_destroy: substrate.allow_destroy, entries, refused, surplus, hosts: uses, warnings })
}

/// Whether an existing machine is where cluster.yaml wants it.
fn may_stay(node: &NodeSpec, host: &HostSpec) -> bool {
    let right_host = node.host.as_ref().is_none_or(|h| h.value == host.name.value);
    let domains = node.failure_domain.as_ref().zip(host.failure_domain.as_ref());
    right_host && domains.is_none_or(|(want, is)| want.value == is.value)
}

fn entry(
    request: Request<'_>,
    substrate: &SubstrateSpec,
    node: &NodeSpec,
    host: &HostSpec,
    vmid: u32,
    ours: &Ours<'_>,
) -> Result<Entry, Refused> {
    let Request { spec, images, present, .. } = request;
    let refuse = |why: String, hint: &str| Err(Refused::new(node, why, hint));
    let Some(image) = images.get(&node.role.value) else {
        let hint = format!("build it: seedd image build --target qcow2 --role {}", node.role.value);
        return refuse(format!("there is no image for the role {}", node.role.value), &hint);
    };
    let state = present.host(host.name.value.as_str());
    let folder = state.map_or(crate::present::DEFAULT_IMAGES.into(), |s| s.images.clone());
    let place = Place { site: spec.metadata.name.as_str(), substrate, host, vmid, images: &folder };
    let vm = match Vm::new(node, image, &place) {
        Ok(vm) => vm,
        Err(Missing::Storage) => return refuse("a disk has no storage".to_owned(), "set substrate.storage"),
        Err(Missing::Bridge) => return refuse("a NIC has no bridge".to_owned(), "set substrate.bridge"),
    };
    if u64::from(vm.disks.first().map_or(0, |d| d.size_gib)) < image.virtual_gib() {
        let why = format!("its system disk is smaller than the image ({} GiB)", image.virtual_gib());
        return refuse(why, "set disks: [{sizeGiB: …}]");
    }
    capacity::fits(&vm, state).map_err(|(why, hint)| Refused::new(node, why, hint))?;
    let same_name = ours.get(vm.node.as_str()).map_or(&[][..], Vec::as_slice);
    let existing = match same_name {
        [] => None,
        [one] => Some(*one),
        many => {
            let all: Vec<String> = many.iter().map(|vm| format!("{} on {}", vm.vmid, vm.node)).collect();
            return refuse(format!("several machines of this site have its name: {}", all.join(", ")), "remove all but one");
        }
    };
    taken(&vm, node, existing, present)?;
    let Some(existing) = existing else {
        return Ok(Entry {
            action: Action::Create,
            vm,
            differences: Vec::new(),
            existing: None,
            image_bytes: image.virtual_size,
        });
    };
    let (action, differences) = decide(&vm, existing, substrate);
    let touched = action != Action::Unchanged;
    if let Some(lock) = existing.lock.as_ref().filter(|_| touched) {
        let hint = format!("wait for the task; after a crash of the host: qm unlock {}", existing.vmid);
        return refuse(format!("machine {} is locked ({lock})", existing.vmid), &hint);
    }
    if touched && !substrate.hosts.iter().any(|h| h.name.value.as_str() == existing.node) {
        let why = format!("machine {} is on {}, which substrate.hosts does not name", existing.vmid, existing.node);
        return refuse(why, "add the host, or migrate the machine");
    }
    let there = Existing { vmid: existing.vmid, host: existing.node.clone(), running: existing.running };
    Ok(Entry { action, vm, differences, existing: Some(there), image_bytes: image.virtual_size })
}

/// Number or name belong to a machine that is not this node's.
fn taken(vm: &Vm, node: &NodeSpec, existing: Option<&PresentVm>, present: &Present) -> Result<(), Refused> {
    let foreign = |other: &&PresentVm| existing.is_none_or(|mine| (mine.vmid, &mine.node) != (other.vmid, &other.node));
    let by_number = present.vms.iter().filter(foreign).find(|other| other.vmid == vm.vmid);
    if let Some(other) = by_number {
        if other.name.is_empty() && other.lock.as_deref() == Some("create") {
            let why = format!("machine {} is being created, or its creation was interrupted", vm.vmid);
            let hint = format!("if no task is running on {}: qm unlock {1}; qm destroy {1}", other.node, vm.vmid);
            return Err(Refused::new(node, why, hint));
        }
        let what = if other.container { "container" } else { "machine" };
        let why = format!("number {} is taken by the {what} {:?} on {}", vm.vmid, other.name, other.node);
        return Err(Refused::new(node, why, "set vmid of the node, or vmidBase"));
    }
    if let Some(other) = present.vms.iter().filter(foreign).find(|other| other.name == vm.node) {
        let why = format!("its name is taken by machine {} on {}, which is not of this site", other.vmid, other.node);
        return Err(Refused::new(node, why, "rename one of them"));
    }
    Ok(())
}

fn decide(vm: &Vm, existing: &PresentVm, substrate: &SubstrateSpec) -> (Action, Vec<Difference>) {
    if existing.tags.contains(INCOMPLETE) {
        return (Action::Rebuild, Vec::new());
    }
    let mut found = Vec::new();
    let named = substrate.hosts.iter().any(|h| h.name.value.as_str() == existing.node);
    let moved = [("vmid", existing.vmid.to_string(), vm.vmid.to_string()), ("host", existing.node.clone(), vm.host.clone())];
    for (option, from, to) in moved {
        // A host that cluster.yaml does not name is another problem, which is reported if something has to be done.
        if from != to && (option == "vmid" || named) {
            found.push(Difference { option: option.to_owned(), from, to, how: How::Replace });
        }
    }
    found.extend(differences(vm, existing));
    let action = match found.iter().map(|d| d.how).max() {
        Some(How::Replace) => Action::Replace,
        Some(_) => Action::Update,
        None if !existing.running => Action::Start,
        None => Action::Unchanged,
    };
    (action, found)
}

#[cfg(test)]
mod tests;
