//! What a plan consists of.

use std::collections::BTreeMap;

use cluster_seed::inventory::NodeSpec;
use serde::Serialize;

use crate::options::Difference;
use crate::vm::Vm;

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub site: String,
    /// `spec.substrate.allowDestroy`.
    pub allow_destroy: bool,
    /// In the order of cluster.yaml.
    pub entries: Vec<Entry>,
    /// Nodes that nothing is done for until somebody changes something.
    pub refused: Vec<Refused>,
    /// Virtual machines of this site that cluster.yaml does not name. Only in a plan for all nodes.
    pub surplus: Vec<Surplus>,
    pub hosts: Vec<HostUse>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub action: Action,
    #[serde(flatten)]
    pub vm: Vm,
    pub differences: Vec<Difference>,
    /// The machine that is there now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub existing: Option<Existing>,
    /// Bytes of the disk in the image: what `scsi0` has before it is grown.
    pub image_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Existing {
    pub vmid: u32,
    pub host: String,
    pub running: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Create,
    /// An interrupted run left it unfinished: it is removed and made.
    Rebuild,
    /// Some options are set; disks may grow.
    Update,
    /// It differs in what cannot be changed: a new one takes its place, if that is allowed.
    Replace,
    /// As it should be, but it does not run.
    Start,
    Unchanged,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    pub node: String,
    pub why: String,
    pub hint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Surplus {
    pub vmid: u32,
    pub name: String,
    pub host: String,
    pub running: bool,
}

/// What the planned machines of a host need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostUse {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_domain: Option<String>,
    pub vms: usize,
    pub cpus: u64,
    #[serde(rename = "memoryMiB")]
    pub memory_mib: u64,
    /// GiB to be allocated, by storage.
    pub new_disks: BTreeMap<String, u64>,
}

impl Refused {
    pub(super) fn new(node: &NodeSpec, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Refused { node: node.name.value.to_string(), why: why.into(), hint: hint.into() }
    }
}

impl Plan {
    /// Whether a run would change nothing.
    pub fn is_done(&self) -> bool {
        self.refused.is_empty() && self.entries.iter().all(|e| e.action == Action::Unchanged)
    }

    pub fn count(&self, action: Action) -> usize {
        self.entries.iter().filter(|e| e.action == action).count()
    }
}
