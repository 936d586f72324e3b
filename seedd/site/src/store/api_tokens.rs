//! API tokens, stored as sha256.

use cluster_seed::people::{ApiTokenId, Permissions};
use rusqlite::{OptionalExtension as _, Row, params};

use super::people::UserRecord;
use super::{StoreError, Tx, parsed};

/// Most API tokens of one user.
pub const MAX_API_TOKENS: usize = 32;

/// An API token. Times in Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiTokenRecord {
    pub id: ApiTokenId,
    pub user: String,
    pub name: String,
    pub scopes: Permissions,
    pub created: u64,
    pub expires: u64,
    pub used: Option<u64>,
}

const COLUMNS: &str = "id, user, name, scopes, created, expires, used";

fn record(r: &Row<'_>) -> Result<ApiTokenRecord, StoreError> {
    let (id, scopes): (String, String) = (r.get(0)?, r.get(3)?);
    Ok(ApiTokenRecord {
        id: parsed(&id, "api_token.id")?,
        user: r.get(1)?,
        name: r.get(2)?,
        scopes: parsed(&scopes, "api_token.scopes")?,
        created: r.get(4)?,
        expires: r.get(5)?,
        used: r.get(6)?,
    })
}

impl Tx<'_> {
    /// False if the user has [`MAX_API_TOKENS`] already; expired ones of the user are deleted first.
    pub fn add_api_token(&self, token: &ApiTokenRecord, hash: &str, now: u64) -> Result<bool, StoreError> {
        self.tx.execute("DELETE FROM api_token WHERE user = ?1 AND expires <= ?2", params![token.user, now])?;
        if self.api_tokens(Some(&token.user))?.len() >= MAX_API_TOKENS {
            return Ok(false);
        }
        self.tx.execute(
            "INSERT INTO api_token (id, user, name, scopes, hash, created, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![token.id.to_string(), token.user, token.name, token.scopes.to_string(), hash, token.created, token.expires],
        )?;
        Ok(true)
    }

    /// The token with this hash and its user, if neither is expired or disabled. One that would last more than `longest` seconds from
    /// `now` was created under another clock, and is treated as expired.
    pub fn live_api_token(&self, hash: &str, now: u64, longest: u64) -> Result<Option<(ApiTokenRecord, UserRecord)>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM api_token WHERE hash = ?1 AND expires > ?2 AND expires <= ?3");
        let found = self.tx.query_row(&sql, params![hash, now, now.saturating_add(longest)], |r| Ok(record(r))).optional()?;
        let Some(found) = found.transpose()? else { return Ok(None) };
        let user = self.user(&found.user)?.filter(|u| u.disabled.is_none());
        Ok(user.map(|user| (found, user)))
    }

    pub fn touch_api_token(&self, id: ApiTokenId, now: u64) -> Result<(), StoreError> {
        self.tx.execute("UPDATE api_token SET used = ?2 WHERE id = ?1", params![id.to_string(), now])?;
        Ok(())
    }

    /// Tokens of a user, or of all, the newest first; expired ones too.
    pub fn api_tokens(&self, user: Option<&str>) -> Result<Vec<ApiTokenRecord>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM api_token WHERE ?1 IS NULL OR user = ?1 ORDER BY user, created DESC, rowid DESC");
        let mut query = self.tx.prepare(&sql)?;
        let mut rows = query.query([user])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(record(row)?);
        }
        Ok(all)
    }

    /// Deletes a token, if it is `user`'s or `user` is none; returns what it was.
    pub fn revoke_api_token(&self, id: ApiTokenId, user: Option<&str>) -> Result<Option<ApiTokenRecord>, StoreError> {
        let sql = format!("DELETE FROM api_token WHERE id = ?1 AND (?2 IS NULL OR user = ?2) RETURNING {COLUMNS}");
        let gone = self.tx.query_row(&sql, params![id.to_string(), user], |r| Ok(record(r))).optional()?;
        gone.transpose()
    }

    /// Deletes a user's tokens; returns how many.
    pub fn revoke_api_tokens_of(&self, user: &str) -> Result<usize, StoreError> {
        Ok(self.tx.execute("DELETE FROM api_token WHERE user = ?1", [user])?)
    }
}

#[cfg(test)]
mod tests {
    use cluster_seed::people::{Permission, Rights};

    use super::*;
    use crate::store::Store;

    const YEAR: u64 = 365 * 86_400;

    fn token(n: u32, user: &str, expires: u64) -> ApiTokenRecord {
        ApiTokenRecord {
            id: format!("{n:08x}").parse().unwrap(),
            user: user.to_owned(),
            name: format!("t{n}"),
            scopes: Permissions::of(&[Permission::Read, Permission::Power]),
            created: 10,
            expires,
            used: None,
        }
    }

    fn write<T>(store: &Store, work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>) -> T {
        store.write(work).unwrap_or_else(|e: StoreError| panic!("{e}"))
    }

    fn people() -> Store {
        let store = Store::in_memory().unwrap();
        write(&store, |tx| tx.add_admin("ada", "x", 0));
        write(&store, |tx| tx.add_user("bob", "x", Rights::Operator, 0));
        store
    }

    #[test]
    fn a_token_is_found_by_its_hash_until_it_expires() {
        let store = people();
        assert!(write(&store, |tx| tx.add_api_token(&token(1, "bob", 100), "h1", 10)));
        let live = |hash: &str, now: u64| write(&store, |tx| tx.live_api_token(hash, now, YEAR)).map(|(t, u)| (t.name, u.rights));
        assert_eq!(live("h1", 99), Some(("t1".to_owned(), Rights::Operator)));
        assert_eq!((live("h1", 100), live("h2", 99)), (None, None));
        write(&store, |tx| tx.touch_api_token("00000001".parse().unwrap(), 42));
        assert_eq!(write(&store, |tx| tx.api_tokens(None))[0].used, Some(42));
        // The clock was in 2099 when it was made.
        assert!(write(&store, |tx| tx.add_api_token(&token(2, "bob", 4_070_908_800), "h2", 10)));
        assert_eq!(live("h2", 99), None);
    }

    #[test]
    fn tokens_go_with_their_user_and_have_a_budget() {
        let store = people();
        for n in 0..MAX_API_TOKENS as u32 {
            assert!(write(&store, |tx| tx.add_api_token(&token(n, "bob", 100 + u64::from(n)), &format!("h{n}"), 10)));
        }
        assert!(!write(&store, |tx| tx.add_api_token(&token(99, "bob", 500), "h99", 10)));
        assert!(write(&store, |tx| tx.add_api_token(&token(99, "bob", 500), "h99", 100)), "one has expired");
        assert!(write(&store, |tx| tx.add_api_token(&token(77, "ada", 500), "h77", 10)), "of another user");
        let id = "00000005".parse().unwrap();
        assert_eq!(write(&store, |tx| tx.revoke_api_token(id, Some("ada"))), None);
        assert_eq!(write(&store, |tx| tx.revoke_api_token(id, Some("bob"))).unwrap().name, "t5");
        assert!(write(&store, |tx| tx.set_user("bob", Rights::Operator, Some(9))));
        assert!(write(&store, |tx| tx.live_api_token("h99", 101, YEAR)).is_none(), "of a disabled user");
        assert!(write(&store, |tx| tx.remove_user("bob")));
        assert_eq!(write(&store, |tx| tx.api_tokens(None)).len(), 1);
        assert_eq!(write(&store, |tx| tx.revoke_api_tokens_of("ada")), 1);
    }
}
