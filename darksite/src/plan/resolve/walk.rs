//! From roots to a closure.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::universe::parse;
use super::{Closure, MAX_CLOSURE, Options, ResolveError, Universe, Why};
use crate::format::relation::{self, Atom, Group};

impl<'a> Universe<'a> {
    /// The closure of one role on one architecture: the base system, the roots and everything they need.
    pub fn closure(&self, role: &str, arch: &str, roots: &[String], options: Options) -> Result<Closure, ResolveError> {
        let native = self.all_of(arch).map(|at| self.entry(at).arch).find(|a| *a == arch).unwrap_or("all");
        let (chosen, why, queue) = (Vec::new(), HashMap::new(), VecDeque::new());
        let mut work = Work { universe: self, role, arch, native, options, chosen, why, queue };
        let mut notes = Vec::new();
        for root in roots {
            match self.root(role, root, arch)? {
                Some(at) => work.choose(at, Why::Root),
                None if !root.contains(':') => notes.push(format!("role {role}: {arch} has no package {root}; skipped")),
                None => {}
            }
        }
        let mut base: Vec<usize> = self.all_of(arch).filter(|&at| self.entry(at).is_base()).collect();
        base.extend(self.find(arch, "apt"));
        base.sort_by_key(|&at| self.entry(at).name);
        for at in base {
            work.choose(at, Why::Base);
        }
        work.run()?;
        let conflicts = work.conflicts()?;
        let Work { chosen, why, .. } = work;
        Ok(Closure { role: role.to_owned(), arch: arch.to_owned(), chosen, why, conflicts, notes })
    }

    /// Why a package is in a closure: from the role to the package.
    pub fn chain(&self, why: &HashMap<usize, Why>, role: &str, mut at: usize) -> Vec<String> {
        let mut chain = vec![self.entry(at).name.to_owned()];
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
                chain.push(self.entry(at).name.to_owned());
            }
        }
        chain.reverse();
        chain
    }
}

struct Work<'u, 'a> {
    universe: &'u Universe<'a>,
    role: &'u str,
    arch: &'u str,
    /// As `arch`, with the lifetime of the index.
    native: &'a str,
    options: Options,
    chosen: Vec<usize>,
    why: HashMap<usize, Why>,
    queue: VecDeque<usize>,
}

impl<'a> Work<'_, 'a> {
    fn choose(&mut self, at: usize, why: Why) {
        if let std::collections::hash_map::Entry::Vacant(slot) = self.why.entry(at) {
            slot.insert(why);
            self.chosen.push(at);
            self.queue.push_back(at);
        }
    }

    /// Follows groups with a single candidate first, so that a choice can prefer what is needed anyway.
    fn run(&mut self) -> Result<(), ResolveError> {
        let mut open: VecDeque<(usize, Group<'a>, bool)> = VecDeque::new();
        loop {
            while let Some(at) = self.queue.pop_front() {
                if self.chosen.len() > MAX_CLOSURE {
                    return Err(ResolveError::TooMany);
                }
                self.follow(at, &mut open)?;
            }
            let Some((by, group, must)) = open.pop_front() else { return Ok(()) };
            self.decide(by, &group, must)?;
        }
    }

    fn follow(&mut self, at: usize, open: &mut VecDeque<(usize, Group<'a>, bool)>) -> Result<(), ResolveError> {
        let universe = self.universe;
        let entry = universe.entry(at);
        let mut fields = vec![("Pre-Depends", entry.pre_depends, true), ("Depends", entry.depends, true)];
        if self.options.recommends {
            fields.push(("Recommends", entry.recommends, false));
        }
        for (name, text, must) in fields {
            for group in parse(entry, name, text)? {
                let mut all = group.iter().flat_map(|a| universe.candidates(at, self.native, a));
                match (all.next(), all.next()) {
                    (Some(only), None) => {
                        let relation = relation::group_text(&group);
                        self.choose(only, Why::Needed { by: at, relation });
                    }
                    _ => open.push_back((at, group, must)),
                }
            }
        }
        Ok(())
    }

    fn decide(&mut self, by: usize, group: &[Atom<'a>], must: bool) -> Result<(), ResolveError> {
        let mut first = None;
        for atom in group {
            for at in self.universe.candidates(by, self.native, atom) {
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
        let found = group.iter().find_map(|a| universe.find(self.arch, a.name)).map(|at| {
            let e = universe.entry(at);
            format!("{} {}", e.name, e.version)
        });
        let mut chain = universe.chain(&self.why, self.role, by);
        chain.push(wanted.clone());
        let suggestions = group.first().map(|a| universe.suggest(self.arch, a.name)).unwrap_or_default();
        ResolveError::Unsatisfied { role: self.role.to_owned(), wanted, found, chain, suggestions }
    }

    /// Conflicts and Breaks within the closure: an error between two roots, otherwise a note.
    fn conflicts(&self) -> Result<Vec<String>, ResolveError> {
        let mut notes = BTreeSet::new();
        for &at in &self.chosen {
            let entry = self.universe.entry(at);
            for (field, text) in [("Conflicts", entry.conflicts), ("Breaks", entry.breaks)] {
                for atom in parse(entry, field, text)?.iter().flatten() {
                    for other in self.universe.candidates(at, self.native, atom) {
                        let Some(why) = self.why.get(&other).filter(|_| other != at) else { continue };
                        let relation = format!("{field}: {atom}");
                        let (a, b) = (entry.name.to_owned(), self.universe.entry(other).name.to_owned());
                        if *why == Why::Root && self.why.get(&at) == Some(&Why::Root) {
                            return Err(ResolveError::Conflict { role: self.role.to_owned(), a, b, relation });
                        }
                        notes.insert(format!("role {}: {a} conflicts with {b} ({relation})", self.role));
                    }
                }
            }
        }
        Ok(notes.into_iter().collect())
    }
}
