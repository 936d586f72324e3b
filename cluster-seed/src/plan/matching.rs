//! A plan: its rows, and which one belongs to a machine.

use std::collections::{BTreeMap, BTreeSet};

use super::read::{self, MAX_PROBLEMS};
use super::row::{MAX_ROWS, PlanRow, Problem, whole};
use crate::ids::Mac;
use crate::machine::HardwareFacts;

/// A plan without contradictions in itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    rows: Vec<PlanRow>,
    by_serial: BTreeMap<String, usize>,
    by_mac: BTreeMap<Mac, usize>,
}

/// Vendors print serial numbers in upper case, people type them in any.
fn serial_key(serial: &str) -> String {
    serial.trim().to_ascii_uppercase()
}

impl Plan {
    /// Reads CSV or YAML. Every problem is told, up to [`MAX_PROBLEMS`].
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        Plan::of(read::rows(text)?)
    }

    /// Refuses a second row for a serial number, a MAC address or a name.
    pub fn of(rows: Vec<PlanRow>) -> Result<Self, Vec<Problem>> {
        let (mut by_serial, mut by_mac) = (BTreeMap::new(), BTreeMap::new());
        let mut names: BTreeMap<&str, u64> = BTreeMap::new();
        let mut problems = Vec::new();
        if rows.len() > MAX_ROWS {
            problems.push(whole(
                format!("the plan has {} rows, more than {MAX_ROWS}", rows.len()),
                "remove rows of machines that are nodes already",
            ));
        }
        for (at, row) in rows.iter().enumerate() {
            let mut twice = |what: &str, value: &str, first: u64| {
                let hint = "one row for each machine".to_owned();
                problems.push(Problem { line: row.line, message: format!("{what} {value} is in line {first} too"), hint });
            };
            let line_of = |at: usize| rows.get(at).map_or(0, |r: &PlanRow| r.line);
            if !row.serial.is_empty()
                && let Some(first) = by_serial.insert(serial_key(&row.serial), at)
            {
                twice("serial number", &row.serial, line_of(first));
            }
            if let Some(mac) = row.mac
                && let Some(first) = by_mac.insert(mac, at)
            {
                twice("MAC address", &mac.to_string(), line_of(first));
            }
            if let Some(first) = names.insert(&row.name, row.line) {
                twice("name", &row.name, first);
            }
        }
        problems.truncate(MAX_PROBLEMS);
        if problems.is_empty() { Ok(Plan { rows, by_serial, by_mac }) } else { Err(problems) }
    }

    pub fn rows(&self) -> &[PlanRow] {
        &self.rows
    }

    pub fn into_rows(self) -> Vec<PlanRow> {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row that names this MAC address: all that is known of a machine before its agent has told its facts.
    pub fn by_mac(&self, mac: Mac) -> Option<&PlanRow> {
        self.by_mac.get(&mac).and_then(|at| self.rows.get(*at))
    }

    /// The row of a machine: that of its serial number, else that of one of its MAC addresses. `mac` is the address that the
    /// seed knows it by.
    pub fn find(&self, facts: &HardwareFacts, mac: Mac) -> Option<Found<'_>> {
        let serial = serial_key(&facts.serial);
        let by_serial = if serial.is_empty() { None } else { self.by_serial.get(&serial).copied() };
        let macs: BTreeSet<Mac> = facts.nics.iter().map(|n| n.mac).chain(facts.boot_mac).chain([mac]).collect();
        let by_mac: BTreeSet<usize> = macs.iter().filter_map(|m| self.by_mac.get(m).copied()).collect();
        let at = by_serial.or_else(|| by_mac.first().copied())?;
        let row = self.rows.get(at)?;
        let mut differs = Vec::new();
        match row.mac {
            Some(planned) if !macs.contains(&planned) => differs.push(Difference::OtherMac { planned }),
            _ => {}
        }
        if !row.serial.is_empty() && serial_key(&row.serial) != serial {
            differs.push(Difference::OtherSerial { planned: row.serial.clone(), found: facts.serial.clone() });
        }
        let others = by_mac.iter().filter(|other| **other != at).filter_map(|other| self.rows.get(*other));
        differs.extend(others.map(|other| Difference::TwoRows { line: other.line, name: other.name.clone() }));
        Some(Found { row, differs })
    }

    /// What contradicts the site: roles that it does not have, and names that nodes have. A row whose machine is the node of
    /// its name is done, and no contradiction; `taken` therefore holds names of other machines' nodes only.
    pub fn against(&self, roles: &BTreeSet<&str>, taken: &dyn Fn(&PlanRow) -> Option<String>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for row in &self.rows {
            let line = row.line;
            if !roles.contains(row.role.as_str()) {
                let hint = format!("roles of cluster.yaml: {}", roles.iter().copied().collect::<Vec<_>>().join(", "));
                problems.push(Problem { line, message: format!("{}: there is no role {:?}", row.name, row.role), hint });
            }
            if let Some(by) = taken(row) {
                let hint = "choose another name, or revoke that node first".to_owned();
                problems.push(Problem { line, message: format!("the name {} is taken: {by}", row.name), hint });
            }
        }
        problems
    }
}

/// A machine's row of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'a> {
    pub row: &'a PlanRow,
    /// In what the machine is not the planned one. With any of these a code alone does not approve it.
    pub differs: Vec<Difference>,
}

/// In what a machine differs from its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The serial number fits, but no card of the machine has the planned MAC address.
    OtherMac { planned: Mac },
    /// A MAC address fits, but the serial number is another one.
    OtherSerial { planned: String, found: String },
    /// The serial number leads to one row, a MAC address to this one.
    TwoRows { line: u64, name: String },
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Difference::OtherMac { planned } => {
                write!(f, "the plan has its serial number with MAC address {planned}, and this machine has no such card")
            }
            Difference::OtherSerial { planned, found } if found.is_empty() => {
                write!(f, "the plan has its MAC address with serial number {planned}, and this machine reports none")
            }
            Difference::OtherSerial { planned, found } => {
                write!(f, "the plan has its MAC address with serial number {planned}, and this machine has {found}")
            }
            Difference::TwoRows { line, name } => {
                write!(f, "one of its MAC addresses belongs to another row of the plan (line {line}, {name})")
            }
        }
    }
}
