//! The list of machines and nodes: searched, sorted and paged by the database. The table `fleet` is derived
//! (`derived.rs`), so that a page reads its own rows and nothing else.

use std::net::IpAddr;

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::events::EventKind;
use cluster_seed::fleet::{Field, PAGE, Query, Sort, Stage, Term};
use cluster_seed::ids::{EnrollmentId, Mac};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension as _, Row, params, params_from_iter};

use super::events::EventRow;
use super::{StoreError, Tx, parsed};

/// Most groups of failures, and most machines of a selection.
pub const MAX_GROUPS: u32 = 5;
pub const MAX_CHOSEN: usize = 200;

/// A row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetRecord {
    pub machine: i64,
    /// The enrollment that makes it a node, or else its newest one.
    pub enrollment: Option<EnrollmentId>,
    pub member: bool,
    pub state: Option<EnrollmentState>,
    pub stage: Stage,
    /// Name, or else serial number, or else MAC address.
    pub title: String,
    /// Empty, as the next ones, if there is none.
    pub name: String,
    pub role: String,
    pub serial: String,
    pub model: String,
    pub place: String,
    pub mac: Mac,
    pub ip: Option<IpAddr>,
    /// On the control plane.
    pub address: Option<IpAddr>,
    pub labels: Vec<String>,
    /// Unix seconds of its last message.
    pub heard: u64,
}

/// A page of the list.
#[derive(Debug, Clone, Default)]
pub struct FleetPage {
    pub rows: Vec<FleetRecord>,
    /// Rows on all pages.
    pub total: u32,
    /// How many of each stage the search found, whatever stage was asked for.
    pub counts: Vec<(Stage, u32)>,
}

const COLUMNS: &str =
    "machine, enrollment, member, state, stage, title, name, role, serial, model, place, mac, ip, address, labels, heard";

fn record(r: &Row<'_>) -> Result<FleetRecord, StoreError> {
    let text = |i: usize| r.get::<_, String>(i);
    let maybe = |i: usize| r.get::<_, Option<String>>(i);
    let address = |i: usize, what| text(i).map(|t| (!t.is_empty()).then(|| parsed(&t, what)).transpose());
    Ok(FleetRecord {
        machine: r.get(0)?,
        enrollment: maybe(1)?.map(|t| parsed(&t, "fleet.enrollment")).transpose()?,
        member: r.get(2)?,
        state: maybe(3)?.map(|t| parsed(&t, "fleet.state")).transpose()?,
        stage: parsed(&text(4)?, "fleet.stage")?,
        title: text(5)?,
        name: text(6)?,
        role: text(7)?,
        serial: text(8)?,
        model: text(9)?,
        place: text(10)?,
        mac: parsed(&text(11)?, "fleet.mac")?,
        ip: address(12, "fleet.ip")??,
        address: address(13, "fleet.address")??,
        labels: labels(&text(14)?)?,
        heard: r.get(15)?,
    })
}

pub(super) fn labels(json: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(json).map_err(|_| StoreError::Corrupt { what: "machine_note.labels" })
}

/// Conditions and their values. No text of a search is ever part of a statement.
#[derive(Default)]
struct Where {
    sql: String,
    values: Vec<Value>,
}

impl Where {
    fn and(&mut self, condition: &str, values: &[&str]) {
        self.sql.push_str(if self.sql.is_empty() { " WHERE " } else { " AND " });
        self.sql.push_str(condition);
        self.values.extend(values.iter().map(|v| Value::Text((*v).to_owned())));
    }

    fn of(terms: &[Term]) -> Self {
        let mut all = Where::default();
        for term in terms {
            match term {
                Term::Word(word) => all.and("instr(words, ?) > 0", &[word]),
                Term::In(field, v) => match field {
                    Field::Serial => all.and("instr(lower(serial), ?) > 0", &[v]),
                    Field::Name => all.and("instr(name, ?) > 0", &[v]),
                    Field::Model => all.and("instr(lower(model), ?) > 0", &[v]),
                    Field::Place => all.and("instr(lower(place), ?) > 0", &[v]),
                    Field::Mac => all.and("instr(mac, ?) > 0", &[v]),
                    Field::Role => all.and("lower(role) = ?", &[v]),
                    Field::Ip => all.and("(instr(ip, ?) = 1 OR instr(address, ?) = 1)", &[v, v]),
                    Field::State => all.and("(stage = ? OR lower(coalesce(state, 'seen')) = ?)", &[v, v]),
                    Field::Label => all.and("EXISTS (SELECT 1 FROM json_each(labels) l WHERE lower(l.value) = ?)", &[v]),
                },
            }
        }
        all
    }
}

fn order(query: &Query) -> String {
    let (column, then) = match query.sort {
        Sort::State => ("rank", "title"),
        Sort::Name => ("title", ""),
        Sort::Role => ("role", "title"),
        Sort::Model => ("model", "title"),
        Sort::Serial => ("serial", "title"),
        // As numbers; what has no address comes last.
        Sort::Address => ("host IS NULL, host", "ip"),
        Sort::Place => ("place", "title"),
        Sort::Heard => ("heard", ""),
    };
    let direction = if query.descending { " DESC" } else { "" };
    let then = if then.is_empty() { String::new() } else { format!("{then}{direction}, ") };
    format!(" ORDER BY {column}{direction}, {then}machine{direction}")
}

/// The statement of a page, and its values.
fn page_of(query: &Query) -> (String, Vec<Value>) {
    let mut found = Where::of(&query.terms);
    if let Some(stage) = query.stage {
        found.and("stage = ?", &[stage.as_str()]);
    }
    found.values.extend([Value::from(i64::from(PAGE)), Value::from(i64::from(query.page) * i64::from(PAGE))]);
    (format!("SELECT {COLUMNS} FROM fleet{}{} LIMIT ? OFFSET ?", found.sql, order(query)), found.values)
}

impl Tx<'_> {
    /// The rows of one page, with the counts of the whole search.
    pub fn fleet_page(&self, query: &Query) -> Result<FleetPage, StoreError> {
        let (sql, values) = page_of(query);
        let rows = self.fleet_where(&sql, values)?;
        let counts = self.fleet_counts(&query.terms)?;
        let of = |stage: &Stage| query.stage.is_none_or(|s| s == *stage);
        let total = counts.iter().filter(|(stage, _)| of(stage)).map(|(_, n)| n).sum();
        Ok(FleetPage { rows, total, counts })
    }

    /// How many machines of each stage a search finds; only stages that occur.
    pub fn fleet_counts(&self, terms: &[Term]) -> Result<Vec<(Stage, u32)>, StoreError> {
        let found = Where::of(terms);
        let mut q = self.tx.prepare_cached(&format!("SELECT stage, count(*) FROM fleet{} GROUP BY stage", found.sql))?;
        let rows = q.query_map(params_from_iter(found.values), |r| Ok((r.get::<_, String>(0)?, r.get(1)?)))?;
        rows.map(|row| row.map_err(StoreError::from).and_then(|(stage, n)| Ok((parsed(&stage, "fleet.stage")?, n)))).collect()
    }

    /// These machines, in the order in which they are named; unknown ones are left out, and all beyond [`MAX_CHOSEN`].
    pub fn fleet_of(&self, ids: &[i64]) -> Result<Vec<FleetRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM fleet WHERE machine = ?1");
        let mut q = self.tx.prepare_cached(&sql)?;
        let mut all = Vec::new();
        for id in ids.iter().take(MAX_CHOSEN) {
            all.extend(q.query_row([id], |r| Ok(record(r))).optional()?.transpose()?);
        }
        Ok(all)
    }

    /// Machines of a stage, those longest in it first.
    pub fn fleet_oldest(&self, stage: Stage, limit: u32) -> Result<Vec<(FleetRecord, u64)>, StoreError> {
        let sql = format!("SELECT {COLUMNS}, since FROM fleet WHERE stage = ?1 ORDER BY since, machine LIMIT ?2");
        let mut q = self.tx.prepare_cached(&sql)?;
        let rows = q.query_map(params![stage.as_str(), limit], |r| Ok((record(r), r.get(16)?)))?;
        rows.map(|row| row.map_err(StoreError::from).and_then(|(record, since)| Ok((record?, since)))).collect()
    }

    /// Why machines failed, the most frequent reason first, at most [`MAX_GROUPS`].
    pub fn fleet_failures(&self) -> Result<Vec<(String, u32)>, StoreError> {
        let sql =
            "SELECT reason, count(*) AS n FROM fleet WHERE stage = 'failed' GROUP BY reason ORDER BY n DESC, reason LIMIT ?1";
        let mut q = self.tx.prepare_cached(sql)?;
        let rows = q.query_map([MAX_GROUPS], |r| Ok((r.get(0)?, r.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The titles of these machines.
    pub fn fleet_title(&self, id: i64) -> Result<Option<String>, StoreError> {
        Ok(self.tx.prepare_cached("SELECT title FROM fleet WHERE machine = ?1")?.query_row([id], |r| r.get(0)).optional()?)
    }

    /// Names of some nodes whose certificates were issued before this time, in Unix seconds, and how many there are.
    pub fn old_certificates(&self, before: u64, limit: u32) -> Result<(Vec<String>, u32), StoreError> {
        let old = "FROM node WHERE revoked IS NULL AND converge IS NOT NULL AND json_extract(converge, '$.bundle.issued') < ?1";
        let mut q = self.tx.prepare_cached(&format!("SELECT hostname {old} ORDER BY hostname LIMIT ?2"))?;
        let names: Vec<String> = q.query_map(params![before, limit], |r| r.get(0))?.collect::<Result<_, _>>()?;
        let count = self.tx.query_row(&format!("SELECT count(*) {old}"), [before], |r| r.get(0))?;
        Ok((names, count))
    }

    /// The newest events that matter (`EventKind::matters`), newest first, of the last `window` rows of the log.
    pub fn newest_that_matter(&self, limit: usize, window: i64) -> Result<Vec<EventRow>, StoreError> {
        let floor = self.last_event()?.saturating_sub(window);
        let kinds = EventKind::ALL.iter().filter(|k| k.matters()).map(|k| format!("'{}'", k.as_str()));
        // Backwards along the rows: an index by kind would sort all of them.
        let sql = format!(
            "SELECT id, at, kind, text, machine, actor, facts FROM event WHERE id > ?1 AND +kind IN ({})
             ORDER BY id DESC LIMIT ?2",
            kinds.collect::<Vec<_>>().join(",")
        );
        self.event_views(&sql, floor, u32::try_from(limit).unwrap_or(u32::MAX))
    }

    fn fleet_where(&self, sql: &str, values: Vec<Value>) -> Result<Vec<FleetRecord>, StoreError> {
        let mut q = self.tx.prepare_cached(sql)?;
        let mut rows = q.query(params_from_iter(values))?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(record(row)?);
        }
        Ok(all)
    }
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
