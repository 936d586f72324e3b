//! What the form of an approval is filled in with, and where that comes from.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::disk::DiskWish;
use super::matching::{Difference, Plan};
use super::rules::EnrollRule;
use crate::ids::Mac;
use crate::join::pattern::NamePattern;
use crate::machine::HardwareFacts;

/// Where a suggestion comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "from")]
pub enum Source {
    Plan {
        line: u64,
    },
    Rule {
        number: usize,
    },
    /// The external inventory.
    Inventory,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Plan { line } => write!(f, "by line {line} of the plan"),
            Source::Rule { number } => write!(f, "by rule {number}"),
            Source::Inventory => f.write_str("by the inventory"),
        }
    }
}

/// Values for a machine. Nothing is decided by them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    pub source: Source,
    /// Host name label.
    pub name: Option<String>,
    pub role: Option<String>,
    pub disk: Option<DiskWish>,
    pub place: String,
    pub labels: BTreeMap<String, String>,
    /// In what the machine is not the one of its row.
    pub differs: Vec<Difference>,
}

impl Suggestion {
    /// True if the plan names this machine and nothing contradicts: then its code is enough.
    pub fn is_planned(&self) -> bool {
        matches!(self.source, Source::Plan { .. }) && self.differs.is_empty()
    }
}

/// By the row of the plan, else by the first rule that fits. `free` gives the first name of a pattern that nobody has.
pub fn suggest(
    plan: &Plan,
    rules: &[EnrollRule],
    facts: &HardwareFacts,
    mac: Mac,
    free: &dyn Fn(&NamePattern) -> Option<String>,
) -> Option<Suggestion> {
    if let Some(found) = plan.find(facts, mac) {
        let row = found.row;
        return Some(Suggestion {
            source: Source::Plan { line: row.line },
            name: Some(row.name.clone()),
            role: Some(row.role.clone()),
            disk: Some(row.disk.clone()),
            place: row.place.clone(),
            labels: row.labels.clone(),
            differs: found.differs,
        });
    }
    let (number, rule) = (1..).zip(rules).find(|(_, rule)| rule.matches.fits(facts))?;
    Some(Suggestion {
        source: Source::Rule { number },
        name: rule.name.as_ref().and_then(free),
        role: rule.role.as_ref().map(|r| r.value.clone()),
        disk: rule.disk.clone(),
        place: String::new(),
        labels: BTreeMap::new(),
        differs: Vec::new(),
    })
}
