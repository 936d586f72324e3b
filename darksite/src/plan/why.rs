//! Why each package is in a plan.

use std::collections::{BTreeMap, HashMap};

use crate::format::lock::{LockedPackage, SnapshotLock};
use crate::plan::resolve::{Closure, Why};

/// The reasons of one role's closure, by index into the lock.
#[derive(Debug, Clone)]
pub(crate) struct RoleWhy {
    /// With the architecture, if there are several.
    pub role: String,
    reasons: HashMap<usize, Reason>,
}

#[derive(Debug, Clone)]
enum Reason {
    Base,
    Root,
    Needed { by: usize, relation: String },
}

impl RoleWhy {
    /// Follows packages that moved in the lock, from index `n` to `moved[n]`.
    pub fn renumber(&mut self, moved: &[usize]) {
        let place = |at: usize| moved.get(at).copied().unwrap_or(at);
        let old = std::mem::take(&mut self.reasons);
        self.reasons = old
            .into_iter()
            .map(|(at, reason)| match reason {
                Reason::Needed { by, relation } => (place(at), Reason::Needed { by: place(by), relation }),
                other => (place(at), other),
            })
            .collect();
    }

    /// From the role to the package: names, with the relation if it says more than the name.
    pub fn chain(&self, lock: &SnapshotLock, mut at: usize) -> Option<Vec<String>> {
        let mut chain = Vec::new();
        // This ends: each reason was chosen before the package that it explains.
        loop {
            let name = lock.packages.get(at)?.name.as_str();
            match self.reasons.get(&at)? {
                Reason::Needed { by, relation } => {
                    chain.push(if relation == name { name.to_owned() } else { format!("{name} ({relation})") });
                    at = *by;
                }
                Reason::Base => {
                    chain.extend([name.to_owned(), "the base system".to_owned()]);
                    break;
                }
                Reason::Root => {
                    chain.extend([name.to_owned(), format!("role {}", self.role)]);
                    break;
                }
            }
        }
        chain.reverse();
        Some(chain)
    }
}

/// Packages of a name, each with the dependency chain of every role that needs it.
pub(crate) fn why<'l>(
    lock: &'l SnapshotLock,
    all: &[RoleWhy],
    name: &str,
) -> Vec<(&'l LockedPackage, BTreeMap<String, Vec<String>>)> {
    let named = lock.packages.iter().enumerate().filter(|(_, p)| p.name == name);
    let chains = |at: usize| all.iter().filter_map(|w| Some((w.role.clone(), w.chain(lock, at)?))).collect();
    named.map(|(at, package)| (package, chains(at))).collect()
}

/// The reasons of a closure. `place` maps its indexes to those of the lock; `several` is true for several architectures.
pub(crate) fn role_why(closure: &Closure, place: &HashMap<usize, usize>, several: bool) -> RoleWhy {
    let reason = |why: &Why| match why {
        Why::Base => Some(Reason::Base),
        Why::Root => Some(Reason::Root),
        Why::Needed { by, relation } => Some(Reason::Needed { by: *place.get(by)?, relation: relation.clone() }),
    };
    let reasons = closure.why.iter().filter_map(|(at, why)| Some((*place.get(at)?, reason(why)?))).collect();
    let role = if several { format!("{} ({})", closure.role, closure.arch) } else { closure.role.clone() };
    RoleWhy { role, reasons }
}
