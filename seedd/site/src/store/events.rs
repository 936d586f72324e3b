//! The append-only, hash-chained event log. It is the audit log, the boot flight recorder and the source of the live pages.

use cluster_seed::events::{Cause, EventKind};
use cluster_seed::ids::{Digest, EnrollmentId};
use rusqlite::{OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::{StoreError, Tx};

/// Longest text of an event, in bytes.
pub const MAX_TEXT: usize = 600;

/// A row of the log as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    pub id: i64,
    /// Unix milliseconds.
    pub at: u64,
    /// For example `dhcp.discover`, `enrollment.pending`, `install.progress`, `login.failed`.
    pub kind: String,
    /// Text for people.
    pub text: String,
    pub machine: Option<i64>,
    pub actor: Option<String>,
    pub facts: Option<PacketFacts>,
}

/// Facts of a packet that the event log stores: the JSON of the column `facts`. Texts come from the network: printable, bounded,
/// untrusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PacketFacts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iface: Option<String>,
    /// The DHCP transaction, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ipxe: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<std::net::Ipv4Addr>,
    /// Another DHCP server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<std::net::Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Stable name of the reason, if there was no answer or a negative one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The same reason, if a diagnosis rule uses it. A word of a later version is read as [`Cause::Other`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Number of further events of this kind that this row represents, the last of them at `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
}

/// An event to be written.
#[derive(Debug, Clone)]
pub struct NewEvent<'a> {
    pub kind: EventKind,
    pub text: &'a str,
    pub machine: Option<i64>,
    pub enrollment: Option<EnrollmentId>,
    pub actor: Option<&'a str>,
    /// Facts of the packet, for network events.
    pub facts: Option<&'a PacketFacts>,
}

impl<'a> NewEvent<'a> {
    /// An event of the seed itself.
    pub fn new(kind: EventKind, text: &'a str) -> Self {
        NewEvent { kind, text, machine: None, enrollment: None, actor: None, facts: None }
    }
}

/// A row as it is stored, for its hash.
struct Row<'a> {
    kind: &'a str,
    text: &'a str,
    machine: Option<i64>,
    enrollment: Option<&'a str>,
    actor: Option<&'a str>,
    /// Without facts, the hash is the same as before facts existed.
    facts: Option<&'a str>,
}

fn chain(previous: &str, at: u64, row: &Row<'_>) -> String {
    let Row { kind, text, machine, enrollment, actor, facts } = *row;
    let machine = machine.map(|i| i.to_string()).unwrap_or_default();
    let (at, enrollment, actor) = (at.to_string(), enrollment.unwrap_or_default(), actor.unwrap_or_default());
    let fields = [previous, &at, kind, text, &machine, enrollment, actor];
    // Length-prefixed, so that different rows never give the same bytes.
    let joined: String = fields.into_iter().chain(facts).map(|f| format!("{}:{f};", f.len())).collect();
    Digest::of(joined.as_bytes()).to_string()
}

/// A row of the chain that is known to be good: its number and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// 0 before the first event.
    pub event: i64,
    /// Empty before the first event.
    pub hash: String,
}

/// What [`Tx::check_chain`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainPart {
    /// The last good row.
    pub link: Link,
    /// Good rows; 0 at the end of the log.
    pub rows: u32,
    /// The first row that does not fit.
    pub broken: Option<i64>,
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Tx<'_> {
    /// Appends; returns the row's id. `at` is in Unix milliseconds.
    pub fn event(&self, at: u64, event: &NewEvent<'_>) -> Result<i64, StoreError> {
        let previous = self.last_hash()?;
        let text = cut(event.text);
        let facts = event.facts.map(serde_json::to_string).transpose().map_err(|_| StoreError::Corrupt { what: "facts" })?;
        let enrollment = event.enrollment.map(|i| i.to_string());
        let (kind, enrollment, facts) = (event.kind.as_str(), enrollment.as_deref(), facts.as_deref());
        let row = Row { kind, text, machine: event.machine, enrollment, actor: event.actor, facts };
        let hash = chain(previous.as_deref().unwrap_or_default(), at, &row);
        self.tx.execute(
            "INSERT INTO event (at, kind, text, machine, enrollment, actor, hash, facts)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![at, kind, text, event.machine, enrollment, event.actor, hash, facts],
        )?;
        Ok(self.tx.last_insert_rowid())
    }

    pub fn events_after(&self, after: i64, limit: u32) -> Result<Vec<EventRow>, StoreError> {
        self.event_views(
            "SELECT id, at, kind, text, machine, actor, facts FROM event WHERE id > ?1 ORDER BY id LIMIT ?2",
            after,
            limit,
        )
    }

    /// The newest `limit` events whose kind begins with `prefix`, newest first.
    pub fn newest_of(&self, prefix: &str, limit: u32) -> Result<Vec<EventRow>, StoreError> {
        self.event_views(
            "SELECT id, at, kind, text, machine, actor, facts FROM event WHERE substr(kind, 1, length(?1)) = ?1
             ORDER BY id DESC LIMIT ?2",
            prefix,
            limit,
        )
    }

    /// The newest `limit` events of a machine, oldest first.
    pub fn timeline(&self, machine: i64, limit: u32) -> Result<Vec<EventRow>, StoreError> {
        self.event_views(
            "SELECT * FROM (SELECT id, at, kind, text, machine, actor, facts FROM event WHERE machine = ?1 ORDER BY id DESC LIMIT ?2)
             ORDER BY id",
            machine,
            limit,
        )
    }

    pub(super) fn event_views(&self, sql: &str, value: impl rusqlite::ToSql, limit: u32) -> Result<Vec<EventRow>, StoreError> {
        let mut q = self.tx.prepare_cached(sql)?;
        let rows = q.query_map(params![value, limit], |r| {
            // Facts of a newer program that cannot be parsed are left out; they are not an error.
            let facts = r.get::<_, Option<String>>(6)?.and_then(|f| serde_json::from_str(&f).ok());
            let (id, at, kind, text) = (r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?);
            Ok(EventRow { id, at, kind, text, machine: r.get(4)?, actor: r.get(5)?, facts })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The hash of the last event, which the next one includes.
    pub fn last_hash(&self) -> Result<Option<String>, StoreError> {
        Ok(self.tx.query_row("SELECT hash FROM event ORDER BY id DESC LIMIT 1", [], |r| r.get(0)).optional()?)
    }

    pub fn last_event(&self) -> Result<i64, StoreError> {
        Ok(self.tx.query_row("SELECT coalesce(max(id), 0) FROM event", [], |r| r.get(0))?)
    }

    /// The id of the first row that breaks the hash chain, if any. Begins behind the checkpoint up to which rows were deleted.
    pub fn broken_event(&self) -> Result<Option<i64>, StoreError> {
        let mut link = self.first_link()?;
        loop {
            let part = self.check_chain(&link, u32::MAX)?;
            if part.broken.is_some() || part.rows == 0 {
                return Ok(part.broken);
            }
            link = part.link;
        }
    }

    /// Where the chain begins: at the first event, or at the checkpoint up to which rows were deleted.
    pub fn first_link(&self) -> Result<Link, StoreError> {
        let (event, hash) = self.log_floor()?;
        Ok(Link { event, hash })
    }

    /// Checks at most `limit` rows after `from`, so that a long log can be checked without holding the database.
    pub fn check_chain(&self, from: &Link, limit: u32) -> Result<ChainPart, StoreError> {
        let mut part = ChainPart { link: from.clone(), rows: 0, broken: None };
        let mut q = self.tx.prepare_cached(
            "SELECT id, at, kind, text, machine, enrollment, actor, hash, facts FROM event WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let mut rows = q.query(params![from.event, limit])?;
        while let Some(r) = rows.next()? {
            let (kind, text): (String, String) = (r.get(2)?, r.get(3)?);
            let (enrollment, actor): (Option<String>, Option<String>) = (r.get(5)?, r.get(6)?);
            let (hash, facts): (String, Option<String>) = (r.get(7)?, r.get(8)?);
            // Kinds as text: rows of other versions have kinds that this one does not know.
            let (enrollment, actor, facts) = (enrollment.as_deref(), actor.as_deref(), facts.as_deref());
            let row = Row { kind: &kind, text: &text, machine: r.get(4)?, enrollment, actor, facts };
            if chain(&part.link.hash, r.get(1)?, &row) != hash {
                part.broken = Some(r.get(0)?);
                return Ok(part);
            }
            part.link = Link { event: r.get(0)?, hash };
            part.rows += 1;
        }
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;

    fn filled() -> Store {
        let store = Store::in_memory().unwrap();
        for text in ["one", "two", "three"] {
            store.write(|tx| tx.event(1, &NewEvent::new(EventKind::SeedStarted, text))).unwrap();
        }
        store
    }

    #[test]
    fn the_log_is_append_only_and_chained() {
        let store = filled();
        assert_eq!(store.read(|tx| tx.broken_event()).unwrap(), None);
        let changed: Result<usize, StoreError> = store.write(|tx| Ok(tx.tx.execute("UPDATE event SET text = 'x'", [])?));
        assert!(changed.is_err());
        let deleted: Result<usize, StoreError> = store.write(|tx| Ok(tx.tx.execute("DELETE FROM event WHERE id = 2", [])?));
        assert!(deleted.is_err());
    }

    #[test]
    fn events_are_found_by_number_kind_and_machine() {
        let store = filled();
        let texts = |found: Vec<EventRow>| found.into_iter().map(|e| e.text).collect::<Vec<_>>();
        assert_eq!(texts(store.read(|tx| tx.events_after(1, 9)).unwrap()), ["two", "three"]);
        assert_eq!(texts(store.read(|tx| tx.newest_of("seed.", 2)).unwrap()), ["three", "two"]);
        assert!(store.read(|tx| tx.newest_of("other", 2)).unwrap().is_empty());
        assert!(store.read(|tx| tx.timeline(1, 9)).unwrap().is_empty());
    }

    #[test]
    fn a_row_changed_behind_our_back_is_found() {
        let store = filled();
        let done: Result<(), StoreError> = store.write(|tx| {
            tx.tx.execute_batch("DROP TRIGGER event_is_append_only; UPDATE event SET text = 'x' WHERE id = 2")?;
            Ok(())
        });
        done.unwrap();
        assert_eq!(store.read(|tx| tx.broken_event()).unwrap(), Some(2));
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(cut(&"é".repeat(MAX_TEXT)).len(), MAX_TEXT);
        assert_eq!(cut(&format!("a{}", "é".repeat(MAX_TEXT))).len(), MAX_TEXT - 1);
    }
}
