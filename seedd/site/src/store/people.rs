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

    /// Sets a new password and ends the user's sessions. False if there is no such administrator.
    pub fn set_password(&self, user: &str, password_hash: &str) -> Result<bool, StoreError> {
        self.end_sessions_of(user)?;
        Ok(self.tx.execute("UPDATE admin SET password = ?2 WHERE user = ?1", params![user, password_hash])? == 1)
    }

    /// Deletes an administrator and their sessions; false if there is no administrator of that name.
    pub fn remove_admin(&self, user: &str) -> Result<bool, StoreError> {
        self.end_sessions_of(user)?;
        Ok(self.tx.execute("DELETE FROM admin WHERE user = ?1", [user])? == 1)
    }

    /// Names and times of creation (Unix seconds), sorted by name.
    pub fn admins(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut query = self.tx.prepare("SELECT user, created FROM admin ORDER BY user")?;
        let rows = query.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn end_sessions_of(&self, user: &str) -> Result<(), StoreError> {
        self.tx.execute("DELETE FROM session WHERE user = ?1", [user])?;
        Ok(())
    }

    pub fn password_hash(&self, user: &str) -> Result<Option<String>, StoreError> {
        Ok(self.tx.query_row("SELECT password FROM admin WHERE user = ?1", [user], |r| r.get(0)).optional()?)
    }

    /// Also deletes expired sessions.
    pub fn add_session(&self, token_hash: &str, user: &str, expires: u64, now: u64) -> Result<(), StoreError> {
        self.tx.execute("DELETE FROM session WHERE expires <= ?1", [now])?;
        self.tx
            .execute("INSERT INTO session (token_hash, user, expires) VALUES (?1, ?2, ?3)", params![token_hash, user, expires])?;
        Ok(())
    }

    /// The session's user. A session that would last more than `longest` seconds from `now` was created under another clock,
    /// before this daemon started, and is treated as expired.
    pub fn session_user(&self, token_hash: &str, now: u64, longest: u64) -> Result<Option<String>, StoreError> {
        let sql = "SELECT user FROM session WHERE token_hash = ?1 AND expires > ?2 AND expires <= ?3";
        let latest = now.saturating_add(longest);
        Ok(self.tx.query_row(sql, params![token_hash, now, latest], |r| r.get(0)).optional()?)
    }

    pub fn end_session(&self, token_hash: &str) -> Result<(), StoreError> {
        self.tx.execute("DELETE FROM session WHERE token_hash = ?1", [token_hash])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{Store, StoreError};

    #[test]
    fn a_session_ends_on_time_and_is_not_believed_under_another_clock() {
        const HOURS: u64 = 12 * 3600;
        const NOW: u64 = 1_795_377_600;
        let store = Store::in_memory().unwrap();
        let write = |end: u64| {
            store.write(|tx| tx.add_session("hash", "ada", end, 0)).map_err(|e: StoreError| e.to_string()).unwrap();
        };
        store.write(|tx| tx.add_admin("ada", "x", 0)).map_err(|e: StoreError| e.to_string()).unwrap();
        write(NOW + HOURS);
        let user = |now: u64| {
            let found: Result<_, StoreError> = store.read(|tx| tx.session_user("hash", now, HOURS));
            found.unwrap()
        };
        for (now, good) in [
            (NOW, true),
            (NOW + HOURS - 1, true),
            (NOW + HOURS, false),
            (NOW - 1, false),
            // The next start found the clock at 1970, or in 2099.
            (0, false),
            (4_070_908_800, false),
        ] {
            assert_eq!(user(now).is_some(), good, "{now}");
        }
    }
}
