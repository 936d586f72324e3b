//! Searching the event log: filters, pages by number, one event with its place in the chain, and parts for an export.
//!
//! A search reads a bounded number of rows, whatever it looks for; the answer says how far it came, and the next search goes on
//! from there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::types::Value;
use rusqlite::{OptionalExtension as _, Row, params};

use super::events::EventRow;
use super::log::ChainedRow;
use super::{StoreError, Tx};

/// Most rows that one search reads.
pub const MAX_READ: u32 = 20_000;
/// Most words of a search, and most characters of each that count.
pub const MAX_WORDS: usize = 8;
pub const MAX_WORD: usize = 100;

/// The part of a kind before its first dot, as the index `event_family` has it.
const FAMILY: &str = "substr(kind, 1, instr(kind || '.', '.') - 1)";

/// What to look for; every part that is given has to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// A kind (`login.failed`), or a family of kinds (`login`), which is every kind that is the word or begins with it and a dot.
    pub kind: Option<String>,
    /// Exactly.
    pub actor: Option<String>,
    pub machine: Option<i64>,
    /// In lower case. Each is part of the text, the kind, the actor or the facts.
    pub words: Vec<String>,
    /// Unix milliseconds, both included.
    pub since: Option<u64>,
    pub until: Option<u64>,
}

/// A page of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRows<T> {
    pub rows: Vec<T>,
    /// Rows of the log that were read for it.
    pub read: u32,
    /// Where the next search goes on; `None` if there is nothing more.
    pub next: Option<i64>,
}

/// One event and its neighbours in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditDetail {
    pub row: ChainedRow,
    /// Hash of the row before, which this row's hash covers; empty for the first event.
    pub previous_hash: String,
    pub previous: Option<i64>,
    pub next: Option<i64>,
}

/// Which way a search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From the newest to the oldest.
    Back,
    Forth,
}

impl AuditFilter {
    /// The index that reads the fewest rows, the condition on it, and its value.
    fn source(&self) -> (&'static str, String, Value) {
        match (&self.machine, &self.actor, &self.kind) {
            (Some(machine), ..) => (" INDEXED BY event_machine", "machine = ?3".to_owned(), (*machine).into()),
            (_, Some(actor), _) => (" INDEXED BY event_actor", "actor = ?3".to_owned(), actor.clone().into()),
            (.., Some(kind)) if kind.contains('.') => (" INDEXED BY event_kind", "kind = ?3".to_owned(), kind.clone().into()),
            (.., Some(kind)) => (" INDEXED BY event_family", format!("{FAMILY} = ?3"), kind.clone().into()),
            _ => ("", "?3 IS NULL".to_owned(), Value::Null),
        }
    }

    /// A search between the numbers ?1 and ?2, of at most ?4 rows, and the value for ?3.
    fn statement(&self, order: &str) -> (String, Value) {
        let (index, condition, value) = self.source();
        let sql = format!(
            "SELECT id, at, kind, text, machine, enrollment, actor, facts, hash FROM event{index}
             WHERE {condition} AND id BETWEEN ?1 AND ?2 ORDER BY id {order} LIMIT ?4"
        );
        (sql, value)
    }

    fn fits(&self, row: &ChainedRow) -> bool {
        let of_kind = |kind: &str| row.kind == kind || row.kind.strip_prefix(kind).is_some_and(|rest| rest.starts_with('.'));
        self.machine.is_none_or(|m| row.machine == Some(m))
            && self.actor.as_ref().is_none_or(|a| row.actor.as_ref() == Some(a))
            && self.kind.as_deref().is_none_or(of_kind)
            && self.since.is_none_or(|t| row.at >= t)
            && self.until.is_none_or(|t| row.at <= t)
            && self.has_words(row)
    }

    fn has_words(&self, row: &ChainedRow) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let optional = |text: &Option<String>| text.as_deref().unwrap_or_default().to_lowercase();
        let text = [row.text.to_lowercase(), row.kind.clone(), optional(&row.actor), optional(&row.facts)].join("\n");
        self.words.iter().all(|word| text.contains(word.as_str()))
    }
}

fn chained(r: &Row<'_>) -> rusqlite::Result<ChainedRow> {
    let (id, at, kind, text) = (r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?);
    let (machine, enrollment, actor) = (r.get(4)?, r.get(5)?, r.get(6)?);
    Ok(ChainedRow { id, at, kind, text, machine, enrollment, actor, facts: r.get(7)?, hash: r.get(8)? })
}

/// Facts of a newer program that cannot be parsed are left out; they are not an error.
fn shown(row: ChainedRow) -> EventRow {
    let ChainedRow { id, at, kind, text, machine, actor, facts, .. } = row;
    EventRow { id, at, kind, text, machine, actor, facts: facts.and_then(|f| serde_json::from_str(&f).ok()) }
}

impl Tx<'_> {
    /// The newest events that fit, with numbers below `before`, newest first.
    pub fn audit_page(&self, filter: &AuditFilter, before: Option<i64>, limit: u32) -> Result<AuditRows<EventRow>, StoreError> {
        let found = self.search(filter, Way::Back, before.unwrap_or(i64::MAX), limit)?;
        Ok(AuditRows { rows: found.rows.into_iter().map(shown).collect(), read: found.read, next: found.next })
    }

    /// The oldest events that fit, with numbers above `after`, oldest first, with everything that their hashes cover.
    pub fn audit_rows(&self, filter: &AuditFilter, after: i64, limit: u32) -> Result<AuditRows<ChainedRow>, StoreError> {
        self.search(filter, Way::Forth, after, limit)
    }

    fn search(&self, filter: &AuditFilter, way: Way, from: i64, limit: u32) -> Result<AuditRows<ChainedRow>, StoreError> {
        let (low, high) = self.numbers(filter)?;
        let (low, high, order) = match way {
            Way::Back => (low, high.min(from.saturating_sub(1)), "DESC"),
            Way::Forth => (low.max(from.saturating_add(1)), high, "ASC"),
        };
        let (sql, value) = filter.statement(order);
        let mut q = self.tx.prepare_cached(&sql)?;
        let mut rows = q.query(params![low, high, value, i64::from(MAX_READ) + 1])?;
        let mut found = AuditRows { rows: Vec::new(), read: 0, next: None };
        let (wanted, mut last) = (limit.max(1) as usize, from);
        while let Some(r) = rows.next()? {
            if found.rows.len() == wanted || found.read == MAX_READ {
                found.next = Some(last);
                break;
            }
            let row = chained(r)?;
            (found.read, last) = (found.read + 1, row.id);
            if filter.fits(&row) {
                found.rows.push(row);
            }
        }
        Ok(found)
    }

    /// The numbers between which all events of the filter's time are. The clock may have been set back, so an event with a
    /// higher number may be older.
    fn numbers(&self, filter: &AuditFilter) -> Result<(i64, i64), StoreError> {
        let number = |sql: &str, at: u64| -> Result<Option<i64>, StoreError> {
            let at = i64::try_from(at).unwrap_or(i64::MAX);
            Ok(self.tx.prepare_cached(sql)?.query_row([at], |r| r.get(0))?)
        };
        // The plus keeps SQLite from walking through the table by number instead of through the index by time.
        let low = match filter.since {
            Some(at) => number("SELECT min(+id) FROM event INDEXED BY event_at WHERE at >= ?1", at)?.unwrap_or(i64::MAX),
            None => 0,
        };
        let high = match filter.until {
            Some(at) => number("SELECT max(+id) FROM event INDEXED BY event_at WHERE at <= ?1", at)?.unwrap_or(0),
            None => i64::MAX,
        };
        Ok((low, high))
    }

    /// One event with its hash and that of the row before.
    pub fn audit_event(&self, id: i64) -> Result<AuditDetail, StoreError> {
        let sql = "SELECT id, at, kind, text, machine, enrollment, actor, facts, hash FROM event WHERE id = ?1";
        let row = self.tx.query_row(sql, [id], chained).optional()?.ok_or(StoreError::NotFound("event"))?;
        let before = "SELECT id, hash FROM event WHERE id < ?1 ORDER BY id DESC LIMIT 1";
        let before: Option<(i64, String)> = self.tx.query_row(before, [id], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
        let after = "SELECT id FROM event WHERE id > ?1 ORDER BY id LIMIT 1";
        let next = self.tx.query_row(after, [id], |r| r.get(0)).optional()?;
        let (previous, previous_hash) = match before {
            Some((id, hash)) => (Some(id), hash),
            // Rows before it were deleted, or it is the first.
            None => (None, self.first_link()?.hash),
        };
        Ok(AuditDetail { row, previous_hash, previous, next })
    }

    /// Names of machines: host name of the node that one is or was last, else MAC address. Deleted machines have none.
    pub fn names_of(&self, ids: impl Iterator<Item = i64>) -> Result<BTreeMap<i64, String>, StoreError> {
        let mut q = self.tx.prepare_cached(
            "SELECT coalesce((SELECT hostname FROM enrollment JOIN node ON node.enrollment = enrollment.id
               WHERE enrollment.machine = machine.id ORDER BY revoked IS NULL DESC, enrollment.created DESC LIMIT 1), mac)
             FROM machine WHERE id = ?1",
        )?;
        let mut names = BTreeMap::new();
        for id in ids {
            if let Entry::Vacant(place) = names.entry(id)
                && let Some(name) = q.query_row([id], |r| r.get::<_, String>(0)).optional()?
            {
                place.insert(name);
            }
        }
        Ok(names)
    }

    /// The machine that is, or was last, the node of this name.
    pub fn machine_of_host(&self, hostname: &str) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT machine FROM node JOIN enrollment ON enrollment.id = node.enrollment WHERE hostname = ?1
                   ORDER BY revoked IS NULL DESC, enrollment.created DESC LIMIT 1";
        Ok(self.tx.query_row(sql, [hostname], |r| r.get(0)).optional()?)
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
