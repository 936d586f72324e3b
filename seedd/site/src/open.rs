//! Opening a site: its database, and the keys that verify its snapshots.

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
            return Err(anyhow!("there is no site in {}", self.data))
                .hint("create one with `seedd init`, or give its directory with --data");
        }
        let store = Store::open(&self.database()).with_context(|| format!("opening seed database {}", self.database()))?;
        settle(self, &store).context("finishing an import")?;
        Ok(store)
    }

    /// The keys that verify a snapshot: its release certificate (OpenPGP, binary) and the site key of its manifest. They
    /// are this site's own, unless the snapshot was adopted from a medium.
    pub fn snapshot_keys(&self, store: &Store, id: Digest) -> Result<(Vec<u8>, VerifyingKey)> {
        let keys = self.keys();
        match store.maker(id)? {
            Some(maker) => Ok((keys.snapshot_keyring(id)?, maker)),
            None => Ok((keys.release_keyring()?, keys.public()?.site_key()?)),
        }
    }

    /// The file from which [`Self::snapshot_keys`] reads the certificate.
    pub fn snapshot_keyring_path(&self, store: &Store, id: Digest) -> Result<Utf8PathBuf> {
        let adopted = store.maker(id)?.is_some();
        let keys = self.keys();
        Ok(if adopted { keys.snapshot_keyring_path(id) } else { keys.release_keyring_path() })
    }
}
