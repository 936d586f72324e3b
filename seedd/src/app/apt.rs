//! The release certificates that nodes verify packages with. They follow the snapshot in use and the release key.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use cluster_seed::held::AptKeys;
use cluster_seed::seal::{Sealed, SigningKey};
use site::mode::Mode;
use site::setting;
use site::store::Tx;
use web::api::ApiError;

use super::{App, unexpected};

impl App {
    /// In base64: that of the snapshot in use, and the one that the next snapshot will be signed with.
    pub(super) fn node_keyring(&self, tx: &Tx<'_>) -> Result<String, ApiError> {
        let keys = self.site.keys();
        let bytes = match tx.snapshot()? {
            Some(id) if tx.maker(id)?.is_some() => keys.snapshot_keyring(id),
            Some(id) => self.site.own_keyrings(id),
            None => keys.release_keyring(),
        };
        Ok(B64.encode(bytes.map_err(unexpected)?))
    }

    fn held_apt_keys(&self, tx: &Tx<'_>) -> Result<Option<(AptKeys, Sealed<AptKeys>)>, ApiError> {
        let Some(text) = tx.setting(setting::APT_KEYS)? else { return Ok(None) };
        let sealed: Sealed<AptKeys> = serde_json::from_str(&text).map_err(unexpected)?;
        Ok(Some((sealed.open(&self.site_key).map_err(unexpected)?, sealed)))
    }

    /// The current statement; signed again if it is out of date.
    pub(super) fn sign_apt_keys(&self, tx: &Tx<'_>, key: &SigningKey) -> Result<Sealed<AptKeys>, ApiError> {
        let (epoch, keyring) = (self.epoch(tx)?, self.node_keyring(tx)?);
        let serial = match self.held_apt_keys(tx)? {
            Some((held, sealed)) if held.epoch == epoch && held.keyring == keyring => return Ok(sealed),
            Some((held, _)) => held.serial + 1,
            None => 1,
        };
        let sealed = Sealed::sign(&AptKeys { epoch, serial, keyring }, key).map_err(unexpected)?;
        tx.set(setting::APT_KEYS, &serde_json::to_string(&sealed).map_err(unexpected)?)?;
        Ok(sealed)
    }

    /// Signs a new statement if the certificates differ from those in the current one. A sealed seed does so when it is unsealed.
    pub fn resign_apt_keys(&self) -> Result<()> {
        let work = self.with_keys(|keys| {
            self.store.write(|tx| match Mode::of(tx)? {
                Mode::Active => self.sign_apt_keys(tx, &keys.site).map(drop),
                _ => Ok(()),
            })
        });
        match work {
            Ok(()) | Err(ApiError::Sealed) => Ok(()),
            Err(e) => Err(anyhow::anyhow!("signing the release certificates: {e}")),
        }
    }

    /// For the answer to a node.
    pub(super) fn signed_apt_keys(&self) -> Option<Sealed<AptKeys>> {
        let text = self.store.setting(setting::APT_KEYS).ok()??;
        serde_json::from_str(&text).inspect_err(|error| tracing::error!(%error, "reading the release certificates")).ok()
    }
}
