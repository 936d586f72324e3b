//! `roles:` of cluster.yaml: what nodes of a role have, and how they converge.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_saphyr::Spanned;

use super::payload::is_play_name;
use super::platform;
use crate::ids::Hostname;
use crate::people::Approvals;
use crate::spec_error::{SpecError, at, is_package_name, whole};

/// Most plays of a role, those of included roles too.
pub const MAX_PLAYS: usize = 64;
/// Most entries of `includes` and of `after`.
pub const MAX_ROLES: usize = 64;
/// Largest value of `serial` and `maxUnavailable`.
const MAX_SERIAL: u32 = 4_096;
/// Largest size of all variables of a role as JSON, in bytes.
pub const MAX_VARS: usize = 64 << 10;

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleSpec {
    #[serde(default)]
    pub description: String,
    /// Packages in addition to the base system, the kernel, SSH, WireGuard, Ansible, and what the plays need.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Roles whose packages, plays and variables come first.
    #[serde(default)]
    pub includes: Vec<Spanned<String>>,
    /// Plays in the order in which a node runs them: of the platform, or Ansible roles or playbooks of the site's payload.
    #[serde(default)]
    pub plays: Vec<Spanned<String>>,
    /// Ansible variables of the plays.
    #[serde(default)]
    pub vars: BTreeMap<String, Value>,
    /// Roles that have to be healthy before nodes of this role run their plays for the first time, and that come first when
    /// something changes.
    #[serde(default)]
    pub after: Vec<Spanned<String>>,
    /// Nodes of the role that a change reaches at once (1 to 4096).
    #[serde(default)]
    pub serial: Option<Spanned<u32>>,
    /// A change waits while this many other nodes of the role are not healthy (1 to 4096).
    #[serde(default)]
    pub max_unavailable: Option<Spanned<u32>>,
    #[serde(default)]
    pub count: Option<Spanned<Count>>,
    /// Which disk the form of an approval recommends.
    #[serde(default)]
    pub disk: DiskHint,
    /// How many people approve a machine of the role, if more than `enrollment.approvals`.
    #[serde(default)]
    pub approvals: Approvals,
}

/// How many nodes a role has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Count {
    /// The role starts once this many nodes have passed the fabric gate (1 to 4096).
    pub min: u32,
    /// Only an odd number of nodes starts: for members that vote.
    pub odd: bool,
}

impl Default for Count {
    fn default() -> Self {
        Count { min: 1, odd: false }
    }
}

/// The disk that is recommended when a machine is approved with the role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskHint {
    /// Any that the artifact fits on.
    #[serde(rename = "any")]
    #[default]
    Any,
    Smallest,
    Largest,
}

/// A role with what it includes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    pub name: String,
    pub description: String,
    /// In order, each once: of included roles, of the role, of the platform's plays.
    pub packages: Vec<String>,
    pub plays: Vec<String>,
    pub vars: BTreeMap<String, Value>,
    pub after: BTreeSet<String>,
    pub serial: u32,
    pub max_unavailable: u32,
    pub count: Count,
    /// Another role includes it: it may have no nodes of its own.
    pub included: bool,
}

impl Resolved {
    /// Its nodes run Prometheus.
    pub fn monitors(&self) -> bool {
        self.plays.iter().any(|p| p == platform::MONITORING)
    }

    /// The plays of the platform among [`Self::plays`].
    pub fn platform(&self) -> impl Iterator<Item = &'static platform::Play> + '_ {
        self.plays.iter().filter_map(|name| platform::play(name))
    }

    /// Certificates that the role's nodes get; each once.
    pub fn certificates(&self) -> Vec<platform::Certificate> {
        let mut all: Vec<platform::Certificate> = Vec::new();
        for certificate in self.platform().flat_map(|p| p.certificates) {
            if !all.contains(certificate) {
                all.push(*certificate);
            }
        }
        all
    }
}

/// The role, with what it includes; `None` if there is no such role. The roles of a parsed cluster.yaml contain no circle.
pub fn resolve(roles: &BTreeMap<String, RoleSpec>, name: &str) -> Option<Resolved> {
    let role = roles.get(name)?;
    let mut resolved = Resolved {
        name: name.to_owned(),
        description: role.description.clone(),
        packages: Vec::new(),
        plays: Vec::new(),
        vars: BTreeMap::new(),
        after: BTreeSet::new(),
        serial: role.serial.as_ref().map_or(1, |s| s.value),
        max_unavailable: role.max_unavailable.as_ref().map_or(1, |s| s.value),
        count: role.count.as_ref().map(|c| c.value).unwrap_or_default(),
        included: roles.values().any(|r| r.includes.iter().any(|i| i.value == name)),
    };
    collect(roles, name, &mut BTreeSet::new(), &mut resolved);
    let of_plays: Vec<String> = resolved.platform().flat_map(|p| p.packages).map(|p| (*p).to_owned()).collect();
    of_plays.into_iter().for_each(|package| once(&mut resolved.packages, &package));
    resolved.after.remove(name);
    Some(resolved)
}

fn once(list: &mut Vec<String>, name: &str) {
    if !list.iter().any(|held| held == name) {
        list.push(name.to_owned());
    }
}

fn collect(roles: &BTreeMap<String, RoleSpec>, name: &str, seen: &mut BTreeSet<String>, into: &mut Resolved) {
    let Some(role) = roles.get(name).filter(|_| seen.insert(name.to_owned())) else { return };
    role.includes.iter().for_each(|included| collect(roles, &included.value, seen, into));
    role.packages.iter().for_each(|p| once(&mut into.packages, p));
    role.plays.iter().for_each(|p| once(&mut into.plays, &p.value));
    into.vars.extend(role.vars.clone());
    into.after.extend(role.after.iter().map(|a| a.value.clone()));
}

/// Every role, by name.
pub fn resolve_all(roles: &BTreeMap<String, RoleSpec>) -> BTreeMap<String, Resolved> {
    roles.keys().filter_map(|name| Some((name.clone(), resolve(roles, name)?))).collect()
}

/// The first contradiction.
pub(crate) fn check(roles: &BTreeMap<String, RoleSpec>) -> Result<(), SpecError> {
    if roles.is_empty() {
        return Err(whole("there is no role".to_owned(), "add roles: with at least one name, for example base"));
    }
    for (name, role) in roles {
        let label = name.parse::<Hostname>().is_ok_and(|h| !h.as_str().contains('.'));
        if !label {
            return Err(whole(format!("role name {name:?} is not a label of a-z, 0-9 and -"), ""));
        }
        if name == "seed" {
            return Err(whole("role name \"seed\" is the seed's own".to_owned(), "choose another name"));
        }
        if let Some(bad) = role.packages.iter().find(|p| !is_package_name(p)) {
            let message = format!("role {name}: {bad:?} is not a package name");
            return Err(whole(message, "Debian names: a-z 0-9 + - . (policy 5.6.1)"));
        }
        check_names(roles, name, role)?;
        check_numbers(name, role)?;
        check_vars(name, role)?;
    }
    for name in roles.keys() {
        check_circle(roles, name, "includes", |r| &r.includes)?;
        check_circle(roles, name, "after", |r| &r.after)?;
    }
    for (name, resolved) in resolve_all(roles) {
        if resolved.plays.len() > MAX_PLAYS {
            return Err(whole(format!("role {name} has {} plays, more than {MAX_PLAYS}", resolved.plays.len()), ""));
        }
        check_vip(roles, &name, &resolved)?;
        check_kubernetes(roles, &name, &resolved)?;
    }
    Ok(())
}

fn check_names(roles: &BTreeMap<String, RoleSpec>, name: &str, role: &RoleSpec) -> Result<(), SpecError> {
    for (key, list) in [("includes", &role.includes), ("after", &role.after)] {
        if let Some(last) = list.get(MAX_ROLES) {
            return Err(at(last, format!("role {name}: {key} has more than {MAX_ROLES} entries"), ""));
        }
        for entry in list {
            if !roles.contains_key(&entry.value) {
                return Err(at(
                    entry,
                    format!("role {name}: {key} names {:?}, which is not a role", entry.value),
                    "roles are below spec.roles",
                ));
            }
            if entry.value == name {
                return Err(at(entry, format!("role {name}: {key} names the role itself"), ""));
            }
        }
    }
    for play in &role.plays {
        if !is_play_name(&play.value) {
            let hint = "a play of the platform (`seedd payload plays` lists them), or an Ansible role or playbook of the payload";
            return Err(at(play, format!("role {name}: {:?} is not the name of a play", play.value), hint));
        }
        if role.plays.iter().filter(|p| p.value == play.value).count() > 1 {
            return Err(at(play, format!("role {name}: play {} is listed twice", play.value), ""));
        }
    }
    Ok(())
}

fn check_numbers(name: &str, role: &RoleSpec) -> Result<(), SpecError> {
    for (key, value) in [("serial", &role.serial), ("maxUnavailable", &role.max_unavailable)] {
        if let Some(value) = value.as_ref().filter(|v| !(1..=MAX_SERIAL).contains(&v.value)) {
            return Err(at(value, format!("role {name}: {key} is {}", value.value), &format!("1 to {MAX_SERIAL}")));
        }
    }
    if let Some(count) = &role.count {
        let Count { min, odd } = count.value;
        if !(1..=MAX_SERIAL).contains(&min) {
            return Err(at(count, format!("role {name}: count.min is {min}"), &format!("1 to {MAX_SERIAL}")));
        }
        if odd && min.is_multiple_of(2) {
            let message = format!("role {name}: count.min is {min}, but count.odd asks for an odd number");
            return Err(at(count, message, &format!("use {} or {}", min - 1, min + 1)));
        }
    }
    Ok(())
}

fn check_vars(name: &str, role: &RoleSpec) -> Result<(), SpecError> {
    for key in role.vars.keys() {
        let good = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && key.len() <= 64
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !good || key == "kubedos" || key.starts_with("ansible_") {
            let message = format!("role {name}: {key:?} is not the name of a variable");
            return Err(whole(message, "letters, digits and _; not kubedos, and not ansible_…"));
        }
    }
    let size = serde_json::to_string(&role.vars).map_or(usize::MAX, |t| t.len());
    if size > MAX_VARS {
        return Err(whole(
            format!("role {name}: vars has {size} bytes, more than {MAX_VARS}"),
            "put large files into the payload",
        ));
    }
    Ok(())
}

/// Follows one kind of reference from `name`; an error if it leads back.
fn check_circle(
    roles: &BTreeMap<String, RoleSpec>,
    name: &str,
    key: &str,
    next: impl Fn(&RoleSpec) -> &Vec<Spanned<String>>,
) -> Result<(), SpecError> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&Spanned<String>> = roles.get(name).map(|r| next(r).iter().collect()).unwrap_or_default();
    while let Some(entry) = open.pop() {
        if entry.value == name {
            return Err(at(entry, format!("role {name}: {key} leads back to {name}"), ""));
        }
        if seen.insert(entry.value.clone()) {
            open.extend(roles.get(&entry.value).map(|r| next(r).iter()).into_iter().flatten());
        }
    }
    Ok(())
}

/// A load balancer without an address does nothing.
fn check_vip(roles: &BTreeMap<String, RoleSpec>, name: &str, resolved: &Resolved) -> Result<(), SpecError> {
    let Some(play) = roles.get(name).and_then(|r| r.plays.iter().find(|p| p.value == "loadbalancer")) else { return Ok(()) };
    match resolved.vars.get("lb_vip_wg3").and_then(Value::as_str).map(str::parse::<std::net::Ipv4Addr>) {
        Some(Ok(_)) => Ok(()),
        Some(Err(_)) => Err(at(play, format!("role {name}: lb_vip_wg3 is not an IPv4 address"), "")),
        None => {
            let hint = "add an unused address of the plane, for example vars: {lb_vip_wg3: 10.80.255.1}";
            Err(at(play, format!("role {name}: the loadbalancer play needs the variable lb_vip_wg3"), hint))
        }
    }
}

/// Nodes of Kubernetes have containers, and reach the API by the virtual address of load balancers.
fn check_kubernetes(roles: &BTreeMap<String, RoleSpec>, name: &str, resolved: &Resolved) -> Result<(), SpecError> {
    let of = |r: &RoleSpec| r.plays.iter().find(|p| platform::is_kubernetes(&p.value)).cloned();
    let Some(play) = roles.get(name).and_then(of) else { return Ok(()) };
    let has = |names: &[&str]| names.iter().any(|n| resolved.plays.iter().any(|p| p == n));
    let place = |names: &[&str]| resolved.plays.iter().position(|p| names.contains(&p.as_str()));
    for (needed, hint) in [
        (&["containers"][..], "list containers before it"),
        (&["vip", "loadbalancer"][..], "list vip before it: the node reaches the API by the virtual address"),
    ] {
        if !has(needed) || place(needed) > place(&[play.value.as_str()]) {
            return Err(at(&play, format!("role {name}: the play {} needs the play {}", play.value, needed[0]), hint));
        }
    }
    let vip = resolved.vars.get("lb_vip_wg3").and_then(Value::as_str);
    if vip.is_none_or(|v| v.parse::<std::net::Ipv4Addr>().is_err()) {
        let hint = "the virtual address of the load balancers, for example vars: {lb_vip_wg3: 10.80.255.1}";
        return Err(at(&play, format!("role {name}: the play {} needs the variable lb_vip_wg3", play.value), hint));
    }
    Ok(())
}

/// Roles in the order of their stages: each after those it names, otherwise by name.
pub fn stages(roles: &BTreeMap<String, Resolved>) -> Vec<&str> {
    let mut order: Vec<&str> = Vec::new();
    let mut open: BTreeSet<&str> = roles.keys().map(String::as_str).collect();
    while !open.is_empty() {
        let free =
            open.iter().copied().find(|name| roles.get(*name).is_none_or(|r| r.after.iter().all(|a| !open.contains(a.as_str()))));
        // The roles are checked, so there is no circle; if there were, its first name would be taken.
        let Some(next) = free.or_else(|| open.first().copied()) else { break };
        open.remove(next);
        order.push(next);
    }
    order
}

/// Every role that comes before `role`.
pub(super) fn upstream<'r>(roles: &'r BTreeMap<String, Resolved>, role: &str) -> BTreeSet<&'r str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = roles.get(role).map(|r| r.after.iter().map(String::as_str).collect()).unwrap_or_default();
    while let Some(name) = open.pop() {
        if let Some((key, resolved)) = roles.get_key_value(name)
            && found.insert(key.as_str())
        {
            open.extend(resolved.after.iter().map(String::as_str));
        }
    }
    found
}

#[cfg(test)]
#[path = "role_tests.rs"]
mod tests;
