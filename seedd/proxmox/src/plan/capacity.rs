//! Whether hosts can take the planned machines.

use std::collections::BTreeMap;

use cluster_seed::substrate::HostSpec;

use super::types::{Action, Entry, HostUse};
use crate::present::{HostState, LEAST_VERSION, Present};
use crate::vm::Vm;

/// What makes a machine impossible on its host, and what to do about it.
pub(super) fn fits(vm: &Vm, state: Option<&HostState>) -> Result<(), (String, String)> {
    let Some(facts) = state.and_then(|s| s.facts.as_ref()) else { return Ok(()) };
    let host = &vm.host;
    if facts.version < LEAST_VERSION {
        let (v, least) = (facts.version, LEAST_VERSION);
        let why = format!("host {host} has Proxmox VE {}.{}", v.major, v.minor);
        return Err((why, format!("upgrade it to {}.{} or later", least.major, least.minor)));
    }
    if u64::from(vm.cpus) > facts.cpus {
        let why = format!("it has {} CPUs, and host {host} has {}", vm.cpus, facts.cpus);
        return Err((why, "set resources.cpus".to_owned()));
    }
    for disk in &vm.disks {
        let name = &disk.storage;
        let Some(storage) = facts.storages.iter().find(|s| s.name == *name) else {
            let all: Vec<&str> = facts.storages.iter().map(|s| s.name.as_str()).collect();
            return Err((format!("host {host} has no storage {name}"), format!("it has {}", all.join(", "))));
        };
        if !storage.active {
            return Err((format!("storage {name} of host {host} is not active"), "check it with: pvesm status".to_owned()));
        }
        if !storage.content.contains("images") {
            let hint = "allow the content \"Disk image\" for it, or choose another storage";
            return Err((format!("storage {name} of host {host} takes no disks"), hint.to_owned()));
        }
    }
    Ok(())
}

fn is_new(entry: &Entry) -> bool {
    matches!(entry.action, Action::Create | Action::Rebuild | Action::Replace)
}

pub(super) fn uses(hosts: &[HostSpec], entries: &[Entry]) -> Vec<HostUse> {
    let of = |host: &HostSpec| {
        let here: Vec<&Entry> = entries.iter().filter(|e| e.vm.host == host.name.value.as_str()).collect();
        let mut new_disks = BTreeMap::new();
        for disk in here.iter().filter(|e| is_new(e)).flat_map(|e| &e.vm.disks) {
            *new_disks.entry(disk.storage.clone()).or_default() += u64::from(disk.size_gib);
        }
        HostUse {
            name: host.name.value.to_string(),
            failure_domain: host.failure_domain.as_ref().map(|d| d.value.to_string()),
            vms: here.len(),
            cpus: here.iter().map(|e| u64::from(e.vm.cpus)).sum(),
            memory_mib: here.iter().map(|e| u64::from(e.vm.memory_mib)).sum(),
            new_disks,
        }
    };
    hosts.iter().map(of).collect()
}

/// What may go wrong, but need not: storages may be thin, and bridges may be defined elsewhere (SDN).
pub(super) fn warnings(uses: &[HostUse], entries: &[Entry], present: &Present) -> Vec<String> {
    let mut found = Vec::new();
    for (host, facts) in uses.iter().filter_map(|u| Some((u, present.host(&u.name)?.facts.as_ref()?))) {
        let memory = facts.memory >> 20;
        if host.memory_mib > memory {
            found.push(format!("host {}: its nodes need {} MiB of memory, and it has {memory}", host.name, host.memory_mib));
        }
        for (storage, gib) in &host.new_disks {
            let free = facts.storages.iter().find(|s| s.name == *storage).map_or(0, |s| s.available >> 30);
            if *gib > free {
                found.push(format!("host {}: storage {storage} has {free} GiB free, and {gib} GiB will be allocated", host.name));
            }
        }
        let nics = entries.iter().filter(|e| e.vm.host == host.name).flat_map(|e| &e.vm.nics);
        let mut missing: Vec<&str> = nics.map(|n| n.bridge.as_str()).filter(|b| !facts.bridges.contains(*b)).collect();
        missing.sort_unstable();
        missing.dedup();
        found.extend(missing.iter().map(|b| format!("host {}: there is no bridge {b}, unless it is a VNet (SDN)", host.name)));
    }
    let mut domains: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut roles: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in entries {
        let domain = entry.vm.failure_domain.as_deref().unwrap_or(&entry.vm.host);
        *domains.entry((&entry.vm.role, domain)).or_default() += 1;
        *roles.entry(&entry.vm.role).or_default() += 1;
    }
    let alone = domains.iter().filter(|((role, _), n)| roles.get(role) == Some(n) && **n > 1);
    found.extend(alone.map(|((role, domain), n)| format!("all {n} nodes of the role {role} are in {domain}")));
    found
}
