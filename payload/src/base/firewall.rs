//! The firewall: base rules from the artifact, loaded before the network is up, and what the identity and the peer list add: sets,
//! and a rule for each allow of a plane that denies the rest.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};

use cluster_seed::identity::IdentityInfo;
use cluster_seed::ids::Digest;
use cluster_seed::peers::PeersFile;
use cluster_seed::planes::{Allow, Party, Ports};
use host::dhcp::is_interface;
use host::files::PRIVATE;

use super::command::Command;
use super::context::{Base, BaseError, Change};
use crate::assets::{BASE_RULES, FIREWALL};

/// The file written from the identity and the peer list.
const ELEMENTS: &str = "/etc/nftables.d/kubedos.nft";
/// Exists if the unit is enabled (its `WantedBy=`).
const ENABLED: &str = "/etc/systemd/system/sysinit.target.wants/nftables.service";

pub(super) fn write_rules(base: &mut Base<'_>) -> Result<Change, BaseError> {
    let text = rules(base.info, base.peers)?;
    let mut changed = false;
    for change in [base.asset(&BASE_RULES)?, base.asset(&FIREWALL)?, base.file(ELEMENTS, text.as_bytes(), PRIVATE)?] {
        changed |= change == Change::Made;
    }
    base.stale.firewall |= changed;
    Ok(Change::made_if(changed))
}

/// Loads the rules unless the kernel has them already.
pub(super) fn load(base: &mut Base<'_>) -> Result<Change, BaseError> {
    if !base.stale.firewall && is_loaded(base)? {
        return Ok(Change::None);
    }
    (base.run)(&Command::LoadFirewall)?;
    base.stale.firewall = false;
    Ok(Change::Made)
}

/// Whether the kernel has the rules.
pub(super) fn is_loaded(base: &Base<'_>) -> Result<bool, BaseError> {
    let query = query(base.info, base.peers)?;
    Ok((base.run)(&Command::QueryFirewall(query)).is_ok())
}

pub(super) fn enable(base: &Base<'_>) -> Result<Change, BaseError> {
    if fs::symlink_metadata(base.path(ENABLED)).is_ok() {
        return Ok(Change::None);
    }
    (base.run)(&Command::EnableFirewall)?;
    Ok(Change::Made)
}

/// The elements of each set: the planes, their ports, this node's addresses on each, the planes that deny, and the digest of these and
/// the rules for them: a plane that is open again has no element that could be missing.
///
/// # Errors
/// If a plane's name is not a valid interface name.
fn sets(info: &IdentityInfo, peers: &PeersFile) -> Result<[(&'static str, BTreeSet<String>); 9], BaseError> {
    if let Some(bad) = info.planes.keys().find(|name| !is_interface(name)) {
        return Err(BaseError::refused("the plane", bad, "it is not a valid interface name"));
    }
    let ports = info.planes.values().map(|p| p.port.to_string()).collect();
    let planes = info.planes.keys().map(|p| format!("\"{p}\"")).collect();
    let places = info.planes.iter().map(|(name, p)| format!("\"{name}\" . {}", p.address)).collect();
    let addresses = info.planes.values().map(|p| p.address.to_string()).collect();
    let places6 = second(info, peers).map(|(name, ip)| format!("\"{name}\" . {ip}")).collect();
    let addresses6 = second(info, peers).map(|(_, ip)| ip.to_string()).collect();
    let hairpins = info.planes.keys().map(|p| format!("\"{p}\" . \"{p}\"")).collect();
    let mut lines: Vec<String> = guarded(info, peers).map(|(plane, _)| plane.to_owned()).collect();
    lines.extend(allows(info, peers));
    let edition = [edition(&lines)].into();
    let guarded = guarded(info, peers).map(|(p, _)| format!("\"{p}\"")).collect();
    Ok([
        ("wireguard", ports),
        ("planes", planes),
        ("places", places),
        ("addresses", addresses),
        ("places6", places6),
        ("addresses6", addresses6),
        ("hairpins", hairpins),
        ("guarded", guarded),
        ("edition", edition),
    ])
}

/// This node's IPv6 addresses, on the planes that have them.
fn second<'a>(info: &'a IdentityInfo, peers: &'a PeersFile) -> impl Iterator<Item = (&'a str, Ipv6Addr)> {
    info.planes.iter().filter_map(move |(name, place)| Some((name.as_str(), peers.planes.get(name)?.address6(place.address)?)))
}

/// The planes of this node that deny, and what they carry.
fn guarded<'a>(info: &'a IdentityInfo, peers: &'a PeersFile) -> impl Iterator<Item = (&'a str, &'a [Allow])> {
    let here = peers.policy.iter().filter(move |(plane, _)| info.planes.contains_key(*plane));
    here.map(|(plane, list)| (plane.as_str(), list.as_slice()))
}

/// The digest of lines in the form of an IPv6 address, because nft has no type for one.
fn edition(lines: &[String]) -> String {
    let Digest(bytes) = Digest::of(lines.join("\n").as_bytes());
    Ipv6Addr::from(*bytes.first_chunk::<16>().unwrap_or(&[0; 16])).to_string()
}

/// One rule for each allow that concerns this node, each of its ports, and each family that the senders have.
fn allows(info: &IdentityInfo, peers: &PeersFile) -> Vec<String> {
    let mut rules = Vec::new();
    for (plane, list) in guarded(info, peers) {
        for allow in list.iter().filter(|allow| allow.to.includes(&info.role)) {
            for from in senders(plane, &allow.from, info, peers) {
                rules.extend(allow.ports.iter().map(|ports| rule(plane, &from, *ports)));
            }
        }
    }
    let mut seen = BTreeSet::new();
    rules.retain(|rule| seen.insert(rule.clone()));
    rules
}

/// The matches of the source, one for each family; none if nobody in the list is meant. `any` is one without a condition: WireGuard lets
/// only members and their pods in.
fn senders(plane: &str, from: &Party, info: &IdentityInfo, peers: &PeersFile) -> Vec<String> {
    if *from == Party::Any {
        return vec![String::new()];
    }
    let others = peers.nodes.iter().filter(|(name, node)| **name != info.hostname && from.includes(&node.role));
    let addresses: BTreeSet<Ipv4Addr> = others.filter_map(|(_, node)| node.addresses.get(plane).copied()).collect();
    let network = peers.planes.get(plane);
    let second: BTreeSet<Ipv6Addr> = addresses.iter().filter_map(|ip| network?.address6(*ip)).collect();
    let first = (!addresses.is_empty()).then(|| format!(" ip saddr {{ {} }}", list(addresses)));
    let second = (!second.is_empty()).then(|| format!(" ip6 saddr {{ {} }}", list(second)));
    first.into_iter().chain(second).collect()
}

fn list(words: BTreeSet<impl ToString>) -> String {
    words.into_iter().map(|word| word.to_string()).collect::<Vec<_>>().join(", ")
}

fn rule(plane: &str, from: &str, ports: Ports) -> String {
    let what = match ports {
        Ports::Any => String::new(),
        Ports::Vrrp => " meta l4proto 112".to_owned(),
        Ports::Range { transport, first, last } if first == last => format!(" {} dport {first}", transport.as_str()),
        Ports::Range { transport, first, last } => format!(" {} dport {first}-{last}", transport.as_str()),
    };
    format!("add rule inet kubedos allows iifname \"{plane}\"{from}{what} accept")
}

fn statements(info: &IdentityInfo, peers: &PeersFile, verb: &str) -> Result<Vec<String>, BaseError> {
    // nft has no empty set.
    let sets = sets(info, peers)?.into_iter().filter(|(_, words)| !words.is_empty());
    Ok(sets.map(|(set, words)| format!("{verb} element inet kubedos {set} {{ {} }}", list(words))).collect())
}

/// The file loaded after the base rules. The same identity and list give the same text.
///
/// # Errors
/// If a plane's name is not a valid interface name.
pub fn rules(info: &IdentityInfo, peers: &PeersFile) -> Result<String, BaseError> {
    let mut lines = statements(info, peers, "add")?;
    lines.extend(allows(info, peers));
    Ok(format!("# Written by kubedos-node from this node's identity and the signed peer list.\n{}\n", lines.join("\n")))
}

/// An nft(8) script that succeeds only if the kernel has all of these elements, and with them the rules.
fn query(info: &IdentityInfo, peers: &PeersFile) -> Result<String, BaseError> {
    Ok(statements(info, peers, "get")?.join("; "))
}
