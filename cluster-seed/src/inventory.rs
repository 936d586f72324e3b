//! `nodes:` of cluster.yaml: the machines of a site. Checked strictly, because a wrong entry would otherwise be found only on a
//! hypervisor, when half of the machines exist.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::ids::{Hostname, Mac};
use crate::substrate::{
    Misplaced, SubstrateSpec, VMIDS, at, check_bridge, check_storage, listed, shown, unplaced, whole, within,
};

/// Most entries of `spec.nodes`.
pub const MAX_NODES: usize = 4_096;
/// Most disks of a node.
pub const MAX_DISKS: usize = 16;
/// Most NICs of a node.
pub const MAX_NICS: usize = 8;
const CPUS: RangeInclusive<u32> = 1..=1_024;
/// MiB; the upper end is 16 TiB.
const MEMORY: RangeInclusive<u32> = 512..=16_777_216;
/// GiB; the upper end is 64 TiB.
const DISK: RangeInclusive<u32> = 1..=65_536;
/// IEEE 802.1Q.
const VLANS: RangeInclusive<u16> = 1..=4_094;

/// One machine of the site.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeSpec {
    /// Host name label.
    pub name: Spanned<Hostname>,
    /// A name in `roles`.
    pub role: Spanned<String>,
    /// What fails together: a rack, a room. Nodes of one role are spread over them.
    #[serde(default)]
    pub failure_domain: Option<Spanned<Hostname>>,
    /// A name in `substrate.hosts`; without it, the placement chooses.
    #[serde(default)]
    pub host: Option<Spanned<Hostname>>,
    #[serde(default)]
    pub resources: Resources,
    /// The first one is the system disk. If empty: one of [`DiskSpec::default`].
    #[serde(default)]
    pub disks: Vec<DiskSpec>,
    /// If empty: one NIC on the default bridge.
    #[serde(default)]
    pub nics: Vec<NicSpec>,
    /// Number of the virtual machine; without it, derived from `substrate.vmidBase`.
    #[serde(default)]
    pub vmid: Option<Spanned<u32>>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// Virtual CPUs (1 to 1024).
    pub cpus: Spanned<u32>,
    /// MiB (512 to 16777216).
    #[serde(rename = "memoryMiB")]
    pub memory_mib: Spanned<u32>,
}

impl Default for Resources {
    fn default() -> Self {
        Resources { cpus: unplaced(2), memory_mib: unplaced(4_096) }
    }
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskSpec {
    /// GiB (1 to 65536).
    #[serde(rename = "sizeGiB")]
    pub size_gib: Spanned<u32>,
    /// Storage of the host; without it, the host's or the substrate's.
    #[serde(default)]
    pub storage: Option<Spanned<String>>,
}

impl Default for DiskSpec {
    fn default() -> Self {
        DiskSpec { size_gib: unplaced(32), storage: None }
    }
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NicSpec {
    /// Without it, derived from the names of site and node.
    pub mac: Option<Spanned<Mac>>,
    /// Bridge of the host; without it, the host's or the substrate's.
    pub bridge: Option<Spanned<String>>,
    /// VLAN tag (1 to 4094).
    pub vlan: Option<Spanned<u16>>,
    /// The address that the node is planned to have there.
    pub address: Option<Spanned<Ipv4Addr>>,
}

/// What the rest of the file says.
pub(crate) struct Known<'a> {
    pub roles: Vec<&'a str>,
    pub subnet: Ipv4Net,
    pub seed: Ipv4Addr,
}

/// The first problem of both sections.
pub(crate) fn check(nodes: &[NodeSpec], substrate: Option<&SubstrateSpec>, known: &Known<'_>) -> Result<(), Misplaced> {
    if nodes.len() > MAX_NODES {
        return Err(whole(format!("nodes has {} entries, more than {MAX_NODES}", nodes.len()), ""));
    }
    if let Some(substrate) = substrate {
        substrate.check(nodes.len())?;
    }
    let mut seen = Seen::default();
    for node in nodes {
        node.check(known)?;
        seen.check(node, known)?;
        if let Some(substrate) = substrate {
            node.check_on(substrate)?;
        } else if let Some(host) = &node.host {
            return Err(at(host, "there is no spec.substrate with hosts".to_owned(), "add substrate.hosts, or remove host"));
        }
    }
    Ok(())
}

/// Where each unique value was first used.
#[derive(Default)]
struct Seen<'a> {
    names: BTreeMap<&'a Hostname, ()>,
    vmids: BTreeMap<u32, &'a Hostname>,
    macs: BTreeMap<Mac, &'a Hostname>,
    addresses: BTreeMap<Ipv4Addr, &'a Hostname>,
}

impl<'a> Seen<'a> {
    fn check(&mut self, node: &'a NodeSpec, known: &Known<'_>) -> Result<(), Misplaced> {
        let name = &node.name.value;
        if self.names.insert(name, ()).is_some() {
            return Err(at(&node.name, format!("there are two nodes {name}"), "names of nodes are unique"));
        }
        if let Some(vmid) = &node.vmid
            && let Some(other) = self.vmids.insert(vmid.value, name)
        {
            return Err(at(vmid, format!("node {name} uses vmid {} of node {other}", vmid.value), ""));
        }
        for nic in &node.nics {
            if let Some(mac) = &nic.mac
                && let Some(other) = self.macs.insert(mac.value, name)
            {
                return Err(at(mac, format!("node {name} uses the MAC address {} of node {other}", mac.value), ""));
            }
            let Some(address) = &nic.address else { continue };
            if let Some(other) = self.addresses.insert(address.value, name) {
                return Err(at(address, format!("node {name} uses the address {} of node {other}", address.value), ""));
            }
            let (ip, net) = (address.value, known.subnet);
            if ip == known.seed || ip == net.network() || ip == net.broadcast() {
                let message = format!("node {name}: {ip} is the seed's address, or not a host of {net}");
                return Err(at(address, message, "choose another address"));
            }
        }
        Ok(())
    }
}

impl NodeSpec {
    fn check(&self, known: &Known<'_>) -> Result<(), Misplaced> {
        let name = &self.name.value;
        if name.as_str().contains('.') {
            return Err(at(
                &self.name,
                format!("node name {name} has a dot"),
                "write the label; the domain is networking.domain",
            ));
        }
        if name.as_str() == "seed" {
            return Err(at(&self.name, "a node cannot be named seed".to_owned(), "seed is the name of the seed itself"));
        }
        if !known.roles.contains(&self.role.value.as_str()) {
            let hint = format!("roles: {}", listed(&known.roles));
            return Err(at(&self.role, format!("node {name}: there is no role {:?}", shown(&self.role.value)), &hint));
        }
        let Resources { cpus, memory_mib } = &self.resources;
        within(cpus, &CPUS, name, "cpus")?;
        within(memory_mib, &MEMORY, name, "memoryMiB")?;
        if self.disks.len() > MAX_DISKS || self.nics.len() > MAX_NICS {
            let message = format!("node {name} has {} disks and {} NICs", self.disks.len(), self.nics.len());
            return Err(at(&self.name, message, &format!("at most {MAX_DISKS} disks and {MAX_NICS} NICs")));
        }
        for disk in &self.disks {
            within(&disk.size_gib, &DISK, name, "sizeGiB")?;
            disk.storage.as_ref().map_or(Ok(()), check_storage)?;
        }
        for nic in &self.nics {
            if let Some(mac) = nic.mac.as_ref().filter(|m| m.value.0[0] & 1 == 1 || m.value.0 == [0; 6]) {
                let message = format!("node {name}: {} is not the MAC address of a NIC", mac.value);
                return Err(at(mac, message, "the lowest bit of its first byte must be 0"));
            }
            nic.bridge.as_ref().map_or(Ok(()), check_bridge)?;
            nic.vlan.as_ref().map_or(Ok(()), |v| within(v, &VLANS, name, "vlan"))?;
        }
        self.vmid.as_ref().map_or(Ok(()), |v| within(v, &VMIDS, name, "vmid"))
    }

    /// Against the hypervisors.
    fn check_on(&self, substrate: &SubstrateSpec) -> Result<(), Misplaced> {
        let name = &self.name.value;
        let hosts: Vec<&str> = substrate.hosts.iter().map(|h| h.name.value.as_str()).collect();
        if let Some(host) = self.host.as_ref().filter(|h| !hosts.contains(&h.value.as_str())) {
            let message = format!("node {name}: there is no host {}", host.value);
            return Err(at(host, message, &format!("substrate.hosts: {}", listed(&hosts))));
        }
        let domains: Vec<(&str, &Hostname)> =
            substrate.hosts.iter().filter_map(|h| h.failure_domain.as_ref().map(|d| (d.value.as_str(), &h.name.value))).collect();
        let Some(domain) = self.failure_domain.as_ref().filter(|_| !domains.is_empty()) else { return Ok(()) };
        let inside: Vec<&&Hostname> = domains.iter().filter(|(d, _)| *d == domain.value.as_str()).map(|(_, host)| host).collect();
        if inside.is_empty() {
            let message = format!("node {name}: no host is in failure domain {}", domain.value);
            return Err(at(domain, message, "set failureDomain of a host in substrate.hosts"));
        }
        match &self.host {
            Some(host) if !inside.iter().any(|h| ***h == host.value) => {
                let message = format!("node {name}: host {} is not in failure domain {}", host.value, domain.value);
                Err(at(host, message, "remove host or failureDomain of the node"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "inventory_tests.rs"]
mod tests;
