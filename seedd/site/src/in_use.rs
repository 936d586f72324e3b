//! Settings as what they stand for: the epoch, what the site has in use, and who made what came from another site. A
//! setting that cannot be read is [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).

use cluster_seed::ids::Digest;
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::{Sealed, VerifyingKey, key_from_text, key_text};

use crate::setting::{ARTIFACT, EPOCH, EXTRAS, MAKER, MEDIUM, NETBOOT, PEERS, SNAPSHOT};
use crate::store::{Store, StoreError, Tx};

/// Of a site whose seed was never replaced.
const FIRST_EPOCH: u64 = 1;

fn parsed<T: std::str::FromStr>(text: Option<String>, what: &'static str) -> Result<Option<T>, StoreError> {
    text.map(|t| t.parse().map_err(|_| StoreError::Corrupt { what })).transpose()
}

fn of_role(role: &str) -> String {
    format!("{ARTIFACT}{role}")
}

fn made_by(id: Digest) -> String {
    format!("{MAKER}{id}")
}

impl Tx<'_> {
    pub fn epoch(&self) -> Result<u64, StoreError> {
        Ok(parsed(self.setting(EPOCH)?, "setting.epoch")?.unwrap_or(FIRST_EPOCH))
    }

    pub fn set_epoch(&self, epoch: u64) -> Result<(), StoreError> {
        self.set(EPOCH, &epoch.to_string())
    }

    /// The snapshot that nodes are served.
    pub fn snapshot(&self) -> Result<Option<Digest>, StoreError> {
        parsed(self.setting(SNAPSHOT)?, "setting.snapshot")
    }

    pub fn set_snapshot(&self, id: Digest) -> Result<(), StoreError> {
        self.set(SNAPSHOT, &id.to_string())
    }

    /// The set of netboot files that machines are served.
    pub fn netboot(&self) -> Result<Option<Digest>, StoreError> {
        parsed(self.setting(NETBOOT)?, "setting.netboot")
    }

    pub fn set_netboot(&self, id: Digest) -> Result<(), StoreError> {
        self.set(NETBOOT, &id.to_string())
    }

    pub fn extras(&self) -> Result<Option<Digest>, StoreError> {
        parsed(self.setting(EXTRAS)?, "setting.extras")
    }

    pub fn set_extras(&self, id: Digest) -> Result<(), StoreError> {
        self.set(EXTRAS, &id.to_string())
    }

    /// The artifact that nodes of a role are installed from.
    pub fn artifact(&self, role: &str) -> Result<Option<Digest>, StoreError> {
        parsed(self.setting(&of_role(role))?, "setting.artifact")
    }

    pub fn set_artifact(&self, role: &str, id: Digest) -> Result<(), StoreError> {
        self.set(&of_role(role), &id.to_string())
    }

    /// Every role that has an artifact.
    pub fn artifacts(&self) -> Result<Vec<(String, Digest)>, StoreError> {
        let all = self.settings_under(ARTIFACT)?.into_iter();
        all.map(|(key, id)| {
            let id = id.parse().map_err(|_| StoreError::Corrupt { what: "setting.artifact" })?;
            Ok((key.strip_prefix(ARTIFACT).unwrap_or_default().to_owned(), id))
        })
        .collect()
    }

    /// The key of the site that made a snapshot or extras; `None` if it was this one.
    pub fn maker(&self, id: Digest) -> Result<Option<VerifyingKey>, StoreError> {
        let text = self.setting(&made_by(id))?;
        text.map(|t| key_from_text(&t).map_err(|_| StoreError::Corrupt { what: "setting.maker" })).transpose()
    }

    pub fn set_maker(&self, id: Digest, key: &VerifyingKey) -> Result<(), StoreError> {
        self.set(&made_by(id), &key_text(key))
    }

    /// The peer list as it was last signed; not verified here.
    pub fn peers(&self) -> Result<Option<Sealed<PeersFile>>, StoreError> {
        let text = self.setting(PEERS)?;
        text.map(|t| serde_json::from_str(&t).map_err(|_| StoreError::Corrupt { what: "setting.peers" })).transpose()
    }

    /// The medium that was adopted last.
    pub fn medium(&self) -> Result<Option<Digest>, StoreError> {
        parsed(self.setting(MEDIUM)?, "setting.medium")
    }

    pub fn set_medium(&self, id: Digest) -> Result<(), StoreError> {
        self.set(MEDIUM, &id.to_string())
    }
}

/// The same, each in a transaction of its own.
impl Store {
    pub fn snapshot(&self) -> Result<Option<Digest>, StoreError> {
        self.read(|tx| tx.snapshot())
    }

    pub fn netboot(&self) -> Result<Option<Digest>, StoreError> {
        self.read(|tx| tx.netboot())
    }

    pub fn extras(&self) -> Result<Option<Digest>, StoreError> {
        self.read(|tx| tx.extras())
    }

    pub fn artifact(&self, role: &str) -> Result<Option<Digest>, StoreError> {
        self.read(|tx| tx.artifact(role))
    }

    pub fn artifacts(&self) -> Result<Vec<(String, Digest)>, StoreError> {
        self.read(|tx| tx.artifacts())
    }

    pub fn maker(&self, id: Digest) -> Result<Option<VerifyingKey>, StoreError> {
        self.read(|tx| tx.maker(id))
    }
}

#[cfg(test)]
mod tests {
    use cluster_seed::seal::SigningKey;

    use super::*;

    #[test]
    fn what_was_stored_is_read_and_what_is_unreadable_is_named() {
        let store = Store::in_memory().unwrap();
        let (id, key) = (Digest::of(b"one"), SigningKey::from_bytes(&[1; 32]).verifying_key());
        store
            .read(|tx| {
                assert_eq!((tx.epoch()?, tx.snapshot()?, tx.maker(id)?), (1, None, None));
                assert_eq!(tx.artifacts()?, []);
                Ok::<_, StoreError>(())
            })
            .unwrap();
        store
            .write(|tx| {
                tx.set_epoch(7)?;
                tx.set_snapshot(id)?;
                tx.set_artifact("base", id)?;
                tx.set_maker(id, &key)
            })
            .unwrap();
        store
            .read(|tx| {
                assert_eq!((tx.epoch()?, tx.snapshot()?, tx.maker(id)?), (7, Some(id), Some(key)));
                assert_eq!((tx.artifacts()?, tx.artifact("other")?), (vec![("base".to_owned(), id)], None));
                Ok::<_, StoreError>(())
            })
            .unwrap();
        for (key, what) in [(EPOCH, "setting.epoch"), (SNAPSHOT, "setting.snapshot"), (&of_role("base"), "setting.artifact")] {
            store.set(key, "-1").unwrap();
            let read = store.read(|tx| tx.epoch().and(tx.snapshot()).and(tx.artifacts()).map(drop));
            assert!(matches!(read, Err(StoreError::Corrupt { what: w }) if w == what), "{key}");
            store.write(|tx| tx.unset(key)).unwrap();
        }
    }
}
