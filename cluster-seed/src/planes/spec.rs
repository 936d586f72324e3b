//! `networking.planes` of cluster.yaml.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::converge::role::RoleSpec;
use crate::spec_error::{SpecError, at, whole};
use crate::wireguard::{MAX_MTU, MIN_MTU};

/// SSH, the seed's HTTP server and the fabric gate use it; every site has it.
pub const CONTROL_PLANE: &str = "wg1";
/// What is scraped and logged, if the site has it; else the control plane.
pub const METRICS_PLANE: &str = "wg2";
/// Services between nodes, and pods, if the site has it; else the control plane.
pub const BACKEND_PLANE: &str = "wg3";

/// Who is a peer of whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Topology {
    /// Every member of every other.
    #[default]
    Mesh,
    /// Every member of the hubs only.
    Hub,
}

impl Topology {
    pub fn as_str(self) -> &'static str {
        match self {
            Topology::Mesh => "mesh",
            Topology::Hub => "hub",
        }
    }
}

/// What a node takes from the members of a plane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Every port.
    #[default]
    Open,
    /// What `networking.allows` lists, and what the plays of its role need.
    Deny,
}

impl Policy {
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::Open => "open",
            Policy::Deny => "deny",
        }
    }
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaneSpec {
    pub cidr: Ipv4Net,
    /// UDP port of the plane's WireGuard interface on every member.
    pub port: u16,
    #[serde(default)]
    pub purpose: String,
    #[serde(default)]
    pub topology: Topology,
    /// Roles whose nodes are hubs, besides the seed.
    #[serde(default)]
    pub hubs: Vec<Spanned<String>>,
    /// In bytes; without it, what the boot network leaves.
    #[serde(default)]
    pub mtu: Option<Spanned<u16>>,
    #[serde(default)]
    pub policy: Policy,
}

impl PlaneSpec {
    /// The roles of its hubs; `None` for a mesh.
    pub fn hub_roles(&self) -> Option<Vec<String>> {
        (self.topology == Topology::Hub).then(|| self.hubs.iter().map(|role| role.value.clone()).collect())
    }
}

/// The plane that carries what belongs on `wanted`: a site with fewer planes uses the control plane instead.
pub(super) fn plane_or_control<'a>(planes: &BTreeMap<String, Spanned<PlaneSpec>>, wanted: &'a str) -> &'a str {
    if planes.contains_key(wanted) { wanted } else { CONTROL_PLANE }
}

pub(crate) fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// The first mistake in the planes themselves. `underlay` is the boot network.
pub(crate) fn check(planes: &BTreeMap<String, Spanned<PlaneSpec>>, underlay: Ipv4Net) -> Result<(), SpecError> {
    if !planes.contains_key(CONTROL_PLANE) {
        let hint = "wg1 is the control plane: SSH and the fabric gate use it";
        return Err(whole(format!("there is no plane {CONTROL_PLANE}"), hint));
    }
    for (i, (name, plane)) in planes.iter().enumerate() {
        check_one(name, plane)?;
        let cidr = plane.value.cidr;
        if overlap(cidr, underlay) {
            return Err(at(plane, format!("plane {name} ({cidr}) overlaps the underlay ({underlay})"), "choose another cidr"));
        }
        for (other, second) in planes.iter().skip(i + 1) {
            if overlap(cidr, second.value.cidr) {
                let message = format!("plane {other} ({}) overlaps plane {name} ({cidr})", second.value.cidr);
                return Err(at(second, message, "planes need separate address ranges"));
            }
            if plane.value.port == second.value.port {
                return Err(at(second, format!("plane {other} uses port {} of plane {name}", second.value.port), ""));
            }
        }
    }
    Ok(())
}

fn check_one(name: &str, plane: &Spanned<PlaneSpec>) -> Result<(), SpecError> {
    let number = name.strip_prefix("wg").filter(|d| (1..=2).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()));
    if number.is_none() {
        return Err(at(plane, format!("{name:?} is not a plane name"), "planes are wg1, wg2, … wg99"));
    }
    let PlaneSpec { cidr, port, mtu, .. } = &plane.value;
    if cidr.addr() != cidr.network() {
        let hint = format!("write {}/{}", cidr.network(), cidr.prefix_len());
        return Err(at(plane, format!("plane {name}: {cidr} has host bits set"), &hint));
    }
    if cidr.prefix_len() > 29 {
        return Err(at(plane, format!("plane {name}: {cidr} is too small"), "use /29 or larger"));
    }
    if *port == 0 {
        return Err(at(plane, format!("plane {name}: port 0"), "wg1 uses 51821, wg2 51822, wg3 51823"));
    }
    if let Some(mtu) = mtu.as_ref().filter(|mtu| !(MIN_MTU..=MAX_MTU).contains(&mtu.value)) {
        let hint = format!("{MIN_MTU} to {MAX_MTU}; without mtu, the plane uses what the boot network leaves");
        return Err(at(mtu, format!("plane {name}: mtu {}", mtu.value), &hint));
    }
    Ok(())
}

/// The first mistake in the hubs. `pods` is the plane that carries pods, if there are any.
pub(crate) fn check_hubs(
    planes: &BTreeMap<String, Spanned<PlaneSpec>>,
    roles: &BTreeMap<String, RoleSpec>,
    pods: bool,
) -> Result<(), SpecError> {
    for (name, plane) in planes {
        let hub = plane.value.topology == Topology::Hub;
        if let Some(role) = plane.value.hubs.first().filter(|_| !hub) {
            return Err(at(role, format!("plane {name} is a mesh and has hubs"), "write topology: hub, or remove hubs"));
        }
        if let Some(role) = plane.value.hubs.iter().find(|role| !roles.contains_key(&role.value)) {
            let message = format!("plane {name}: hubs: there is no role {:?}", role.value);
            return Err(at(role, message, "hubs are roles of the site; the seed always is one"));
        }
        if hub && pods && name == plane_or_control(planes, BACKEND_PLANE) {
            let message = format!("plane {name} carries pods, so it cannot be a hub");
            return Err(at(plane, message, "nodes with pods are peers of each other: write topology: mesh"));
        }
    }
    Ok(())
}
