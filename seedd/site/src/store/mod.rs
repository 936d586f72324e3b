//! The seed's database. Architecture invariant: only this folder contains SQL.

pub mod admission;
pub mod api_tokens;
pub mod audit;
pub mod converge;
mod derived;
pub mod dump;
pub mod enrollments;
pub mod events;
pub mod fleet;
pub mod held;
pub mod leased;
pub mod leases;
pub mod log;
pub mod machines;
pub mod nodes;
pub mod notes;
pub mod passkeys;
pub mod people;
pub mod rotation;
pub mod silence;
pub mod tallies;
pub mod trouble;
pub mod vault;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::fault::{Fault, FaultKind};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

/// `user_version` of the schema this program writes.
const VERSION: i64 = MIGRATIONS.len() as i64;
/// Migrations from each version to the next, each in one transaction. A released migration is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_event_facts.sql"),
    include_str!("schema_bounds.sql"),
    include_str!("schema_pairing.sql"),
    include_str!("schema_held.sql"),
    include_str!("schema_token.sql"),
    include_str!("schema_converge.sql"),
    include_str!("schema_people.sql"),
    include_str!("schema_fleet.sql"),
    include_str!("schema_trouble.sql"),
    include_str!("schema_audit.sql"),
    include_str!("schema_planes.sql"),
];
/// The version of the schema, for people.
pub const SCHEMA: i64 = VERSION;
/// How long a statement waits for another process (the CLI beside the daemon).
const BUSY: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database was written by a newer version of kubedos (schema {found}, this program supports {VERSION})")]
    Newer { found: i64 },
    #[error("reading or writing the database: {0}")]
    Sql(#[from] rusqlite::Error),
    #[error("the database has an invalid value in {what}")]
    Corrupt { what: &'static str },
    #[error("no such {0}")]
    NotFound(&'static str),
    /// A conditional update changed no row, because another request was first.
    #[error("the {0} was changed by another request")]
    Raced(&'static str),
}

impl Fault for StoreError {
    fn kind(&self) -> FaultKind {
        match self {
            StoreError::NotFound(what) => FaultKind::Missing(what),
            StoreError::Raced(what) => FaultKind::Raced(what),
            _ => FaultKind::Internal,
        }
    }
}

/// One connection behind a lock. Transactions are short, and SQLite allows only one writer anyway.
pub struct Store {
    connection: Mutex<Connection>,
    /// Writes of this process.
    written: AtomicU64,
}

/// Differs if something was written in the meantime, by this process or another; see [`Store::write_quietly`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    own: u64,
    /// SQLite's `data_version`: it changes with the commits of other connections.
    others: i64,
}

impl Store {
    /// Opens or creates the database, and migrates its schema to the current version.
    pub fn open(path: &Utf8Path) -> Result<Self, StoreError> {
        Self::prepare(Connection::open(path)?)
    }

    /// For tests: a database in memory.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(mut connection: Connection) -> Result<Self, StoreError> {
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // A migration may make a table anew that others refer to (https://sqlite.org/lang_altertable.html, section 7).
        connection.pragma_update(None, "foreign_keys", "OFF")?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
        if found > VERSION {
            return Err(StoreError::Newer { found });
        }
        for (step, sql) in (0i64..).zip(MIGRATIONS).skip_while(|(step, _)| *step < found) {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have migrated it in the meantime.
            let now: i64 = tx.pragma_query_value(None, "user_version", |r| r.get(0))?;
            if now == step {
                if step > 0 {
                    // Its triggers and views name columns and tables that a migration may rebuild.
                    derived::remove(&tx)?;
                }
                tx.execute_batch(sql)?;
                let orphans: i64 = tx.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |r| r.get(0))?;
                if orphans > 0 {
                    return Err(StoreError::Corrupt { what: "references between tables" });
                }
                tx.pragma_update(None, "user_version", step + 1)?;
            }
            tx.commit()?;
        }
        derived::ensure(&mut connection)?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        Ok(Store { connection: Mutex::new(connection), written: AtomicU64::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while holding the lock cannot leave a half-done transaction: its drop rolls back.
        self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Runs `work` in one write transaction; it commits only if `work` succeeds.
    pub fn write<T, E: From<StoreError>>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        self.write_quietly(|tx| {
            self.touch();
            work(tx)
        })
    }

    /// Says, within a quiet write, that something was written that others may have kept a copy of.
    pub fn touch(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
    }

    /// Copies of what was read in a transaction hold as long as this stays the same.
    pub fn generation(&self, tx: &Tx<'_>) -> Result<Generation, StoreError> {
        let others = tx.tx.pragma_query_value(None, "data_version", |r| r.get(0))?;
        Ok(Generation { own: self.written.load(Ordering::Relaxed), others })
    }

    /// Like [`Store::write`], for what each node writes every few seconds: the generation stays as it is.
    pub fn write_quietly<T, E: From<StoreError>>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        self.transact(&mut self.lock(), work)
    }

    /// Like [`Store::write_quietly`], for what will be written again in some seconds: it does not wait for the disk. A power
    /// failure may undo it, but nothing that another write has made, and the database stays whole
    /// (<https://sqlite.org/pragma.html#pragma_synchronous>).
    pub fn write_often<T, E: From<StoreError>>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut connection = self.lock();
        let relaxed = Relaxed::new(&mut connection)?;
        self.transact(relaxed.0, work)
    }

    fn transact<T, E: From<StoreError>>(
        &self,
        connection: &mut Connection,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(StoreError::from)?;
        let tx = Tx { tx };
        // What was read of a write that is undone holds no longer.
        let done = work(&tx).inspect_err(|_| self.touch())?;
        tx.tx.commit().inspect_err(|_| self.touch()).map_err(StoreError::from)?;
        Ok(done)
    }

    /// Runs `work` on one consistent view.
    pub fn read<T, E: From<StoreError>>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut connection = self.lock();
        let tx = Tx { tx: connection.transaction().map_err(StoreError::from)? };
        work(&tx)
    }

    /// Writes everything into the database file and empties its journal, unless somebody is reading.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        Ok(self.lock().pragma_update(None, "wal_checkpoint", "TRUNCATE")?)
    }

    pub fn setting(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.read(|tx| tx.setting(key))
    }

    pub fn set(&self, key: &str, value: &str) -> Result<(), StoreError> {
        self.write(|tx| tx.set(key, value))
    }
}

/// A connection whose commits do not wait for the disk, until it is dropped.
struct Relaxed<'a>(&'a mut Connection);

impl<'a> Relaxed<'a> {
    fn new(connection: &'a mut Connection) -> Result<Self, StoreError> {
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(Self(connection))
    }
}

impl Drop for Relaxed<'_> {
    fn drop(&mut self) {
        // It cannot fail between two transactions.
        let _ = self.0.pragma_update(None, "synchronous", "FULL");
    }
}

/// A transaction. Its methods are in the other files of this folder, one file per table.
pub struct Tx<'a> {
    pub(super) tx: Transaction<'a>,
}

impl Tx<'_> {
    pub fn setting(&self, key: &str) -> Result<Option<String>, StoreError> {
        let found = self.tx.query_row("SELECT value FROM setting WHERE key = ?1", [key], |r| r.get(0));
        Ok(found.optional()?)
    }

    pub fn set(&self, key: &str, value: &str) -> Result<(), StoreError> {
        self.tx.execute(
            "INSERT INTO setting (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            params![key, value],
        )?;
        Ok(())
    }

    /// The first problem that SQLite finds in its file, if any.
    pub fn damage(&self) -> Result<Option<String>, StoreError> {
        let said: String = self.tx.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))?;
        Ok((said != "ok").then_some(said))
    }

    /// True if the setting existed.
    pub fn unset(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.tx.execute("DELETE FROM setting WHERE key = ?1", [key])? > 0)
    }

    pub fn settings_under(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let mut q = self.tx.prepare("SELECT key, value FROM setting WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key")?;
        let rows = q.query_map([prefix], |r| Ok((r.get(0)?, r.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Parses a text column into its type.
pub(super) fn parsed<T: std::str::FromStr>(text: &str, what: &'static str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt { what })
}

#[cfg(test)]
mod tests {
    use cluster_seed::events::EventKind;

    use super::*;

    #[test]
    fn a_newer_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(dir.path().join("seed.db")).unwrap();
        drop(Store::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Newer { found }) if found == VERSION + 1));
    }

    #[test]
    fn a_database_of_the_first_version_is_brought_up_to_date_and_its_log_still_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(dir.path().join("seed.db")).unwrap();
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        // As the first version wrote it.
        let hash = cluster_seed::ids::Digest::of(b"0:;1:7;4:kind;4:text;0:;0:;0:;").to_string();
        let sql = "INSERT INTO event (at, kind, text, hash) VALUES (7, 'kind', 'text', ?1)";
        old.execute(sql, [hash]).unwrap();
        drop(old);
        let store = Store::open(&path).unwrap();
        let facts = events::PacketFacts { ipxe: true, ..Default::default() };
        let event = events::NewEvent { facts: Some(&facts), ..events::NewEvent::new(EventKind::SeedStarted, "t") };
        store.write(|tx| tx.event(8, &event)).unwrap();
        assert_eq!(store.read(|tx| tx.broken_event()).unwrap(), None);
        let rows = store.read(|tx| tx.events_after(0, 9)).unwrap();
        assert_eq!((rows[0].facts.as_ref(), rows[1].facts.as_ref()), (None, Some(&facts)));
    }

    #[test]
    fn enrollments_of_protocol_1_stay_what_they_became_and_unfinished_ones_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(dir.path().join("seed.db")).unwrap();
        let old = Connection::open(&path).unwrap();
        MIGRATIONS[..3].iter().for_each(|sql| old.execute_batch(sql).unwrap());
        old.pragma_update(None, "user_version", 3).unwrap();
        old.execute_batch("INSERT INTO machine (mac, first_seen, last_seen) VALUES ('02:00:00:00:00:01', 1, 1)").unwrap();
        let facts = r#"{"vendor":"","product":"","serial":"","uuid":"","firmware":"bios","cpu":"","cpus":1,"memory_mib":1,
            "disks":[],"nics":[],"boot_mac":null,"kernel":""}"#;
        let hex = |n: u8, len: usize| format!("{n:02x}").repeat(len);
        for (n, state) in [(1, "Discovered"), (2, "Pending"), (3, "Approved"), (4, "Converged"), (5, "Denied")] {
            let sql = "INSERT INTO enrollment (id, machine, state, commitment, seed_nonce, ip, recipient, node_key, nonce, facts,
                challenge, created, since, touched) VALUES (?1, 1, ?2, ?3, ?3, '10.0.0.1', 'age1', ?3, ?3, ?4, ?3, 1, 1, 1)";
            old.execute(sql, params![hex(n, 16), state, hex(n, 32), facts]).unwrap();
        }
        let sql = "INSERT INTO node (id, enrollment, hostname, role, host, artifact, vault) VALUES (?1, ?2, 'n.lan', 'base', 2, ?3, x'00')";
        old.execute(sql, params![hex(9, 16), hex(4, 16), hex(9, 32)]).unwrap();
        drop(old);
        let store = Store::open(&path).unwrap();
        let all = store.read(|tx| tx.every_enrollment()).unwrap();
        let states: Vec<&str> = all.iter().map(|r| r.state.as_str()).collect();
        assert_eq!(states, ["Expired", "Expired", "Approved", "Converged", "Denied"]);
        assert!(all[1].reason.as_ref().unwrap().contains("restart the machine"));
        // An approved one can still fetch its identity: key and challenge are there.
        assert!(all[2].challenge.is_some() && all[2].revealed.as_ref().unwrap().pairing.is_none() && all[2].number.is_none());
        assert_eq!(store.read(|tx| tx.live_nodes()).unwrap()[0].enrollment, all[3].id);
        let keys_hold = |sql: &str| store.lock().execute(sql, []).is_err();
        assert!(keys_hold("DELETE FROM enrollment"), "a node refers to one");
        assert!(keys_hold("UPDATE enrollment SET state = 'Elsewhere'") && keys_hold("UPDATE enrollment SET number = 1000"));
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let store = Store::in_memory().unwrap();
        let result: Result<(), StoreError> = store.write(|tx| {
            tx.set("a", "1")?;
            Err(StoreError::NotFound("reason"))
        });
        assert!(result.is_err());
        assert_eq!(store.setting("a").unwrap(), None);
    }
}
