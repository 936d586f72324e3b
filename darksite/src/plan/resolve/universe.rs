//! All candidates, by name and by what they provide, for each architecture.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::ResolveError;
use crate::format::index::Entry;
use crate::format::relation::{self, Atom, Group, Op};
use crate::format::version;

/// All candidates: the newest version of each name on each architecture.
pub struct Universe<'a> {
    entries: Vec<Entry<'a>>,
    views: Vec<View<'a>>,
}

/// The packages of one architecture: its own and those for `all`.
struct View<'a> {
    arch: String,
    by_name: HashMap<&'a str, usize>,
    /// Virtual name to (provider, provided version).
    provides: HashMap<&'a str, Vec<(usize, Option<&'a str>)>>,
}

/// The name of a metapackage on another architecture: `linux-image-amd64` becomes `linux-image-arm64`.
fn renamed(name: &str, from: &str, to: &str) -> Option<String> {
    let stem = name.strip_suffix(from)?;
    stem.ends_with('-').then(|| format!("{stem}{to}"))
}

impl<'a> Universe<'a> {
    /// Takes the packages of each architecture, including those for `all`. Of several versions of a name it keeps the newest, of
    /// equal ones the first. A package for `all` that is identical on two architectures is one package.
    pub fn new(all: Vec<(String, Vec<Entry<'a>>)>) -> Result<Self, ResolveError> {
        let mut entries: Vec<Entry<'a>> = Vec::new();
        let mut views = Vec::new();
        let several = all.len() > 1;
        let mut shared: HashMap<&str, Vec<usize>> = HashMap::new();
        for (arch, list) in all {
            let mut newest: HashMap<&'a str, Entry<'a>> = HashMap::with_capacity(list.len());
            for entry in list {
                match newest.get(entry.name) {
                    Some(have) if version::compare(entry.version, have.version) != Ordering::Greater => {}
                    _ => _ = newest.insert(entry.name, entry),
                }
            }
            let mut chosen: Vec<Entry<'a>> = newest.into_values().collect();
            chosen.sort_unstable_by_key(|e| e.name);
            let mut by_name = HashMap::with_capacity(chosen.len());
            for entry in chosen {
                let same = |at: &&usize| {
                    let have: &Entry<'a> = &entries[**at];
                    have.version == entry.version && have.sha256 == entry.sha256 && have.filename == entry.filename
                };
                let known = shared.get(entry.name).and_then(|list| list.iter().find(same)).copied();
                let at = known.unwrap_or(entries.len());
                if known.is_none() {
                    entries.push(entry);
                    if several && entry.arch == "all" {
                        shared.entry(entry.name).or_default().push(at);
                    }
                }
                by_name.insert(entry.name, at);
            }
            views.push(View { arch, by_name, provides: HashMap::new() });
        }
        let mut universe = Universe { entries, views };
        universe.index_provides();
        Ok(universe)
    }

    fn index_provides(&mut self) {
        let entries = &self.entries;
        for view in &mut self.views {
            let mut all: Vec<usize> = view.by_name.values().copied().filter(|&at| !entries[at].provides.is_empty()).collect();
            all.sort_unstable();
            for at in all {
                for atom in relation::provided(entries[at].provides) {
                    let version = atom.version.filter(|(op, _)| *op == Op::Equal).map(|(_, v)| v);
                    view.provides.entry(atom.name).or_default().push((at, version));
                }
            }
        }
    }

    pub fn entry(&self, at: usize) -> &Entry<'a> {
        &self.entries[at]
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The architectures, in the order they were given.
    pub fn architectures(&self) -> impl Iterator<Item = &str> {
        self.views.iter().map(|v| v.arch.as_str())
    }

    fn view(&self, arch: &str) -> Option<&View<'a>> {
        self.views.iter().find(|v| v.arch == arch)
    }

    pub fn find(&self, arch: &str, name: &str) -> Option<usize> {
        self.view(arch)?.by_name.get(name).copied()
    }

    /// Every candidate of an architecture.
    pub fn all_of(&self, arch: &str) -> impl Iterator<Item = usize> {
        self.view(arch).into_iter().flat_map(|v| v.by_name.values().copied())
    }

    /// A root of a role on `arch`; None if it is for another architecture, or only the first architecture has it.
    pub(super) fn root(&self, role: &str, root: &str, arch: &str) -> Result<Option<usize>, ResolveError> {
        let first = self.views.first().map(|v| v.arch.as_str()).unwrap_or_default();
        let name = match root.split_once(':') {
            Some((name, only)) if only == arch => name,
            Some(_) => return Ok(None),
            None => root,
        };
        let elsewhere = || renamed(name, first, arch).and_then(|n| self.find(arch, &n));
        match self.find(arch, name).or_else(elsewhere) {
            Some(at) => Ok(Some(at)),
            None if arch != first && self.find(first, name).is_some() => Ok(None),
            None => {
                let suggestions = self.suggest(arch, name);
                Err(ResolveError::NoRoot { role: role.to_owned(), name: name.to_owned(), suggestions })
            }
        }
    }

    /// The architecture of a package's dependencies: its own, or `native` for a package for `all`.
    fn home(&self, at: usize, native: &'a str) -> &'a str {
        if self.entries[at].arch == "all" { native } else { self.entries[at].arch }
    }

    /// What satisfies an atom of package `by`, best first: the package of that name, then its providers.
    ///
    /// Architecture qualifiers as in deb-control(5): none means the architecture of `by` (or any for Multi-Arch:
    /// foreign), `any` needs Multi-Arch: allowed, a name means that architecture.
    pub(super) fn candidates(&self, by: usize, native: &'a str, atom: &Atom<'_>) -> Vec<usize> {
        let home = self.home(by, native);
        let mut all = Vec::new();
        match atom.arch {
            None | Some("native") => {
                self.add_candidates(&mut all, home, by, atom, |_| true);
                if home != native {
                    self.add_candidates(&mut all, native, by, atom, |e| e.multi_arch == "foreign");
                }
            }
            Some("any") => self.add_candidates(&mut all, home, by, atom, |e| e.multi_arch == "allowed"),
            Some("all") => self.add_candidates(&mut all, home, by, atom, |e| e.arch == "all"),
            Some(arch) => self.add_candidates(&mut all, arch, by, atom, |_| true),
        }
        all
    }

    fn add_candidates(&self, all: &mut Vec<usize>, arch: &str, by: usize, atom: &Atom<'_>, fits: impl Fn(&Entry<'_>) -> bool) {
        let Some(view) = self.view(arch) else { return };
        if let Some(&at) = view.by_name.get(atom.name)
            && fits(&self.entries[at])
            && atom.version.is_none_or(|(op, want)| op.holds(self.entries[at].version, want))
            && !all.contains(&at)
        {
            all.push(at);
        }
        // An unversioned Provides satisfies no versioned relation (policy 7.5).
        let satisfies = |provided: &Option<&str>| match (atom.version, provided) {
            (None, _) => true,
            (Some((op, want)), Some(have)) => op.holds(have, want),
            (Some(_), None) => false,
        };
        let mut providers: Vec<usize> = view
            .provides
            .get(atom.name)
            .into_iter()
            .flatten()
            .filter(|(at, provided)| {
                satisfies(provided) && !all.contains(at) && (atom.arch != Some("any") || fits(&self.entries[*at]))
            })
            .map(|(at, _)| *at)
            .collect();
        // As apt does: same source first, then by priority; then by name, to be deterministic.
        let source = self.entries[by].source_name();
        let order = |e: &Entry<'a>| (e.source_name() != source, !e.essential, rank(e.priority), e.name);
        providers.sort_by(|&a, &b| order(&self.entries[a]).cmp(&order(&self.entries[b])));
        providers.dedup();
        all.extend(providers);
    }

    /// Names similar to `name`, for a message.
    pub fn suggest(&self, arch: &str, name: &str) -> Vec<String> {
        let mut near: Vec<(usize, &str)> = self
            .view(arch)
            .into_iter()
            .flat_map(|v| v.by_name.keys())
            .filter(|k| k.len().abs_diff(name.len()) <= 3 || (name.len() > 3 && k.starts_with(name)))
            .map(|k| (if k.starts_with(name) { 1 } else { strsim::levenshtein(k, name) }, *k))
            .filter(|(d, _)| *d <= 2)
            .collect();
        near.sort_unstable();
        near.into_iter().take(3).map(|(_, k)| k.to_owned()).collect()
    }
}

pub(super) fn parse<'a>(entry: &Entry<'a>, field: &'static str, text: &'a str) -> Result<Vec<Group<'a>>, ResolveError> {
    relation::parse(text).map_err(|source| ResolveError::Relation { package: entry.name.to_owned(), field, source })
}

fn rank(priority: &str) -> usize {
    ["required", "important", "standard", "optional"].iter().position(|p| *p == priority).unwrap_or(4)
}
