//! What is encrypted to the vault key: identities of nodes and passwords. It is stored here only, so that the key can be changed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use rusqlite::params;
use serde_json::Value;

use super::{StoreError, Tx};
use crate::setting::VAULTED;

/// The field of a setting's JSON that holds the ciphertext, in base64.
const FIELD: &str = "password";

/// How many ciphertexts were replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Identities of nodes, revoked ones included.
    pub identities: u32,
    /// Passwords of controllers and of GRUB, and join tokens.
    pub passwords: u32,
}

fn corrupt(_: impl std::error::Error) -> StoreError {
    StoreError::Corrupt { what: "a password of the vault" }
}

impl Tx<'_> {
    /// Replaces every ciphertext to the vault by what `each` returns for it; the text names it in errors. The old ones are
    /// overwritten in the database, not only unlinked.
    pub fn reseal_vault<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(&str, &[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Resealed, E> {
        self.tx.pragma_update(None, "secure_delete", "ON").map_err(StoreError::from)?;
        let identities = self.reseal_identities(&mut each)?;
        let mut passwords = 0;
        for name in VAULTED {
            for (key, value) in self.settings_under(name)?.into_iter().filter(|(key, _)| key == name || name.ends_with(':')) {
                self.set(&key, &resealed(&key, &value, &mut each)?)?;
                passwords += 1;
            }
        }
        Ok(Resealed { identities, passwords })
    }

    fn reseal_identities<E: From<StoreError>>(&self, each: &mut impl FnMut(&str, &[u8]) -> Result<Vec<u8>, E>) -> Result<u32, E> {
        let held = self.identities()?;
        for (id, hostname, vault) in &held {
            let new = each(&format!("the identity of {hostname}"), vault)?;
            let sql = "UPDATE node SET vault = ?2 WHERE id = ?1";
            let changed = self.tx.execute(sql, params![id, new]).map_err(StoreError::from)?;
            if changed != 1 {
                return Err(StoreError::Raced("node").into());
            }
        }
        Ok(u32::try_from(held.len()).unwrap_or(u32::MAX))
    }

    /// Id, host name and ciphertext of each node that has one.
    fn identities(&self) -> Result<Vec<(String, String, Vec<u8>)>, StoreError> {
        let mut q = self.tx.prepare("SELECT id, hostname, vault FROM node WHERE length(vault) > 0 ORDER BY id")?;
        let rows = q.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Every ciphertext to the vault, and what it is.
    pub fn vaulted(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut all: Vec<(String, Vec<u8>)> = self.identities()?.into_iter().map(|(_, name, sealed)| (name, sealed)).collect();
        for name in VAULTED {
            for (key, value) in self.settings_under(name)?.into_iter().filter(|(key, _)| key == name || name.ends_with(':')) {
                let sealed = parts(&value)?.1;
                all.push((key, sealed));
            }
        }
        Ok(all)
    }
}

fn parts(value: &str) -> Result<(Value, Vec<u8>), StoreError> {
    let json: Value = serde_json::from_str(value).map_err(corrupt)?;
    let text = json.get(FIELD).and_then(Value::as_str).unwrap_or_default();
    let sealed = B64.decode(text).map_err(corrupt)?;
    Ok((json, sealed))
}

fn resealed<E: From<StoreError>>(
    key: &str,
    value: &str,
    each: &mut impl FnMut(&str, &[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, E> {
    let (mut json, sealed) = parts(value)?;
    let new = each(key, &sealed)?;
    if let Some(field) = json.get_mut(FIELD) {
        *field = B64.encode(new).into();
    }
    Ok(json.to_string())
}
