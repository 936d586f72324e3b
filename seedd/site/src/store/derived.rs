//! The table `fleet`, which triggers derive from the others. It is no part of the schema: a program that derives it in another way, or
//! that has migrated the schema, builds it again from the rows.

use cluster_seed::ids::Digest;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

/// Table, views and triggers.
const DERIVED: &str = include_str!("fleet.sql");
const DROP: &str = include_str!("fleet_drop.sql");
/// Setting with the digest of [`DERIVED`] as it was run; of this installation, since a capsule has no derived table.
const MADE_OF: &str = "local:fleet";

fn made(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM setting WHERE key = ?1", [MADE_OF], |r| r.get(0)).optional()
}

/// Removes the derived table before the schema changes.
pub(super) fn remove(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(DROP)?;
    connection.execute("DELETE FROM setting WHERE key = ?1", [MADE_OF]).map(|_| ())
}

/// Makes the derived table, unless this program's is there.
pub(super) fn ensure(connection: &mut Connection) -> rusqlite::Result<()> {
    let wanted = Digest::of(DERIVED.as_bytes()).to_string();
    if made(connection)?.as_deref() == Some(&wanted) {
        return Ok(());
    }
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have made it since.
    if made(&tx)?.as_deref() != Some(&wanted) {
        remove(&tx)?;
        tx.execute_batch(DERIVED)?;
        tx.execute("INSERT INTO setting (key, value) VALUES (?1, ?2)", params![MADE_OF, wanted])?;
    }
    tx.commit()
}
