//! The firewall: base rules from the artifact, loaded before the network is up, and sets filled from the identity.

use std::collections::BTreeSet;
use std::fs;

use cluster_seed::identity::IdentityInfo;
use host::dhcp::is_interface;
use host::files::PRIVATE;

use super::command::Command;
use super::context::{Base, BaseError, Change};
use crate::assets::{BASE_RULES, FIREWALL};

/// The file written from the identity.
const ELEMENTS: &str = "/etc/nftables.d/kubedos.nft";
/// Exists if the unit is enabled (its `WantedBy=`).
const ENABLED: &str = "/etc/systemd/system/sysinit.target.wants/nftables.service";

pub(super) fn write_rules(base: &mut Base<'_>) -> Result<Change, BaseError> {
    let text = elements(base.info)?;
    let mut changed = false;
    for change in [base.asset(&BASE_RULES)?, base.asset(&FIREWALL)?, base.file(ELEMENTS, text.as_bytes(), PRIVATE)?] {
        changed |= change == Change::Made;
    }
    base.stale.firewall |= changed;
    Ok(Change::made_if(changed))
}

/// Loads the rules unless the kernel has them already.
pub(super) fn load(base: &mut Base<'_>) -> Result<Change, BaseError> {
    let query = query(base.info)?;
    if !base.stale.firewall && (base.run)(&Command::QueryFirewall(query)).is_ok() {
        return Ok(Change::None);
    }
    (base.run)(&Command::LoadFirewall)?;
    base.stale.firewall = false;
    Ok(Change::Made)
}

pub(super) fn enable(base: &Base<'_>) -> Result<Change, BaseError> {
    if fs::symlink_metadata(base.path(ENABLED)).is_ok() {
        return Ok(Change::None);
    }
    (base.run)(&Command::EnableFirewall)?;
    Ok(Change::Made)
}

/// Names of the planes, quoted, their ports, and this node's address on each.
///
/// # Errors
/// If a plane's name is not a valid interface name.
fn sets(info: &IdentityInfo) -> Result<[(&'static str, BTreeSet<String>); 4], BaseError> {
    if let Some(bad) = info.planes.keys().find(|name| !is_interface(name)) {
        return Err(BaseError::refused("the plane", bad, "it is not a valid interface name"));
    }
    let ports = info.planes.values().map(|p| p.port.to_string()).collect();
    let planes = info.planes.keys().map(|p| format!("\"{p}\"")).collect();
    let places = info.planes.iter().map(|(name, p)| format!("\"{name}\" . {}", p.address)).collect();
    let addresses = info.planes.values().map(|p| p.address.to_string()).collect();
    Ok([("wireguard", ports), ("planes", planes), ("places", places), ("addresses", addresses)])
}

fn statements(info: &IdentityInfo, verb: &str) -> Result<Vec<String>, BaseError> {
    let list = |words: BTreeSet<String>| words.into_iter().collect::<Vec<_>>().join(", ");
    // nft has no empty set.
    let sets = sets(info)?.into_iter().filter(|(_, words)| !words.is_empty());
    Ok(sets.map(|(set, words)| format!("{verb} element inet kubedos {set} {{ {} }}", list(words))).collect())
}

/// The file loaded after the base rules: the planes, their UDP ports, and this node's addresses on them.
///
/// # Errors
/// If a plane's name is not a valid interface name.
pub fn elements(info: &IdentityInfo) -> Result<String, BaseError> {
    let lines = statements(info, "add")?.join("\n");
    Ok(format!("# Written by kubedos-node from this node's identity.\n{lines}\n"))
}

/// An nft(8) script that succeeds only if the kernel has all of these elements.
fn query(info: &IdentityInfo) -> Result<String, BaseError> {
    let query = statements(info, "get")?.join("; ");
    Ok(if query.is_empty() { "list table inet kubedos".to_owned() } else { query })
}
