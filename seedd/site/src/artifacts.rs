//! The sealed artifacts of a site: `artifacts/<id>/manifest.json`, read and checked in one place.

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{ArtifactManifest, Chunk};
use cluster_seed::seal::{Sealed, VerifyingKey};
use host::files::read_limited;

use crate::layout::Site;
use crate::setting;
use crate::store::Store;

/// Largest artifact manifest read, in bytes.
const MAX_MANIFEST: u64 = 32 << 20;

/// The manifest at `path`, signed by `site_key`.
///
/// # Errors
/// When it cannot be read, its signature does not match, or it is inconsistent.
pub fn read(path: &Utf8Path, site_key: &VerifyingKey) -> Result<ArtifactManifest> {
    let sealed: Sealed<ArtifactManifest> =
        serde_json::from_slice(&read_limited(path, MAX_MANIFEST)?).with_context(|| format!("reading {path}"))?;
    let manifest = sealed.open(site_key).with_context(|| format!("checking {path}"))?;
    manifest.check().with_context(|| format!("checking {path}"))?;
    Ok(manifest)
}

/// The manifest of the artifact `id`.
pub fn manifest(site: &Site, id: Digest, site_key: &VerifyingKey) -> Result<ArtifactManifest> {
    read(&site.join("artifacts").join(id.to_string()).join("manifest.json"), site_key)
}

/// The artifact in use for a role; `None` before one is built.
pub fn of_role(site: &Site, store: &Store, role: &str, site_key: &VerifyingKey) -> Result<Option<ArtifactManifest>> {
    let Some(id) = store.setting(&format!("{}{role}", setting::ARTIFACT))? else { return Ok(None) };
    Ok(Some(manifest(site, id.parse().context("reading the artifact's id")?, site_key)?))
}

/// The stored chunks that an artifact manifest lists: digest and compressed size.
pub fn chunks_of(manifest: &Utf8Path, site_key: &VerifyingKey) -> Result<Vec<(Digest, u64)>> {
    let stored = |c: &Chunk| match c {
        Chunk::Zstd { stored, stored_size, .. } => Some((*stored, u64::from(*stored_size))),
        Chunk::Zero => None,
    };
    Ok(read(manifest, site_key)?.chunks.iter().filter_map(stored).collect())
}
