//! `networking.planes` of cluster.yaml.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::addressing::{Range6Error, address6, check_range6};
use crate::converge::role::RoleSpec;
use crate::spec_error::{SpecError, at, whole};
use crate::wireguard::{MAX_MTU, MIN_MTU, MIN_MTU6};

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
    /// Addresses in addition to those of `cidr`; without it, the plane has IPv4 only.
    #[serde(default)]
    pub cidr6: Option<Spanned<Ipv6Net>>,
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
    /// The range of IPv6 addresses, if the plane has one.
    pub fn range6(&self) -> Option<Ipv6Net> {
        self.cidr6.as_ref().map(|cidr6| cidr6.value)
    }

    /// The IPv6 address of the member with this IPv4 address on the plane.
    pub fn address6(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        address6(self.range6()?, self.cidr, address)
    }

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

fn overlap6(a: Ipv6Net, b: Ipv6Net) -> bool {
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
            if let (Some(own), Some(cidr6)) = (plane.value.range6(), &second.value.cidr6)
                && overlap6(own, cidr6.value)
            {
                let message = format!("plane {other}: cidr6 {} overlaps that of plane {name} ({own})", cidr6.value);
                return Err(at(cidr6, message, "planes need separate address ranges"));
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
    plane.value.cidr6.as_ref().map_or(Ok(()), |cidr6| check_cidr6(name, cidr6, mtu.as_ref().map(|mtu| mtu.value)))
}

fn check_cidr6(name: &str, cidr6: &Spanned<Ipv6Net>, mtu: Option<u16>) -> Result<(), SpecError> {
    if let Err(error) = check_range6(cidr6.value) {
        let hint = match error {
            Range6Error::HostBits(net) => format!("write {}", net.trunc()),
            Range6Error::Length(_) => "a /64 has room for every plane".to_owned(),
            Range6Error::Kind(_) => {
                "for example a unique local prefix (RFC 4193): fd, 40 random bits, and 0001 for wg1".to_owned()
            }
        };
        return Err(at(cidr6, format!("plane {name}: cidr6 {error}"), &hint));
    }
    if let Some(mtu) = mtu.filter(|mtu| *mtu < MIN_MTU6) {
        let hint = format!("IPv6 needs {MIN_MTU6} (RFC 8200 section 5): raise mtu, or remove cidr6");
        return Err(at(cidr6, format!("plane {name}: no IPv6 with mtu {mtu}"), &hint));
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
