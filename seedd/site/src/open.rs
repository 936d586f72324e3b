//! Opening a site: its database, and with which keys its snapshots are checked.

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use cluster_seed::seal::VerifyingKey;

use crate::hint::Hint as _;
use crate::keys::KeyDir;
use crate::layout::Site;
use crate::settle::settle;
use crate::store::Store;

impl Site {
    pub fn keys(&self) -> KeyDir {
        KeyDir::new(&self.join("keys"))
    }

    pub fn open_store(&self) -> Result<Store> {
        if !self.exists() {
            return Err(anyhow!("{} holds no site", self.data)).hint("make one with `seedd init`, or name it with --data");
        }
        let store = Store::open(&self.database()).with_context(|| format!("opening seed database {}", self.database()))?;
        settle(self, &store).context("finishing an import")?;
        Ok(store)
    }

    /// What a snapshot is signed with: its release certificate (OpenPGP, binary) and the site key of its manifest. They
    /// are this site's own unless it was adopted from a medium.
    pub fn snapshot_keys(&self, store: &Store, id: Digest) -> Result<(Vec<u8>, VerifyingKey)> {
        let keys = self.keys();
        match store.maker(id)? {
            Some(maker) => Ok((keys.snapshot_keyring(id)?, maker)),
            None => Ok((keys.release_keyring()?, keys.public()?.site_key()?)),
        }
    }

    /// The file that [`Self::snapshot_keys`] reads the certificate from.
    pub fn snapshot_keyring_path(&self, store: &Store, id: Digest) -> Result<Utf8PathBuf> {
        let adopted = store.maker(id)?.is_some();
        let keys = self.keys();
        Ok(if adopted { keys.snapshot_keyring_path(id) } else { keys.release_keyring_path() })
    }
}
