//! A row of a plan, what cannot be right in one, and the limits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::disk::DiskWish;
use crate::fleet::{Label, MAX_PLACE};
use crate::ids::Mac;

/// Most rows of a plan.
pub const MAX_ROWS: usize = 10_000;
/// Most labels of a row.
pub const MAX_LABELS: usize = 16;

/// One machine of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanRow {
    /// Line of the text that it was read from, 1-based.
    pub line: u64,
    /// As the firmware tells it; empty if the row names a MAC address only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub serial: String,
    /// Of any card of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Host name label.
    pub name: String,
    pub role: String,
    #[serde(default, skip_serializing_if = "DiskWish::is_default")]
    pub disk: DiskWish,
    /// Where it stands, in the operator's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl PlanRow {
    /// Its place as a machine carries it. Plans of earlier versions may have a longer one.
    pub fn machine_place(&self) -> String {
        self.place.chars().take(MAX_PLACE).collect()
    }

    /// Its labels as a machine carries them: `key=value`, or the key alone where the value is empty. What is no label of a machine is
    /// left out: plans of earlier versions may have some.
    pub fn machine_labels(&self) -> Vec<Label> {
        self.labels.iter().filter_map(|(key, value)| machine_label(key, value)).collect()
    }
}

pub(super) fn machine_label(key: &str, value: &str) -> Option<Label> {
    if value.is_empty() { key.parse().ok() } else { format!("{key}={value}").parse().ok() }
}

/// Something in a plan that cannot be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// 1-based; 0 if it concerns the text as a whole.
    pub line: u64,
    pub message: String,
    /// What to write instead; may be empty.
    pub hint: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

pub(super) fn whole(message: String, hint: &str) -> Problem {
    Problem { line: 0, message, hint: hint.to_owned() }
}
