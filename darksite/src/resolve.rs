//! The closure of a role's packages: everything `apt install` would need, and why it is needed.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::index::Entry;
use crate::relation::{self, Atom, Group, Op, RelationError};
use crate::version;

/// Packages in one closure; all of Debian main is about 70,000.
pub const MAX_CLOSURE: usize = 200_000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("role {role}: there is no package {name}{}", near(.suggestions))]
    NoRoot { role: String, name: String, suggestions: Vec<String> },
    #[error("role {role}: nothing satisfies {wanted}{}; the chain is {}", there_is(.found), .chain.join(" -> "))]
    Unsatisfied { role: String, wanted: String, found: Option<String>, chain: Vec<String>, suggestions: Vec<String> },
    #[error("package {package}: field {field} cannot be read")]
    Relation {
        package: String,
        field: &'static str,
        #[source]
        source: RelationError,
    },
    #[error("role {role}: packages {a} and {b} were both asked for and exclude each other ({relation})")]
    Conflict { role: String, a: String, b: String, relation: String },
    #[error("the closure has more than {MAX_CLOSURE} packages")]
    TooMany,
}

fn near(suggestions: &[String]) -> String {
    if suggestions.is_empty() { String::new() } else { format!(" (did you mean {}?)", suggestions.join(", ")) }
}

fn there_is(found: &Option<String>) -> String {
    found.as_ref().map(|v| format!(" (there is {v})")).unwrap_or_default()
}

/// All packages that can be chosen: the newest version of each name.
pub struct Universe<'a> {
    entries: Vec<Entry<'a>>,
    by_name: HashMap<&'a str, usize>,
    /// Virtual name to (provider, provided version).
    provides: HashMap<&'a str, Vec<(usize, Option<&'a str>)>>,
}

/// Why a package is in the closure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Every system has it: Essential, Priority required, or apt.
    Base,
    /// Named by the role.
    Root,
    /// Another package asks for it, in these words.
    Needed { by: usize, relation: String },
}

/// The closure of one role: indexes into the universe, each with its reason, in the order they were chosen.
pub struct Closure {
    pub role: String,
    pub chosen: Vec<usize>,
    pub why: HashMap<usize, Why>,
    /// Pairs in it that exclude each other without both being roots: apt will choose another way or remove one.
    pub conflicts: Vec<String>,
}

/// What is asked for besides Depends and Pre-Depends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    pub recommends: bool,
}

impl<'a> Universe<'a> {
    /// Of several versions of a name the newest stays; of equal ones the first.
    pub fn new(all: impl IntoIterator<Item = Entry<'a>>) -> Result<Self, ResolveError> {
        let mut entries: Vec<Entry<'a>> = Vec::new();
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        for entry in all {
            match by_name.get(entry.name) {
                Some(&at) if version::compare(entry.version, entries[at].version) == Ordering::Greater => entries[at] = entry,
                Some(_) => {}
                None => {
                    by_name.insert(entry.name, entries.len());
                    entries.push(entry);
                }
            }
        }
        let mut provides: HashMap<&str, Vec<(usize, Option<&str>)>> = HashMap::new();
        for (at, entry) in entries.iter().enumerate() {
            for atom in parse(entry, "Provides", entry.provides)?.into_iter().flatten() {
                let version = atom.version.filter(|(op, _)| *op == Op::Equal).map(|(_, v)| v);
                provides.entry(atom.name).or_default().push((at, version));
            }
        }
        Ok(Universe { entries, by_name, provides })
    }

    pub fn entry(&self, at: usize) -> &Entry<'a> {
        &self.entries[at]
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What satisfies an atom, best first: the package of that name, then providers by priority and name.
    fn candidates(&self, atom: &Atom<'_>) -> Vec<usize> {
        let mut all = Vec::new();
        if let Some(&at) = self.by_name.get(atom.name)
            && self.satisfies(at, None, atom)
        {
            all.push(at);
        }
        let mut providers: Vec<usize> = self
            .provides
            .get(atom.name)
            .into_iter()
            .flatten()
            .filter(|(at, version)| Some(at) != all.first() && self.satisfies(*at, Some(*version), atom))
            .map(|(at, _)| *at)
            .collect();
        providers.sort_by_key(|&at| (rank(self.entries[at].priority), self.entries[at].name));
        all.extend(providers);
        all
    }

    /// `provided`: None for the package itself, Some for what it provides under the atom's name.
    fn satisfies(&self, at: usize, provided: Option<Option<&str>>, atom: &Atom<'_>) -> bool {
        let entry = &self.entries[at];
        let arch = match atom.arch {
            None | Some("any" | "native" | "all") => true,
            Some(arch) => arch == entry.arch || entry.arch == "all",
        };
        arch && match (atom.version, provided) {
            (None, _) => true,
            (Some((op, want)), None) => op.holds(entry.version, want),
            (Some((op, want)), Some(Some(have))) => op.holds(have, want),
            // An unversioned Provides satisfies no versioned relation (policy 7.5).
            (Some(_), Some(None)) => false,
        }
    }

    /// Names close to `name`, for a message.
    pub fn suggest(&self, name: &str) -> Vec<String> {
        let mut near: Vec<(usize, &str)> = self
            .by_name
            .keys()
            .filter(|k| k.len().abs_diff(name.len()) <= 3 || (name.len() > 3 && k.starts_with(name)))
            .map(|k| (if k.starts_with(name) { 1 } else { distance(k, name) }, *k))
            .filter(|(d, _)| *d <= 2)
            .collect();
        near.sort_unstable();
        near.into_iter().take(3).map(|(_, k)| k.to_owned()).collect()
    }

    /// The closure of one role: base system, roots and all they need.
    pub fn closure(&self, role: &str, roots: &[String], options: Options) -> Result<Closure, ResolveError> {
        let mut work = Work { universe: self, role, options, chosen: Vec::new(), why: HashMap::new(), queue: VecDeque::new() };
        let mut base: Vec<usize> = (0..self.entries.len()).filter(|&at| self.entries[at].is_base()).collect();
        base.extend(self.find("apt"));
        base.sort_by_key(|&at| self.entries[at].name);
        for name in roots {
            let at = self.find(name).ok_or_else(|| ResolveError::NoRoot {
                role: role.to_owned(),
                name: name.clone(),
                suggestions: self.suggest(name),
            })?;
            work.choose(at, Why::Root);
        }
        for at in base {
            work.choose(at, Why::Base);
        }
        work.run()?;
        let conflicts = work.conflicts()?;
        Ok(Closure { role: role.to_owned(), chosen: work.chosen, why: work.why, conflicts })
    }

    /// Why a package is in a closure: from the role down to the package.
    pub fn chain(&self, why: &HashMap<usize, Why>, role: &str, mut at: usize) -> Vec<String> {
        let mut chain = vec![self.entries[at].name.to_owned()];
        let mut seen = BTreeSet::new();
        while seen.insert(at) {
            match why.get(&at) {
                Some(Why::Needed { by, .. }) => at = *by,
                Some(Why::Base) => {
                    chain.push("the base system".to_owned());
                    break;
                }
                _ => {
                    chain.push(format!("role {role}"));
                    break;
                }
            }
            if !seen.contains(&at) {
                chain.push(self.entries[at].name.to_owned());
            }
        }
        chain.reverse();
        chain
    }
}

struct Work<'u, 'a> {
    universe: &'u Universe<'a>,
    role: &'u str,
    options: Options,
    chosen: Vec<usize>,
    why: HashMap<usize, Why>,
    queue: VecDeque<usize>,
}

impl<'u, 'a> Work<'u, 'a> {
    fn choose(&mut self, at: usize, why: Why) {
        if let std::collections::hash_map::Entry::Vacant(slot) = self.why.entry(at) {
            slot.insert(why);
            self.chosen.push(at);
            self.queue.push_back(at);
        }
    }

    /// Groups with one candidate are followed first, so that a choice sees what is there anyway.
    fn run(&mut self) -> Result<(), ResolveError> {
        let mut open: VecDeque<(usize, Group<'a>, bool)> = VecDeque::new();
        loop {
            while let Some(at) = self.queue.pop_front() {
                if self.chosen.len() > MAX_CLOSURE {
                    return Err(ResolveError::TooMany);
                }
                let entry = self.universe.entry(at);
                let mut fields = vec![("Pre-Depends", entry.pre_depends, true), ("Depends", entry.depends, true)];
                if self.options.recommends {
                    fields.push(("Recommends", entry.recommends, false));
                }
                for (name, text, must) in fields {
                    for group in parse(entry, name, text)? {
                        let mut all = group.iter().flat_map(|a| self.universe.candidates(a));
                        match (group.len(), all.next(), all.next()) {
                            (_, Some(only), None) => {
                                let relation = relation::group_text(&group);
                                self.choose(only, Why::Needed { by: at, relation });
                            }
                            _ => open.push_back((at, group, must)),
                        }
                    }
                }
            }
            let Some((by, group, must)) = open.pop_front() else { return Ok(()) };
            self.decide(by, &group, must)?;
        }
    }

    fn decide(&mut self, by: usize, group: &[Atom<'a>], must: bool) -> Result<(), ResolveError> {
        let mut first = None;
        for atom in group {
            for at in self.universe.candidates(atom) {
                if self.why.contains_key(&at) {
                    return Ok(());
                }
                first.get_or_insert(at);
            }
        }
        let relation = relation::group_text(group);
        match first {
            Some(at) => {
                self.choose(at, Why::Needed { by, relation });
                Ok(())
            }
            None if must => Err(self.unsatisfied(by, group, relation)),
            None => Ok(()),
        }
    }

    fn unsatisfied(&self, by: usize, group: &[Atom<'a>], wanted: String) -> ResolveError {
        let universe = self.universe;
        let found = group.iter().find_map(|a| universe.find(a.name)).map(|at| {
            let e = universe.entry(at);
            format!("{} {}", e.name, e.version)
        });
        let mut chain = universe.chain(&self.why, self.role, by);
        chain.push(wanted.clone());
        let suggestions = group.first().map(|a| universe.suggest(a.name)).unwrap_or_default();
        ResolveError::Unsatisfied { role: self.role.to_owned(), wanted, found, chain, suggestions }
    }

    /// Conflicts and Breaks inside the closure. Between two roots they are an error, else a note.
    fn conflicts(&self) -> Result<Vec<String>, ResolveError> {
        let mut notes = BTreeSet::new();
        for &at in &self.chosen {
            let entry = self.universe.entry(at);
            for (field, text) in [("Conflicts", entry.conflicts), ("Breaks", entry.breaks)] {
                for atom in parse(entry, field, text)?.iter().flatten() {
                    for other in self.universe.candidates(atom) {
                        let Some(why) = self.why.get(&other).filter(|_| other != at) else { continue };
                        let relation = format!("{field}: {atom}");
                        let (a, b) = (entry.name.to_owned(), self.universe.entry(other).name.to_owned());
                        if *why == Why::Root && self.why.get(&at) == Some(&Why::Root) {
                            return Err(ResolveError::Conflict { role: self.role.to_owned(), a, b, relation });
                        }
                        notes.insert(format!("role {}: {a} excludes {b} ({relation})", self.role));
                    }
                }
            }
        }
        Ok(notes.into_iter().collect())
    }
}

fn parse<'a>(entry: &Entry<'a>, field: &'static str, text: &'a str) -> Result<Vec<Group<'a>>, ResolveError> {
    relation::parse(text).map_err(|source| ResolveError::Relation { package: entry.name.to_owned(), field, source })
}

fn rank(priority: &str) -> usize {
    ["required", "important", "standard", "optional"].iter().position(|p| *p == priority).unwrap_or(4)
}

/// Edit distance (Levenshtein), bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let here = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], here);
        }
    }
    row[b.len()]
}

/// Union of several closures: universe indexes, each once, sorted by package name and architecture.
pub fn union(universe: &Universe<'_>, closures: &[Closure]) -> Vec<usize> {
    let all: BTreeMap<(&str, &str), usize> =
        closures.iter().flat_map(|c| &c.chosen).map(|&at| ((universe.entry(at).name, universe.entry(at).arch), at)).collect();
    all.into_values().collect()
}
