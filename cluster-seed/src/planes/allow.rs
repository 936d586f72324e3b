//! What a plane with the policy `deny` carries: the operator's allows, and what the platform itself needs.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::ports::Ports;
use super::spec::{BACKEND_PLANE, CONTROL_PLANE, METRICS_PLANE, PlaneSpec, Policy, plane_or_control};
use crate::converge::platform::{INCLUDED, PLAYS};
use crate::converge::role::{RoleSpec, resolve};
use crate::spec_error::{SpecError, at};

/// Most allows of a site.
pub const MAX_ALLOWS: usize = 256;
/// Most ports of one allow.
const MAX_PORTS: usize = 64;
/// Longest reason, in characters.
const MAX_WHY: usize = 200;
const ANY: &str = "any";
const SEED: &str = "seed";
/// TCP port of SSH.
const SSH: u16 = 22;

/// An entry of `networking.allows`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowSpec {
    pub plane: Spanned<String>,
    /// A role, `seed` or `any`.
    pub from: Spanned<String>,
    /// A role or `any`.
    pub to: Spanned<String>,
    pub ports: Vec<Spanned<String>>,
    #[serde(default)]
    pub why: String,
}

/// One end of an allow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Party {
    /// Every node, and the seed.
    Any,
    Seed,
    Role(String),
}

impl From<String> for Party {
    fn from(text: String) -> Self {
        match text.as_str() {
            ANY => Party::Any,
            SEED => Party::Seed,
            _ => Party::Role(text),
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Party::Any => ANY,
            Party::Seed => SEED,
            Party::Role(name) => name,
        })
    }
}

impl From<Party> for String {
    fn from(party: Party) -> String {
        party.to_string()
    }
}

impl Party {
    /// Whether a member of the list with this role is meant; the seed's role is `seed`.
    pub fn includes(&self, role: &str) -> bool {
        match self {
            Party::Any => true,
            Party::Seed => role == SEED,
            Party::Role(name) => name == role,
        }
    }
}

/// An allow as the nodes get it, in the signed peer list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Allow {
    pub from: Party,
    pub to: Party,
    pub ports: Vec<Ports>,
}

/// An allow, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reasoned {
    pub allow: Allow,
    pub why: String,
    /// Of the platform, not of cluster.yaml.
    pub built_in: bool,
}

/// Plane and ports by which a play of the platform is reached, besides its metrics. Those of the load balancer are those of its
/// services, and VRRP.
const NEEDS: &[(&str, &str, &[Ports])] = &[
    ("etcd", BACKEND_PLANE, &[Ports::tcp(2379), Ports::tcp(2380)]),
    ("vip", CONTROL_PLANE, &[Ports::udp(5787)]),
    ("loadbalancer", BACKEND_PLANE, &[Ports::Any]),
    ("controlplane", BACKEND_PLANE, &[Ports::tcp(6443), Ports::tcp(10_250)]),
    ("worker", BACKEND_PLANE, &[Ports::tcp(10_250)]),
    ("monitoring", METRICS_PLANE, &[Ports::tcp(9094), Ports::udp(9094)]),
    ("log-collector", METRICS_PLANE, &[Ports::tcp(19_532)]),
    ("storage", BACKEND_PLANE, &[Ports::tcp(2049)]),
];

/// The first mistake. `roles` are those of the site.
pub(crate) fn check(
    allows: &[AllowSpec],
    planes: &BTreeMap<String, Spanned<PlaneSpec>>,
    roles: &BTreeMap<String, RoleSpec>,
) -> Result<(), SpecError> {
    if let Some(first) = allows.get(MAX_ALLOWS) {
        return Err(at(&first.plane, format!("there are {} allows", allows.len()), &format!("at most {MAX_ALLOWS}")));
    }
    for allow in allows {
        let name = &allow.plane.value;
        let Some(plane) = planes.get(name) else {
            let known: Vec<&str> = planes.keys().map(String::as_str).collect();
            return Err(at(&allow.plane, format!("there is no plane {name:?}"), &known.join(", ")));
        };
        if plane.value.policy == Policy::Open {
            let message = format!("plane {name} is open: the allow has no effect");
            return Err(at(&allow.plane, message, &format!("write policy: deny at plane {name}, or remove the allow")));
        }
        check_party(&allow.from, roles, &[SEED, ANY])?;
        check_party(&allow.to, roles, &[ANY])?;
        if allow.ports.is_empty() || allow.ports.len() > MAX_PORTS {
            let message = format!("the allow has {} ports", allow.ports.len());
            return Err(at(&allow.plane, message, &format!("1 to {MAX_PORTS}; any means everything")));
        }
        for ports in &allow.ports {
            let hint = "for example tcp/2379, udp/4000-4100, vrrp or any";
            ports.value.parse::<Ports>().map_err(|e| at(ports, e.to_string(), hint))?;
        }
        if allow.why.chars().count() > MAX_WHY || allow.why.chars().any(char::is_control) {
            return Err(at(&allow.plane, "the reason of the allow is too long".to_owned(), "one line of at most 200 characters"));
        }
    }
    Ok(())
}

fn check_party(party: &Spanned<String>, roles: &BTreeMap<String, RoleSpec>, words: &[&str]) -> Result<(), SpecError> {
    let name = &party.value;
    if words.contains(&name.as_str()) || (name != ANY && roles.contains_key(name)) {
        return Ok(());
    }
    let message = match name.as_str() {
        SEED => "the seed is not a node: its own firewall decides what reaches it".to_owned(),
        _ => format!("there is no role {name:?}"),
    };
    Err(at(party, message, &format!("a role of the site, or {}", words.join(", "))))
}

/// Everything that the planes with the policy `deny` carry, by plane; a plane that is not in the map carries everything.
pub fn allows(
    planes: &BTreeMap<String, Spanned<PlaneSpec>>,
    specs: &[AllowSpec],
    roles: &BTreeMap<String, RoleSpec>,
) -> BTreeMap<String, Vec<Reasoned>> {
    let denying = planes.iter().filter(|(_, plane)| plane.value.policy == Policy::Deny);
    let mut all: BTreeMap<String, Vec<Reasoned>> = denying.map(|(name, _)| (name.clone(), Vec::new())).collect();
    for spec in specs {
        if let Some(list) = all.get_mut(&spec.plane.value) {
            let ports = spec.ports.iter().filter_map(|p| p.value.parse().ok()).collect();
            let (from, to) = (spec.from.value.clone().into(), spec.to.value.clone().into());
            list.push(Reasoned { allow: Allow { from, to, ports }, why: spec.why.clone(), built_in: false });
        }
    }
    // Before the roles, so that nobody locks the seed out.
    if let Some(list) = all.get_mut(CONTROL_PLANE) {
        let allow = Allow { from: Party::Seed, to: Party::Any, ports: vec![Ports::tcp(SSH)] };
        list.push(Reasoned { allow, why: "SSH from the seed".to_owned(), built_in: true });
    }
    for name in roles.keys() {
        let plays = resolve(roles, name).map(|role| role.plays).unwrap_or_default();
        for (plane, ports, why) in with_included(&plays).into_iter().flat_map(needs) {
            if let Some(list) = all.get_mut(plane_or_control(planes, plane)) {
                let allow = Allow { from: Party::Any, to: Party::Role(name.clone()), ports };
                list.push(Reasoned { allow, why, built_in: true });
            }
        }
    }
    all
}

/// These plays and those that they include, each once.
fn with_included(plays: &[String]) -> Vec<&str> {
    let mut all: Vec<&str> = Vec::new();
    for play in plays {
        let included = INCLUDED.iter().filter(|(name, _)| name == play).map(|(_, included)| *included);
        for one in included.chain([play.as_str()]) {
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    all
}

/// What one play needs: plane, ports, reason.
fn needs(play: &str) -> Vec<(&'static str, Vec<Ports>, String)> {
    let why = format!("play {play}");
    let own = NEEDS.iter().filter(|(name, ..)| *name == play).map(|(_, plane, ports)| (*plane, ports.to_vec()));
    let scraped = PLAYS.iter().filter(|p| p.name == play && !p.metrics.is_empty());
    let metrics = scraped.map(|p| (METRICS_PLANE, p.metrics.iter().map(|(_, port)| Ports::tcp(*port)).collect()));
    own.chain(metrics).map(|(plane, ports)| (plane, ports, why.clone())).collect()
}
