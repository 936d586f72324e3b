//! The variables of the plays: those of the role, and `kubedos` with what the node knows of itself, the seed and the others.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt as _;

use cluster_seed::cluster::CONTROL_PLANE;
use cluster_seed::converge::orders::{Member, Run, RunMode};
use cluster_seed::identity::{IdentityInfo, PlaneAddress};
use cluster_seed::ids::Hostname;
use cluster_seed::peers::{PeerNode, PeerPlane, PeersFile};
use host::files::{FileError, PRIVATE, create_dirs, failed, read_limited, write_atomic};
use serde_json::{Map, Value, json};

use super::places::Places;

/// Planes of metrics and of services between nodes, if the site has them; else the control plane.
const METRICS_PLANE: &str = "wg2";
const BACKEND_PLANE: &str = "wg3";
/// Largest variables compared with the stored ones, in bytes.
const MAX_VARS: u64 = 64 << 20;

/// What the variables are made from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub info: &'a IdentityInfo,
    pub peers: &'a PeersFile,
    pub run: &'a Run,
    /// Unix seconds at which the certificates were issued; 0 without certificates.
    pub certificates: u64,
}

/// The variables, as JSON.
pub fn variables(places: Places<'_>, facts: &Facts<'_>) -> Value {
    let Facts { info, peers, run, certificates } = *facts;
    let plane_or_control = |name: &str| if info.planes.contains_key(name) { name.to_owned() } else { CONTROL_PLANE.to_owned() };
    let name = &info.hostname;
    let planes: Map<String, Value> = info.planes.iter().map(|(plane, p)| (plane.clone(), of_plane(plane, p, peers))).collect();
    let addresses: BTreeMap<&String, Ipv4Addr> = info.planes.iter().map(|(plane, p)| (plane, p.address)).collect();
    let seed = peers.nodes.get(&info.seed_hostname);
    let groups: Map<String, Value> =
        run.groups.iter().map(|(group, members)| (group.clone(), members.iter().map(of_group).collect())).collect();
    let members: Vec<Value> = peers
        .nodes
        .iter()
        .filter(|(name, _)| **name != info.seed_hostname)
        .map(|(name, node)| of_list(name, node, peers))
        .collect();
    let own = json!({
        "name": name,
        "label": name.label(),
        "domain": name.as_str().split_once('.').map_or("", |(_, domain)| domain),
        "site": info.site,
        "role": run.role,
        "plays": run.plays,
        "addresses": addresses,
        "planes": planes,
        "underlay": peers.nodes.get(name).and_then(|node| node.endpoint),
        "control_plane": CONTROL_PLANE,
        "metrics_plane": plane_or_control(METRICS_PLANE),
        "backend_plane": plane_or_control(BACKEND_PLANE),
        "seed": {
            "name": info.seed_hostname,
            "label": info.seed_hostname.label(),
            "url": info.seed_url,
            "addresses": seed.map(|s| s.addresses.clone()).unwrap_or_default(),
        },
        "registry": authority(&info.seed_url),
        "groups": groups,
        "members": members,
        "kubernetes": peers.pods.as_ref().map(|pods| json!({
            "plane": pods.plane,
            "pods": pods.cidr,
            "services": pods.services,
            "domain": pods.domain,
            "range": pods.nodes.get(name),
        })),
        "pki": places.pki(),
        "mode": match run.mode { RunMode::Apply => "apply", RunMode::Check => "check" },
        "certificates": certificates,
    });
    let mut all: Map<String, Value> = run.vars.clone().into_iter().collect();
    all.insert("kubedos".to_owned(), own);
    Value::Object(all)
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// The IPv6 address that belongs to an address on a plane, if the plane has IPv6.
fn second(plane: &str, address: Ipv4Addr, peers: &PeersFile) -> Option<Ipv6Addr> {
    peers.planes.get(plane)?.address6(address)
}

/// `address6` and `cidr6` are there on planes with IPv6 only.
fn of_plane(plane: &str, place: &PlaneAddress, peers: &PeersFile) -> Value {
    let mut all = json!({ "address": place.address, "cidr": place.cidr.trunc(), "port": place.port });
    if let Some(address6) = second(plane, place.address, peers) {
        all["address6"] = json!(address6);
        all["cidr6"] = json!(peers.planes.get(plane).and_then(PeerPlane::range6));
    }
    all
}

fn of_group(member: &Member) -> Value {
    json!({ "name": member.name, "label": member.name.label(), "addresses": member.planes, "underlay": member.underlay })
}

/// `addresses6` is there if a plane of the node has IPv6.
fn of_list(name: &Hostname, node: &PeerNode, peers: &PeersFile) -> Value {
    let mut all = json!({
        "name": name,
        "label": name.label(),
        "role": node.role,
        "addresses": node.addresses,
        "underlay": node.endpoint,
    });
    let addresses6: BTreeMap<&String, Ipv6Addr> =
        node.addresses.iter().filter_map(|(plane, ip)| Some((plane, second(plane, *ip, peers)?))).collect();
    if !addresses6.is_empty() {
        all["addresses6"] = json!(addresses6);
    }
    all
}

/// Creates the directory in RAM and writes the variables, if they differ from those that are there.
///
/// # Errors
/// If a file cannot be written.
pub fn write(places: Places<'_>, facts: &Facts<'_>) -> Result<(), FileError> {
    let (dir, path) = (places.run(), places.vars());
    create_dirs(&dir)?;
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).map_err(failed("setting the mode of", &dir))?;
    let text = variables(places, facts).to_string();
    if read_limited(&path, MAX_VARS).is_ok_and(|held| held == text.as_bytes()) {
        return Ok(());
    }
    write_atomic(&path, text.as_bytes(), PRIVATE)
}

#[cfg(test)]
#[path = "vars_tests.rs"]
mod tests;
