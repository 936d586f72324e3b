//! Users and their sessions. Passwords are argon2id hashes, tokens of sessions are stored as their sha256. The table of users is
//! called `admin` since the version that knew administrators only.

use cluster_seed::people::Rights;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{StoreError, Tx, parsed};

/// Most sessions of one user; a login beyond it ends the one that was not used for longest.
pub const MAX_SESSIONS: u32 = 32;
/// Digits of a session's hash that name it in lists and forms.
const ID_DIGITS: usize = 16;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    pub user: String,
    pub rights: Rights,
    /// Unix seconds.
    pub created: u64,
    pub disabled: Option<u64>,
}

/// A session. Times by the steady clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// The first digits of its token's hash: they name it and open nothing.
    pub id: String,
    pub user: String,
    pub begun: u64,
    pub used: u64,
    /// When the password was typed last.
    pub authenticated: u64,
    pub expires: u64,
    pub address: String,
    pub browser: String,
}

/// A new session.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<'a> {
    pub token_hash: &'a str,
    pub user: &'a str,
    pub address: &'a str,
    pub browser: &'a str,
    /// Seconds that it lasts at most.
    pub lasts: u64,
}

/// What ends a session, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// After its begin.
    pub longest: u64,
    /// After its last use.
    pub idle: u64,
}

const SESSION: &str = "substr(token_hash, 1, 16), user, begun, used, authenticated, expires, address, browser";

fn session(r: &Row<'_>) -> rusqlite::Result<SessionRecord> {
    Ok(SessionRecord {
        id: r.get(0)?,
        user: r.get(1)?,
        begun: r.get(2)?,
        used: r.get(3)?,
        authenticated: r.get(4)?,
        expires: r.get(5)?,
        address: r.get(6)?,
        browser: r.get(7)?,
    })
}

/// The name of the session with this hash.
pub fn session_id(token_hash: &str) -> &str {
    token_hash.get(..ID_DIGITS).unwrap_or_default()
}

impl Tx<'_> {
    pub fn has_admin(&self) -> Result<bool, StoreError> {
        Ok(self.tx.query_row("SELECT count(*) > 0 FROM admin", [], |r| r.get(0))?)
    }

    /// Adds an administrator.
    pub fn add_admin(&self, user: &str, password_hash: &str, now: u64) -> Result<(), StoreError> {
        self.add_user(user, password_hash, Rights::Administrator, now)
    }

    pub fn add_user(&self, user: &str, password_hash: &str, rights: Rights, now: u64) -> Result<(), StoreError> {
        self.tx.execute(
            "INSERT INTO admin (user, password, created, rights) VALUES (?1, ?2, ?3, ?4)",
            params![user, password_hash, now, rights.as_str()],
        )?;
        Ok(())
    }

    /// Sets a new password and ends the user's sessions, except the one with the hash `keep`. False if there is no such user.
    pub fn set_password(&self, user: &str, password_hash: &str, keep: Option<&str>) -> Result<bool, StoreError> {
        self.end_sessions_of(user, keep)?;
        Ok(self.tx.execute("UPDATE admin SET password = ?2 WHERE user = ?1", params![user, password_hash])? == 1)
    }

    /// Sets rights, and whether the user is disabled (since when, in Unix seconds).
    pub fn set_user(&self, user: &str, rights: Rights, disabled: Option<u64>) -> Result<bool, StoreError> {
        let sql = "UPDATE admin SET rights = ?2, disabled = ?3 WHERE user = ?1";
        Ok(self.tx.execute(sql, params![user, rights.as_str(), disabled])? == 1)
    }

    /// Deletes a user with sessions and API tokens; false if there is no user of that name.
    pub fn remove_user(&self, user: &str) -> Result<bool, StoreError> {
        self.end_sessions_of(user, None)?;
        Ok(self.tx.execute("DELETE FROM admin WHERE user = ?1", [user])? == 1)
    }

    /// Sorted by name.
    pub fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        self.users_where("?1 = ''", "")
    }

    pub fn user(&self, user: &str) -> Result<Option<UserRecord>, StoreError> {
        Ok(self.users_where("user = ?1", user)?.pop())
    }

    fn users_where(&self, condition: &str, value: &str) -> Result<Vec<UserRecord>, StoreError> {
        let sql = format!("SELECT user, rights, created, disabled FROM admin WHERE {condition} ORDER BY user");
        let mut query = self.tx.prepare(&sql)?;
        let mut rows = query.query([value])?;
        let mut all = Vec::new();
        while let Some(r) = rows.next()? {
            let rights: String = r.get(1)?;
            let rights = parsed(&rights, "admin.rights")?;
            all.push(UserRecord { user: r.get(0)?, rights, created: r.get(2)?, disabled: r.get(3)? });
        }
        Ok(all)
    }

    /// Administrators who are not disabled, without `user`.
    pub fn other_administrators(&self, user: &str) -> Result<usize, StoreError> {
        let able = |u: &UserRecord| u.rights == Rights::Administrator && u.disabled.is_none() && u.user != user;
        Ok(self.users()?.iter().filter(|u| able(u)).count())
    }

    /// The hash of the password of a user who is not disabled.
    pub fn password_hash(&self, user: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT password FROM admin WHERE user = ?1 AND disabled IS NULL";
        Ok(self.tx.query_row(sql, [user], |r| r.get(0)).optional()?)
    }

    /// Deletes sessions that ended, and those of the user beyond [`MAX_SESSIONS`].
    pub fn add_session(&self, new: &NewSession<'_>, now: u64) -> Result<(), StoreError> {
        self.tx.execute("DELETE FROM session WHERE expires <= ?1", [now])?;
        self.tx.execute(
            "DELETE FROM session WHERE user = ?1 AND token_hash NOT IN
               (SELECT token_hash FROM session WHERE user = ?1 ORDER BY used DESC, rowid DESC LIMIT ?2)",
            params![new.user, MAX_SESSIONS - 1],
        )?;
        self.tx.execute(
            "INSERT INTO session (token_hash, user, expires, begun, used, authenticated, address, browser)
             VALUES (?1, ?2, ?3, ?4, ?4, ?4, ?5, ?6)",
            params![new.token_hash, new.user, now.saturating_add(new.lasts), now, new.address, new.browser],
        )?;
        Ok(())
    }

    /// The session and its user, while it lasts. One that would last more than `limits.longest` seconds from `now`, or was used after
    /// it, was created under another clock, before this daemon started, and is treated as expired.
    pub fn live_session(
        &self,
        token_hash: &str,
        now: u64,
        limits: SessionLimits,
    ) -> Result<Option<(SessionRecord, UserRecord)>, StoreError> {
        let sql = format!(
            "SELECT {SESSION} FROM session WHERE token_hash = ?1 AND expires > ?2 AND expires <= ?3 AND used <= ?2 AND used + ?4 > ?2"
        );
        let latest = now.saturating_add(limits.longest);
        let found = self.tx.query_row(&sql, params![token_hash, now, latest, limits.idle], session).optional()?;
        let Some(found) = found else { return Ok(None) };
        let user = self.user(&found.user)?.filter(|u| u.disabled.is_none());
        Ok(user.map(|user| (found, user)))
    }

    pub fn touch_session(&self, token_hash: &str, now: u64) -> Result<(), StoreError> {
        self.tx.execute("UPDATE session SET used = max(used, ?2) WHERE token_hash = ?1", params![token_hash, now])?;
        Ok(())
    }

    /// Its user typed the password again.
    pub fn renew_session(&self, token_hash: &str, now: u64) -> Result<(), StoreError> {
        self.tx.execute("UPDATE session SET authenticated = ?2, used = ?2 WHERE token_hash = ?1", params![token_hash, now])?;
        Ok(())
    }

    /// Sessions of a user, or of all, the one used last first.
    pub fn sessions(&self, user: Option<&str>, now: u64, limits: SessionLimits) -> Result<Vec<SessionRecord>, StoreError> {
        let sql = format!(
            "SELECT {SESSION} FROM session WHERE (?1 IS NULL OR user = ?1) AND expires > ?2 AND expires <= ?3 AND used <= ?2
             AND used + ?4 > ?2 ORDER BY used DESC, rowid DESC"
        );
        let mut query = self.tx.prepare(&sql)?;
        let rows = query.query_map(params![user, now, now.saturating_add(limits.longest), limits.idle], session)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub fn end_session(&self, token_hash: &str) -> Result<(), StoreError> {
        self.tx.execute("DELETE FROM session WHERE token_hash = ?1", [token_hash])?;
        Ok(())
    }

    /// Ends the session of this name, if it is `user`'s or `user` is none; returns whose it was.
    pub fn end_session_named(&self, id: &str, user: Option<&str>) -> Result<Option<String>, StoreError> {
        let sql = "DELETE FROM session WHERE substr(token_hash, 1, 16) = ?1 AND (?2 IS NULL OR user = ?2) RETURNING user";
        Ok(self.tx.query_row(sql, params![id, user], |r| r.get(0)).optional()?)
    }

    /// Ends a user's sessions, except the one with the hash `keep`; returns how many.
    pub fn end_sessions_of(&self, user: &str, keep: Option<&str>) -> Result<usize, StoreError> {
        let sql = "DELETE FROM session WHERE user = ?1 AND token_hash <> coalesce(?2, '')";
        Ok(self.tx.execute(sql, params![user, keep])?)
    }
}

#[cfg(test)]
#[path = "people_tests.rs"]
mod tests;
