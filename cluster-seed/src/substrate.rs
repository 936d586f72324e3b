//! `substrate:` of cluster.yaml: what the nodes run on; and what is common to the checks of both.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::ids::Hostname;

/// Most entries of `spec.substrate.hosts`.
pub const MAX_HOSTS: usize = 256;
/// Most tags of `spec.substrate.tags`.
pub const MAX_TAGS: usize = 16;
/// VMIDs that Proxmox VE accepts (pve-docs, `qm`, "VMID").
pub(crate) const VMIDS: RangeInclusive<u32> = 100..=999_999_999;
/// Bytes of an interface name (Linux: IFNAMSIZ without its zero).
const MAX_BRIDGE: usize = 15;
/// Bytes of a storage's name and of a tag; ours.
const MAX_WORD: usize = 64;
/// Tags that Kubedos sets itself.
const RESERVED_TAGS: [&str; 4] = ["kubedos", "site-", "image-", "node-"];

/// What the nodes run on.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubstrateSpec {
    #[serde(rename = "type")]
    pub kind: SubstrateKind,
    /// Hypervisors.
    #[serde(default)]
    pub hosts: Vec<HostSpec>,
    /// Default storage of disks.
    #[serde(default)]
    pub storage: Option<Spanned<String>>,
    /// Default bridge of NICs.
    #[serde(default)]
    pub bridge: Option<Spanned<String>>,
    /// VMID of the first node without one of its own; the others follow in the order of the file.
    #[serde(default = "default_vmid_base")]
    pub vmid_base: Spanned<u32>,
    /// Whether virtual machines of this site may be removed or replaced, if the operator asks for it.
    #[serde(default)]
    pub allow_destroy: bool,
    /// More tags for each virtual machine.
    #[serde(default)]
    pub tags: Vec<Spanned<String>>,
}

fn default_vmid_base() -> Spanned<u32> {
    unplaced(9_000)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SubstrateKind {
    Proxmox,
    Libvirt,
    Baremetal,
    Aws,
}

/// A hypervisor.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSpec {
    /// Its own host name, without domain.
    pub name: Spanned<Hostname>,
    /// Address or name for SSH; without it, `name`.
    #[serde(default)]
    pub address: Option<Spanned<String>>,
    #[serde(default = "default_user")]
    pub user: Spanned<String>,
    #[serde(default = "default_port")]
    pub port: Spanned<u16>,
    #[serde(default)]
    pub storage: Option<Spanned<String>>,
    #[serde(default)]
    pub bridge: Option<Spanned<String>>,
    #[serde(default)]
    pub failure_domain: Option<Spanned<Hostname>>,
}

fn default_user() -> Spanned<String> {
    unplaced("root".to_owned())
}

fn default_port() -> Spanned<u16> {
    unplaced(22)
}

/// A default, which has no place in the file.
pub(crate) fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(value, serde_saphyr::Location::UNKNOWN, serde_saphyr::Location::UNKNOWN)
}

/// A problem and its position (1-based; 0 if it concerns the file in general).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    pub line: u64,
    pub column: u64,
    pub message: String,
    pub hint: String,
}

pub(crate) fn at<T>(spanned: &Spanned<T>, message: String, hint: &str) -> Misplaced {
    Misplaced { line: spanned.referenced.line(), column: spanned.referenced.column(), message, hint: hint.to_owned() }
}

pub(crate) fn whole(message: String, hint: &str) -> Misplaced {
    Misplaced { line: 0, column: 0, message, hint: hint.to_owned() }
}

impl SubstrateSpec {
    pub(crate) fn check(&self, nodes: usize) -> Result<(), Misplaced> {
        if self.hosts.len() > MAX_HOSTS || self.tags.len() > MAX_TAGS {
            let message = format!("substrate has {} hosts and {} tags", self.hosts.len(), self.tags.len());
            return Err(whole(message, &format!("at most {MAX_HOSTS} hosts and {MAX_TAGS} tags")));
        }
        if self.kind == SubstrateKind::Proxmox && self.hosts.is_empty() {
            return Err(whole("substrate.hosts is empty".to_owned(), "name at least one Proxmox VE host"));
        }
        let last = u64::from(self.vmid_base.value) + nodes.saturating_sub(1) as u64;
        if !VMIDS.contains(&self.vmid_base.value) || last > u64::from(*VMIDS.end()) {
            let message = format!("vmidBase is {}", self.vmid_base.value);
            return Err(at(&self.vmid_base, message, "100 to 999999999, with room for all nodes"));
        }
        for tag in &self.tags {
            check_tag(tag)?;
        }
        self.storage.as_ref().map_or(Ok(()), check_storage)?;
        self.bridge.as_ref().map_or(Ok(()), check_bridge)?;
        for (n, host) in self.hosts.iter().enumerate() {
            if self.hosts[..n].iter().any(|h| h.name.value == host.name.value) {
                return Err(at(&host.name, format!("there are two hosts {}", host.name.value), "names of hosts are unique"));
            }
            self.check_host(host)?;
        }
        Ok(())
    }

    fn check_host(&self, host: &HostSpec) -> Result<(), Misplaced> {
        let name = &host.name.value;
        if name.as_str().contains('.') {
            return Err(at(&host.name, format!("host name {name} has a dot"), "write the name that `hostname` prints there"));
        }
        // Each becomes a word of ssh's command line: none may begin with a dash.
        let word = |s: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
            (1..=253).contains(&s.len()) && s.bytes().all(plain) && !s.starts_with('-')
        };
        if let Some(bad) = host.address.as_ref().filter(|a| !word(&a.value)) {
            let message = format!("host {name}: {:?} is not an address", shown(&bad.value));
            return Err(at(bad, message, "a host name, an IPv4 or an IPv6 address"));
        }
        if !word(&host.user.value) || host.user.value.len() > 32 || host.user.value.contains(':') {
            return Err(at(&host.user, format!("host {name}: {:?} is not a user name", shown(&host.user.value)), ""));
        }
        if host.port.value == 0 {
            return Err(at(&host.port, format!("host {name}: port 0"), "SSH uses 22"));
        }
        host.storage.as_ref().map_or(Ok(()), check_storage)?;
        host.bridge.as_ref().map_or(Ok(()), check_bridge)
    }
}

pub(crate) fn within<T: Copy + PartialOrd + std::fmt::Display>(
    found: &Spanned<T>,
    limits: &RangeInclusive<T>,
    node: &Hostname,
    key: &str,
) -> Result<(), Misplaced> {
    if limits.contains(&found.value) {
        return Ok(());
    }
    Err(at(found, format!("node {node}: {key} is {}", found.value), &format!("{} to {}", limits.start(), limits.end())))
}

/// A storage ID of Proxmox VE begins with a letter (PVE::JSONSchema, `pve-storage-id`); libvirt's pools and others fit too.
pub(crate) fn check_storage(storage: &Spanned<String>) -> Result<(), Misplaced> {
    let s = &storage.value;
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let good = (2..=MAX_WORD).contains(&s.len()) && s.starts_with(|c: char| c.is_ascii_alphabetic()) && s.bytes().all(inner);
    if good && s.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(at(storage, format!("{:?} is not the name of a storage", shown(s)), "for example local-zfs"))
}

pub(crate) fn check_bridge(bridge: &Spanned<String>) -> Result<(), Misplaced> {
    let b = &bridge.value;
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    if (1..=MAX_BRIDGE).contains(&b.len()) && b.bytes().all(inner) && b.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(at(bridge, format!("{:?} is not the name of a bridge", shown(b)), "for example vmbr0"))
}

/// Tags of Proxmox VE (PVE::JSONSchema, `pve-tag`), in lower case.
fn check_tag(tag: &Spanned<String>) -> Result<(), Misplaced> {
    let t = &tag.value;
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'+' | b'.');
    if t.is_empty() || t.len() > MAX_WORD || !t.bytes().all(inner) || t.starts_with(['-', '+', '.']) {
        return Err(at(tag, format!("{:?} is not a tag", shown(t)), "a-z, 0-9, and after the first character - _ + ."));
    }
    if RESERVED_TAGS.iter().any(|r| t.starts_with(r)) {
        let hint = "Kubedos itself sets tags that begin with kubedos, site-, image- and node-";
        return Err(at(tag, format!("the tag {t} is reserved"), hint));
    }
    Ok(())
}

pub(crate) fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A list for a hint, cut.
pub(crate) fn listed(names: &[&str]) -> String {
    let more = if names.len() > 12 { ", …" } else { "" };
    format!("{}{more}", names.iter().take(12).copied().collect::<Vec<_>>().join(", "))
}
