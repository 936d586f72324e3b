//! Administrators and their sessions. Passwords are argon2id hashes, tokens are stored as their sha256.

use rusqlite::{OptionalExtension as _, params};

use super::{StoreError, Tx};

impl Tx<'_> {
    pub fn has_admin(&self) -> Result<bool, StoreError> {
        Ok(self.tx.query_row("SELECT count(*) > 0 FROM admin", [], |r| r.get(0))?)
    }

    pub fn add_admin(&self, user: &str, password_hash: &str, now: u64) -> Result<(), StoreError> {
        self.tx.execute("INSERT INTO admin (user, password, created) VALUES (?1, ?2, ?3)", params![user, password_hash, now])?;
        Ok(())
    }

    pub fn password_hash(&self, user: &str) -> Result<Option<String>, StoreError> {
        Ok(self.tx.query_row("SELECT password FROM admin WHERE user = ?1", [user], |r| r.get(0)).optional()?)
    }

    /// Also forgets sessions that have ended.
    pub fn add_session(&self, token_hash: &str, user: &str, expires: u64, now: u64) -> Result<(), StoreError> {
        self.tx.execute("DELETE FROM session WHERE expires <= ?1", [now])?;
        self.tx
            .execute("INSERT INTO session (token_hash, user, expires) VALUES (?1, ?2, ?3)", params![token_hash, user, expires])?;
        Ok(())
    }

    pub fn session_user(&self, token_hash: &str, now: u64) -> Result<Option<String>, StoreError> {
        let sql = "SELECT user FROM session WHERE token_hash = ?1 AND expires > ?2";
        Ok(self.tx.query_row(sql, params![token_hash, now], |r| r.get(0)).optional()?)
    }

    pub fn end_session(&self, token_hash: &str) -> Result<(), StoreError> {
        self.tx.execute("DELETE FROM session WHERE token_hash = ?1", [token_hash])?;
        Ok(())
    }
}
