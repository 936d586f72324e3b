//! The closure of a role's packages: everything `apt install` would need, and why it is needed.
//!
//! One version of each name is a candidate, the newest of all suites, as apt would choose without pins.

mod universe;
mod walk;

use std::collections::HashMap;

use crate::relation::RelationError;

pub use universe::Universe;

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

/// The closure of one role on one architecture: indexes into the universe, each with its reason, in the order they were
/// chosen.
#[derive(Debug)]
pub struct Closure {
    pub role: String,
    pub arch: String,
    pub chosen: Vec<usize>,
    pub why: HashMap<usize, Why>,
    /// Pairs in it that exclude each other without both being roots: apt will choose another way or remove one.
    pub conflicts: Vec<String>,
    /// Roots that this architecture does not have, one line each.
    pub notes: Vec<String>,
}

/// What is asked for besides Depends and Pre-Depends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    pub recommends: bool,
}

/// Union of several closures: universe indexes, each once, in ascending order.
pub fn union(closures: &[Closure]) -> Vec<usize> {
    let mut all: Vec<usize> = closures.iter().flat_map(|c| &c.chosen).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}
