//! Passkeys (WebAuthn credentials): public keys of authenticators with which users log in.

use rusqlite::{OptionalExtension as _, Row, params};

use super::people::UserRecord;
use super::{StoreError, Tx};

/// Most passkeys of one user.
pub const MAX_PASSKEYS: usize = 8;

/// A passkey. Times in Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasskeyRecord {
    /// Names it in lists and forms: the first digits of the sha256 of its credential id.
    pub id: String,
    pub user: String,
    pub name: String,
    /// The authenticator's name for it.
    pub credential: Vec<u8>,
    /// What the authenticator calls the user; the same for all passkeys of a user.
    pub handle: Vec<u8>,
    /// The public key and what was agreed at registration; and what changes with each login, as webauthn_rp encodes them.
    pub fixed: Vec<u8>,
    pub changing: Vec<u8>,
    pub transports: u8,
    pub created: u64,
    pub used: Option<u64>,
}

const COLUMNS: &str = "id, user, name, credential, handle, fixed, changing, transports, created, used";

fn record(r: &Row<'_>) -> rusqlite::Result<PasskeyRecord> {
    Ok(PasskeyRecord {
        id: r.get(0)?,
        user: r.get(1)?,
        name: r.get(2)?,
        credential: r.get(3)?,
        handle: r.get(4)?,
        fixed: r.get(5)?,
        changing: r.get(6)?,
        transports: r.get(7)?,
        created: r.get(8)?,
        used: r.get(9)?,
    })
}

impl Tx<'_> {
    /// False if the user has [`MAX_PASSKEYS`] already, or the credential is known.
    pub fn add_passkey(&self, p: &PasskeyRecord) -> Result<bool, StoreError> {
        if self.passkeys(Some(&p.user))?.len() >= MAX_PASSKEYS {
            return Ok(false);
        }
        let added = self.tx.execute(
            "INSERT INTO passkey (id, user, name, credential, handle, fixed, changing, transports, created)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
            params![p.id, p.user, p.name, p.credential, p.handle, p.fixed, p.changing, p.transports, p.created],
        )?;
        Ok(added == 1)
    }

    /// Passkeys of a user, or of all, the oldest first.
    pub fn passkeys(&self, user: Option<&str>) -> Result<Vec<PasskeyRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM passkey WHERE ?1 IS NULL OR user = ?1 ORDER BY user, created, rowid");
        let mut query = self.tx.prepare(&sql)?;
        let rows = query.query_map([user], record)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The passkey with this credential id, and its user if not disabled.
    pub fn passkey(&self, credential: &[u8]) -> Result<Option<(PasskeyRecord, UserRecord)>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM passkey WHERE credential = ?1");
        let Some(found) = self.tx.query_row(&sql, [credential], record).optional()? else { return Ok(None) };
        let user = self.user(&found.user)?.filter(|u| u.disabled.is_none());
        Ok(user.map(|user| (found, user)))
    }

    /// It was used, and its counter may have changed.
    pub fn touch_passkey(&self, id: &str, changing: &[u8], now: u64) -> Result<(), StoreError> {
        self.tx.execute("UPDATE passkey SET changing = ?2, used = ?3 WHERE id = ?1", params![id, changing, now])?;
        Ok(())
    }

    /// All of a user: whoever has one could log in without the password.
    pub fn remove_passkeys_of(&self, user: &str) -> Result<usize, StoreError> {
        Ok(self.tx.execute("DELETE FROM passkey WHERE user = ?1", [user])?)
    }

    /// Deletes a passkey, if it is `user`'s or `user` is none; returns its user and name.
    pub fn remove_passkey(&self, id: &str, user: Option<&str>) -> Result<Option<(String, String)>, StoreError> {
        let sql = "DELETE FROM passkey WHERE id = ?1 AND (?2 IS NULL OR user = ?2) RETURNING user, name";
        Ok(self.tx.query_row(sql, params![id, user], |r| Ok((r.get(0)?, r.get(1)?))).optional()?)
    }
}

#[cfg(test)]
mod tests {
    use cluster_seed::people::Rights;

    use super::*;
    use crate::store::Store;

    fn write<T>(store: &Store, work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>) -> T {
        store.write(work).unwrap_or_else(|e: StoreError| panic!("{e}"))
    }

    fn passkey(n: u8, user: &str) -> PasskeyRecord {
        PasskeyRecord {
            id: format!("{n:016x}"),
            user: user.to_owned(),
            name: format!("key {n}"),
            credential: vec![n; 16],
            handle: vec![7; 64],
            fixed: vec![1, 2],
            changing: vec![0; 7],
            transports: 3,
            created: u64::from(n),
            used: None,
        }
    }

    #[test]
    fn passkeys_have_a_budget_and_go_with_their_user() {
        let store = Store::in_memory().unwrap();
        write(&store, |tx| tx.add_admin("ada", "x", 0));
        write(&store, |tx| tx.add_user("bob", "x", Rights::Viewer, 0));
        for n in 0..MAX_PASSKEYS as u8 {
            assert!(write(&store, |tx| tx.add_passkey(&passkey(n, "bob"))));
        }
        assert!(!write(&store, |tx| tx.add_passkey(&passkey(99, "bob"))), "one too many");
        assert!(!write(&store, |tx| tx.add_passkey(&passkey(3, "ada"))), "known as bob's");
        assert!(write(&store, |tx| tx.add_passkey(&passkey(50, "ada"))));
        write(&store, |tx| tx.touch_passkey(&passkey(3, "bob").id, &[9; 7], 77));
        let (found, user) = write(&store, |tx| tx.passkey(&[3; 16])).unwrap();
        assert_eq!((found.changing, found.used, user.rights), (vec![9; 7], Some(77), Rights::Viewer));
        let removed = |id: &str, user: Option<&str>| write(&store, |tx| tx.remove_passkey(id, user));
        assert_eq!(removed(&passkey(3, "").id, Some("ada")), None);
        assert_eq!(removed(&passkey(3, "").id, Some("bob")), Some(("bob".to_owned(), "key 3".to_owned())));
        assert!(write(&store, |tx| tx.set_user("bob", Rights::Viewer, Some(5))));
        assert!(write(&store, |tx| tx.passkey(&[4; 16])).is_none(), "of a disabled user");
        assert!(write(&store, |tx| tx.remove_user("bob")));
        assert_eq!(write(&store, |tx| tx.passkeys(None)).len(), 1);
    }
}
