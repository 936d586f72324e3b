//! Which Kubernetes a site means: what is asked for, else what its roles say, else what the extras pin.

use cluster_seed::converge::role::Resolved;
use serde_json::Value;

use super::have::{Have, Pinned, Role};
use super::need::{Choice, Cilium};
use super::version::{Version, VersionError};

/// Plays whose nodes are nodes of Kubernetes, those of the control plane first.
const PLAYS: [&str; 2] = [CONTROL_PLANE, "worker"];
const CONTROL_PLANE: &str = "controlplane";

/// Versions given on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    pub kubernetes: Option<Version>,
    pub cilium: Option<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChooseError {
    #[error("the extras have no package kubeadm, and no role sets kubernetes_version")]
    NoKubernetes,
    #[error("the network of pods is Cilium, but the extras have no chart cilium, and no role sets cilium_version")]
    NoCilium,
    #[error("{var} of role {role}")]
    Version {
        role: String,
        var: &'static str,
        #[source]
        source: VersionError,
    },
    #[error("{var} of role {role} is not text")]
    NotText { role: String, var: &'static str },
}

impl ChooseError {
    pub fn hint(&self) -> &'static str {
        match self {
            ChooseError::NoKubernetes => "use --kubernetes VERSION",
            ChooseError::NoCilium => "use --cilium VERSION",
            ChooseError::Version { .. } | ChooseError::NotText { .. } => {
                "write it in quotes in cluster.yaml, for example \"1.36.2\""
            }
        }
    }
}

/// The roles whose nodes are nodes of Kubernetes.
pub fn roles(all: &[Resolved]) -> Vec<Role> {
    let text = |r: &Resolved, var: &str| r.vars.get(var)?.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
    let pinned = |r: &Resolved| Pinned { chart: text(r, "cilium_sha256"), helm: text(r, "cilium_helm_sha256") };
    let of = |r: &Resolved| Role {
        name: r.name.clone(),
        sandbox: text(r, "containers_sandbox_image"),
        pinned: r.plays.iter().any(|p| p == CONTROL_PLANE).then(|| pinned(r)),
    };
    ours(all).into_iter().map(of).collect()
}

fn ours(all: &[Resolved]) -> Vec<&Resolved> {
    let with = |play: &'static str| all.iter().filter(move |r| r.plays.iter().any(|p| p == play));
    let mut found: Vec<&Resolved> = Vec::new();
    for role in PLAYS.into_iter().flat_map(with) {
        if !found.iter().any(|f| f.name == role.name) {
            found.push(role);
        }
    }
    found
}

/// What a site is to run.
pub fn choose(asked: Asked, all: &[Resolved], have: &Have) -> Result<Choice, ChooseError> {
    let vars = Vars { roles: ours(all) };
    let kubernetes = match (asked.kubernetes, vars.version("kubernetes_version")?) {
        (Some(version), _) | (None, Some(version)) => version,
        (None, None) => newest(have.packages.iter().filter(|p| p.name == "kubeadm").map(|p| Version::of_package(&p.version)))
            .ok_or(ChooseError::NoKubernetes)?,
    };
    let charts = have.charts.iter().filter(|c| c.name == "cilium").map(|c| c.version.parse().ok());
    let pinned = newest(charts);
    let wanted = match vars.text("kubernetes_cni")? {
        Some(cni) => cni == "cilium",
        // The play's default is wireguard. Without roles, the extras show what is meant.
        None => vars.roles.is_empty() && pinned.is_some(),
    };
    let cilium = match asked.cilium.map_or_else(|| vars.version("cilium_version"), |v| Ok(Some(v)))?.or(pinned) {
        Some(version) if wanted || asked.cilium.is_some() => Some(vars.cilium(version)?),
        None if wanted => return Err(ChooseError::NoCilium),
        _ => None,
    };
    let is_off = |name| vars.value(name).is_some_and(|(_, v)| *v == Value::Bool(false));
    Ok(Choice {
        kubernetes,
        cilium,
        registry: vars.text("kubernetes_images")?.map(str::to_owned),
        proxy: !is_off("kubernetes_proxy"),
        coredns: !is_off("kubernetes_coredns"),
    })
}

fn newest(all: impl Iterator<Item = Option<Version>>) -> Option<Version> {
    all.flatten().max()
}

/// Variables of the roles; the first that sets one decides.
struct Vars<'a> {
    roles: Vec<&'a Resolved>,
}

impl<'a> Vars<'a> {
    fn value(&self, name: &str) -> Option<(&'a str, &'a Value)> {
        self.roles.iter().find_map(|r| Some((r.name.as_str(), r.vars.get(name)?)))
    }

    /// A variable with text; an empty one is unset.
    fn text(&self, var: &'static str) -> Result<Option<&'a str>, ChooseError> {
        match self.value(var) {
            None | Some((_, Value::Null)) => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text.as_str()).filter(|t| !t.is_empty())),
            Some((role, _)) => Err(ChooseError::NotText { role: role.to_owned(), var }),
        }
    }

    fn version(&self, var: &'static str) -> Result<Option<Version>, ChooseError> {
        let Some(text) = self.text(var)? else { return Ok(None) };
        let role = self.value(var).map(|(role, _)| role.to_owned()).unwrap_or_default();
        text.parse().map(Some).map_err(|source| ChooseError::Version { role, var, source })
    }

    fn cilium(&self, version: Version) -> Result<Cilium, ChooseError> {
        let mut cilium = Cilium::new(version);
        if let Some(helm) = self.text("cilium_helm")? {
            helm.clone_into(&mut cilium.helm);
        }
        if let Some((_, values)) = self.value("cilium_values") {
            cilium.values = values.clone();
        }
        Ok(cilium)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use cluster_seed::converge::role::Count;
    use serde_json::json;

    use super::*;
    use crate::kubernetes::testing::complete;

    fn role(name: &str, plays: &[&str], vars: &Value) -> Resolved {
        let vars: BTreeMap<String, Value> = serde_json::from_value(vars.clone()).unwrap();
        Resolved {
            name: name.to_owned(),
            description: String::new(),
            packages: Vec::new(),
            plays: plays.iter().map(|p| (*p).to_owned()).collect(),
            vars,
            after: BTreeSet::new(),
            serial: 1,
            max_unavailable: 1,
            count: Count::default(),
            included: false,
        }
    }

    fn chosen(asked: Asked, roles: &[Resolved]) -> (String, Option<String>) {
        let choice = choose(asked, roles, &complete()).unwrap();
        (choice.kubernetes.to_string(), choice.cilium.map(|c| c.version.to_string()))
    }

    #[test]
    fn without_roles_the_extras_decide() {
        assert_eq!(chosen(Asked::default(), &[]), ("1.36.2".to_owned(), Some("1.18.5".to_owned())));
        let other = [role("etcd", &["etcd"], &json!({"kubernetes_cni": "wireguard", "kubernetes_version": 1}))];
        assert_eq!(chosen(Asked::default(), &other).1.as_deref(), Some("1.18.5"));
        let empty = Have::default();
        let error = choose(Asked::default(), &[], &empty).unwrap_err();
        assert_eq!((error.clone(), error.hint()), (ChooseError::NoKubernetes, "use --kubernetes VERSION"));
        let asked = Asked { kubernetes: Some(Version::new(1, 34, 0)), cilium: None };
        assert_eq!(choose(asked, &[], &empty).unwrap(), Choice::new(Version::new(1, 34, 0)));
    }

    #[test]
    fn roles_decide_before_the_extras_and_the_command_line_before_both() {
        let worker = role("worker", &["containers", "worker"], &json!({"kubernetes_cni": "wireguard"}));
        assert_eq!(chosen(Asked::default(), std::slice::from_ref(&worker)), ("1.36.2".to_owned(), None));
        let vars = json!({"kubernetes_cni": "cilium", "kubernetes_version": "1.35.1", "cilium_version": "1.19.0"});
        // The control plane's variables come first.
        let both = [worker, role("cp", &["controlplane"], &vars)];
        assert_eq!(chosen(Asked::default(), &both), ("1.35.1".to_owned(), Some("1.19.0".to_owned())));
        let asked = Asked { kubernetes: Some(Version::new(1, 37, 0)), cilium: Some(Version::new(1, 18, 0)) };
        assert_eq!(chosen(asked, &both), ("1.37.0".to_owned(), Some("1.18.0".to_owned())));
        // The play's default is wireguard.
        let plain = [role("w", &["worker"], &json!({}))];
        assert_eq!(chosen(Asked::default(), &plain).1, None);
        assert_eq!(chosen(Asked { cilium: asked.cilium, ..Asked::default() }, &plain).1.as_deref(), Some("1.18.0"));
    }

    #[test]
    fn variables_reach_the_choice() {
        let vars = json!({"kubernetes_cni": "cilium", "kubernetes_images": "r.example/k", "kubernetes_proxy": false,
            "kubernetes_coredns": false, "cilium_helm": "bin/helm", "cilium_values": {"hubble": {"enabled": false}},
            "containers_sandbox_image": "r.example/pause:1", "cilium_sha256": "ab", "cilium_helm_sha256": ""});
        let all = [role("cp", &["controlplane"], &vars), role("w", &["worker"], &json!({"containers_sandbox_image": ""}))];
        let choice = choose(Asked::default(), &all, &complete()).unwrap();
        assert_eq!((choice.registry.as_deref(), choice.proxy, choice.coredns), (Some("r.example/k"), false, false));
        let cilium = choice.cilium.unwrap();
        assert_eq!((cilium.helm.as_str(), &cilium.all_values()["hubble"]["enabled"]), ("bin/helm", &json!(false)));
        assert_eq!(
            roles(&all),
            [
                Role {
                    name: "cp".to_owned(),
                    sandbox: Some("r.example/pause:1".to_owned()),
                    pinned: Some(Pinned { chart: Some("ab".to_owned()), helm: None })
                },
                Role { name: "w".to_owned(), sandbox: None, pinned: None }
            ]
        );
    }

    #[test]
    fn what_is_no_version_is_refused() {
        let with = |vars: Value| choose(Asked::default(), &[role("cp", &["controlplane"], &vars)], &complete());
        assert!(matches!(with(json!({"kubernetes_version": "1.36"})), Err(ChooseError::Version { .. })));
        assert!(matches!(with(json!({"kubernetes_version": 1.36})), Err(ChooseError::NotText { .. })));
        let none = Have { charts: Vec::new(), ..complete() };
        let cilium = [role("cp", &["controlplane"], &json!({"kubernetes_cni": "cilium"}))];
        assert_eq!(choose(Asked::default(), &cilium, &none), Err(ChooseError::NoCilium));
    }
}
