//! The payloads of a site: `payloads/<id>/payload.tar.zst` and its signed manifest.

use anyhow::{Context as _, Result, anyhow, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::converge::payload::{MAX_MANIFEST, PayloadManifest};
use cluster_seed::ids::Digest;
use cluster_seed::seal::VerifyingKey;
use host::sealed;

use crate::Site;
use crate::hint::Hint as _;
use crate::layout::ids;
use crate::setting;
use crate::store::{Store, StoreError, Tx};

/// Folder of the payloads below the data directory.
pub const PAYLOADS: &str = "payloads";
/// Files of a payload.
pub const ARCHIVE: &str = "payload.tar.zst";
pub const MANIFEST: &str = "payload.json";
/// Payloads that are kept although nothing uses them: the newest.
const KEPT: usize = 3;

impl Site {
    pub fn payload(&self, id: Digest) -> Utf8PathBuf {
        self.join(PAYLOADS).join(id.to_string())
    }

    pub fn payload_archive(&self, id: Digest) -> Utf8PathBuf {
        self.payload(id).join(ARCHIVE)
    }
}

impl Tx<'_> {
    /// The payload that nodes run.
    pub fn payload(&self) -> Result<Option<Digest>, StoreError> {
        let text = self.setting(setting::PAYLOAD)?;
        text.map(|t| t.parse().map_err(|_| StoreError::Corrupt { what: "setting.payload" })).transpose()
    }

    pub fn set_payload(&self, id: Digest) -> Result<(), StoreError> {
        self.set(setting::PAYLOAD, &id.to_string())
    }
}

/// A payload's manifest, verified; its archive exists with its size.
pub fn check(dir: &Utf8Path, id: Digest, key: &VerifyingKey) -> Result<PayloadManifest> {
    let path = dir.join(MANIFEST);
    let manifest: PayloadManifest = sealed::read(&path, key, MAX_MANIFEST)?;
    ensure!(manifest.id == id, "{path} is the manifest of another payload");
    let archive = dir.join(ARCHIVE);
    let meta = std::fs::metadata(&archive).with_context(|| format!("looking for {archive}"))?;
    ensure!(meta.is_file() && meta.len() == manifest.size, "{archive} does not match its manifest");
    Ok(manifest)
}

pub fn one(site: &Site, id: Digest) -> Result<PayloadManifest> {
    let dir = site.payload(id);
    if !dir.is_dir() {
        return Err(anyhow!("there is no payload {id}")).hint("`seedd payload list` lists the payloads");
    }
    check(&dir, id, &site.keys().public()?.site_key()?)
}

/// The payload in use, if one was published.
pub fn current(site: &Site, store: &Store) -> Result<Option<PayloadManifest>> {
    store.read(|tx| tx.payload())?.map(|id| one(site, id)).transpose()
}

/// All payloads, the newest first; damaged ones with the reason.
pub fn all(site: &Site) -> Result<Vec<(Digest, Result<PayloadManifest>)>> {
    let mut found: Vec<_> = ids(&site.join(PAYLOADS))?.into_iter().map(|id| (made(site, id), id)).collect();
    found.sort_by(|a, b| b.cmp(a));
    Ok(found.into_iter().map(|(_, id)| (id, one(site, id))).collect())
}

fn made(site: &Site, id: Digest) -> std::time::SystemTime {
    let meta = std::fs::metadata(site.payload(id).join(MANIFEST)).and_then(|m| m.modified());
    meta.unwrap_or(std::time::SystemTime::UNIX_EPOCH)
}

/// Payloads that nothing needs: not in use, not in the orders of a node, and not among the newest.
pub fn unused(site: &Site, store: &Store) -> Result<Vec<Digest>> {
    let key = site.keys().public()?.site_key()?;
    let used = store.read(|tx| {
        let mut used: Vec<Digest> = tx.payload()?.into_iter().collect();
        for node in tx.live_nodes()? {
            let orders = tx.orders_of(node.id)?.and_then(|sealed| sealed.open(&key).ok());
            used.extend(orders.and_then(|o| o.run).map(|run| run.payload));
        }
        Ok::<_, StoreError>(used)
    })?;
    let all = all(site)?;
    Ok(all.into_iter().map(|(id, _)| id).skip(KEPT).filter(|id| !used.contains(id)).collect())
}
