//! Which Debian packages are missing, have the wrong version, or need another one that is missing.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{CNI_PLUGINS, CONTAINERD, CRI_TOOLS, EXACT, KUBECTL, KUBECTL_SKEW, Minor};
use super::finding::{Finding, Kind};
use super::have::Package;
use super::version::Version;
use crate::format::relation::{self, Atom, group_text};
use crate::format::version;

/// Everything about packages, for a cluster of this version.
pub fn check(kubernetes: Version, facts: &Minor, all: &[Package]) -> Vec<Finding> {
    let mut look = Look { offers: Offers::new(all), found: Vec::new(), picked: Vec::new() };
    for name in EXACT {
        look.pick(&[name], &format!("it must be {kubernetes}, as the cluster"), &|v| *v == kubernetes, &kubernetes.to_string());
    }
    let near = |v: &Version| v.major == kubernetes.major && v.minor.abs_diff(kubernetes.minor) <= KUBECTL_SKEW;
    let skew = format!("it may differ from Kubernetes {kubernetes} by one minor version");
    look.pick(&[KUBECTL], &skew, &near, &kubernetes.to_string());
    if let Some(oldest) = facts.cri_tools {
        look.pick(&[CRI_TOOLS], &format!("kubeadm needs {oldest} or later"), &|v| *v >= oldest, &format!("{oldest} or later"));
    }
    look.containerd(kubernetes, facts);
    look.cni_plugins();
    look.dependencies();
    look.found
}

struct Look<'a> {
    offers: Offers<'a>,
    found: Vec<Finding>,
    picked: Vec<&'a Package>,
}

impl<'a> Look<'a> {
    /// Picks the newest package with one of the names and a good version.
    fn pick(&mut self, names: &[&str], rule: &str, good: &dyn Fn(&Version) -> bool, wanted: &str) {
        let mut all: Vec<&'a Package> = names.iter().flat_map(|n| self.offers.named(n)).copied().collect();
        all.sort_by(|a, b| version::compare(&b.version, &a.version));
        let name = names.first().copied().unwrap_or_default();
        if let Some(package) = all.iter().find(|p| Version::of_package(&p.version).is_some_and(|v| good(&v))) {
            self.picked.push(*package);
        } else if all.is_empty() {
            self.found.push(Finding::new(Kind::MissingPackage, name, format!("package {name} {wanted} is missing")));
        } else {
            let have: Vec<&str> = all.iter().map(|p| p.version.as_str()).collect();
            let message = format!("package {name} has version {}, but {rule}", have.join(", "));
            self.found.push(Finding::new(Kind::WrongVersion, name, message));
        }
    }

    fn containerd(&mut self, kubernetes: Version, facts: &Minor) {
        let (oldest, below) = (facts.containerd, facts.containerd_below);
        let good = |v: &Version| *v >= oldest && below.is_none_or(|below| *v < below);
        let range = match below {
            Some(below) => format!("{oldest} or later, and earlier than {below}"),
            None => format!("{oldest} or later"),
        };
        self.pick(&CONTAINERD, &format!("the kubelet of {kubernetes} needs {range}"), &good, &range);
    }

    fn cni_plugins(&mut self) {
        let [debian, upstream] = CNI_PLUGINS;
        if let Some(package) = self.offers.named(debian).first() {
            self.picked.push(*package);
            return;
        }
        let other = match self.offers.named(upstream).is_empty() {
            true => String::new(),
            false => format!("; {upstream} has the plugins in /opt/cni/bin, but the play containers looks in /usr/lib/cni"),
        };
        self.found.push(Finding::new(Kind::MissingPackage, debian, format!("package {debian} is missing{other}")));
    }

    /// Follows the dependencies of the picked packages. Those of the snapshot were resolved when it was planned.
    fn dependencies(&mut self) {
        let mut waiting = std::mem::take(&mut self.picked);
        let mut seen = BTreeSet::new();
        while let Some(package) = waiting.pop() {
            if !package.extra || !seen.insert((&package.name, &package.version)) {
                continue;
            }
            for field in &package.depends {
                match relation::parse(field) {
                    Ok(groups) => groups.iter().for_each(|group| self.group(package, group, &mut waiting)),
                    Err(e) => self.unmet(package, &format!("has dependencies that cannot be read: {e}")),
                }
            }
        }
    }

    fn group(&mut self, package: &Package, group: &[Atom<'_>], waiting: &mut Vec<&'a Package>) {
        match group.iter().find_map(|atom| self.offers.satisfying(atom)) {
            Some(found) => waiting.push(found),
            // Said already.
            None if group.iter().any(|a| self.found.iter().any(|f| f.item == a.name)) => {}
            None => self.unmet(package, &format!("needs {}, which is missing", group_text(group))),
        }
    }

    fn unmet(&mut self, package: &Package, what: &str) {
        let message = format!("package {} {} {what}", package.name, package.version);
        self.found.push(Finding::new(Kind::UnmetDependency, &package.name, message));
    }
}

/// Packages by their names, and by those that they provide, with the provided version.
struct Offers<'a> {
    names: BTreeMap<&'a str, Vec<&'a Package>>,
    provided: BTreeMap<&'a str, Vec<(Option<&'a str>, &'a Package)>>,
}

impl<'a> Offers<'a> {
    fn new(all: &'a [Package]) -> Self {
        let mut offers = Offers { names: BTreeMap::new(), provided: BTreeMap::new() };
        for package in all {
            offers.names.entry(&package.name).or_default().push(package);
            for atom in relation::provided(&package.provides) {
                let version = atom.version.map(|(_, version)| version);
                offers.provided.entry(atom.name).or_default().push((version, package));
            }
        }
        offers
    }

    fn named(&self, name: &str) -> &[&'a Package] {
        self.names.get(name).map_or(&[][..], Vec::as_slice)
    }

    /// The package that satisfies an atom, or that provides it.
    fn satisfying(&self, atom: &Atom<'_>) -> Option<&'a Package> {
        let fits = |have: &str| atom.version.is_none_or(|(op, want)| op.holds(have, want));
        if let Some(package) = self.named(atom.name).iter().find(|p| fits(&p.version)) {
            return Some(package);
        }
        // A provided name without a version satisfies no restriction (policy 7.5).
        let provided = self.provided.get(atom.name).map_or(&[][..], Vec::as_slice);
        let found = provided.iter().find(|(have, _)| have.map_or(atom.version.is_none(), fits));
        found.map(|(_, package)| *package)
    }
}
