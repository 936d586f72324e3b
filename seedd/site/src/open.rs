//! Opening a site: its database, and the keys that verify its snapshots.

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use cluster_seed::seal::VerifyingKey;
use host::files::read_limited;

use crate::hint::Hint as _;
use crate::keys::{KeyDir, MAX_KEYRING};
use crate::layout::Site;
use crate::rotate;
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
        rotate::settle(self, &store).context("finishing a change of keys")?;
        Ok(store)
    }

    /// The keys that verify a snapshot: its release certificate (OpenPGP, binary) and the site key of its manifest. They
    /// are this site's own, unless the snapshot was adopted from a medium.
    pub fn snapshot_keys(&self, store: &Store, id: Digest) -> Result<(Vec<u8>, VerifyingKey)> {
        let keys = self.keys();
        match store.maker(id)? {
            Some(maker) => Ok((keys.snapshot_keyring(id)?, maker)),
            None => Ok((read_limited(&self.own_keyring_path(id)?, MAX_KEYRING)?, keys.public()?.site_key()?)),
        }
    }

    /// The file from which [`Self::snapshot_keys`] reads the certificate.
    pub fn snapshot_keyring_path(&self, store: &Store, id: Digest) -> Result<Utf8PathBuf> {
        let adopted = store.maker(id)?.is_some();
        if adopted { Ok(self.keys().snapshot_keyring_path(id)) } else { self.own_keyring_path(id) }
    }

    /// The release certificate of a snapshot that this site made: the site's, unless it is signed with an earlier key.
    fn own_keyring_path(&self, id: Digest) -> Result<Utf8PathBuf> {
        let (keys, own) = (self.keys(), self.snapshot(id).join("keyring.gpg"));
        Ok(if keys.is_earlier_release(&own)? { own } else { keys.release_keyring_path() })
    }

    /// The certificate of a snapshot that this site made, and after it the one that its next snapshot will be signed with, if
    /// that is another.
    pub fn own_keyrings(&self, id: Digest) -> Result<Vec<u8>> {
        let mut all = read_limited(&self.own_keyring_path(id)?, MAX_KEYRING)?;
        let current = self.keys().release_keyring()?;
        if all != current {
            all.extend(current);
        }
        Ok(all)
    }
}
