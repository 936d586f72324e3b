//! The closure of a role's packages: everything that `apt install` would need, and why.
//!
//! The newest version of each name in all suites is the only candidate, as for apt without pins.

mod universe;
mod walk;

use std::collections::{BTreeMap, HashMap};

use crate::format::relation::RelationError;

pub use universe::Universe;

/// Packages in one closure; all of Debian main is about 70,000.
pub const MAX_CLOSURE: usize = 200_000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("role {role}: package {name} not found{}", near(.suggestions))]
    NoRoot { role: String, name: String, suggestions: Vec<String> },
    #[error("role {role}: no package satisfies {wanted}{}; dependency chain: {}", available(.found), .chain.join(" -> "))]
    Unsatisfied { role: String, wanted: String, found: Option<String>, chain: Vec<String>, suggestions: Vec<String> },
    #[error("parsing field {field} of package {package}")]
    Relation {
        package: String,
        field: &'static str,
        #[source]
        source: RelationError,
    },
    #[error("role {role}: packages {a} and {b} conflict ({relation})")]
    Conflict { role: String, a: String, b: String, relation: String },
    #[error("the closure has more than {MAX_CLOSURE} packages")]
    TooMany,
}

fn near(suggestions: &[String]) -> String {
    if suggestions.is_empty() { String::new() } else { format!(" (did you mean {}?)", suggestions.join(", ")) }
}

fn available(found: &Option<String>) -> String {
    found.as_ref().map(|v| format!(" (available: {v})")).unwrap_or_default()
}

/// Why a package is in the closure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Part of every system: Essential, Priority required, or apt.
    Base,
    /// Named by the role.
    Root,
    /// A dependency of another package, with the text of the relation.
    Needed { by: usize, relation: String },
}

/// The closure of one role on one architecture: indexes into the universe in the order they were chosen, and the reason
/// of each.
#[derive(Debug)]
pub struct Closure {
    pub role: String,
    pub arch: String,
    pub chosen: Vec<usize>,
    pub why: HashMap<usize, Why>,
    /// Conflicting pairs that are not both roots, one line each: apt will choose another package or remove one.
    pub conflicts: Vec<String>,
    /// Roots that this architecture lacks, one line each.
    pub notes: Vec<String>,
}

/// What to follow besides Depends and Pre-Depends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    pub recommends: bool,
}

/// Union of several closures: indexes into the universe, sorted.
pub fn union(closures: &[Closure]) -> Vec<usize> {
    let mut all: Vec<usize> = closures.iter().flat_map(|c| &c.chosen).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The closure of every role on every architecture.
pub(crate) fn closures(
    roots: &BTreeMap<String, Vec<String>>,
    architectures: &[String],
    recommends: bool,
    universe: &Universe<'_>,
) -> Result<Vec<Closure>, ResolveError> {
    let options = Options { recommends };
    let mut all = Vec::new();
    for (role, roots) in roots {
        for arch in architectures {
            all.push(universe.closure(role, arch, roots, options)?);
        }
    }
    Ok(all)
}
