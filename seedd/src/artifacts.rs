//! The artifacts of the roles: which one is in use, and its manifest.

use anyhow::{Context as _, Result};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::ArtifactManifest;
use cluster_seed::seal::{Sealed, VerifyingKey};

use crate::site::{Site, setting};
use crate::store::Store;
use host::files::read_limited;

/// Largest manifest read, in bytes.
const MAX_MANIFEST: u64 = 32 << 20;

/// The manifest of the artifact built for a role, checked against `key`; None if none was built.
pub fn manifest(site: &Site, store: &Store, key: &VerifyingKey, role: &str) -> Result<Option<ArtifactManifest>> {
    let Some(id) = store.setting(&format!("{}{role}", setting::ARTIFACT))? else { return Ok(None) };
    let id: Digest = id.parse().context("reading the artifact's id")?;
    let path = site.join("artifacts").join(id.to_string()).join("manifest.json");
    let sealed: Sealed<ArtifactManifest> =
        serde_json::from_slice(&read_limited(&path, MAX_MANIFEST)?).with_context(|| format!("reading {path}"))?;
    let manifest = sealed.open(key).with_context(|| format!("checking {path}"))?;
    manifest.check().with_context(|| format!("checking {path}"))?;
    Ok(Some(manifest))
}
