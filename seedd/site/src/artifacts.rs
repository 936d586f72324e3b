//! The sealed artifacts of a site, in `artifacts/<id>`.

use anyhow::Result;
use camino::Utf8Path;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{ArtifactManifest, Chunk, NetbootManifest};
use cluster_seed::seal::VerifyingKey;
use host::sealed;
use image::read_manifest;

use crate::layout::Site;
use crate::store::Store;

/// Maximum size of the manifest of a netboot set, in bytes.
const MAX_NETBOOT: u64 = 1 << 20;

/// The manifest of the artifact `id`.
pub fn manifest(site: &Site, id: Digest, site_key: &VerifyingKey) -> Result<ArtifactManifest> {
    Ok(read_manifest(&site.join("artifacts").join(id.to_string()), site_key)?)
}

/// The artifact in use for a role; `None` before one is built.
pub fn of_role(site: &Site, store: &Store, role: &str, site_key: &VerifyingKey) -> Result<Option<ArtifactManifest>> {
    store.artifact(role)?.map(|id| manifest(site, id, site_key)).transpose()
}

/// The manifest of the netboot set in `dir`, signed by `site_key`.
pub fn netboot_set(dir: &Utf8Path, site_key: &VerifyingKey) -> Result<NetbootManifest> {
    Ok(sealed::read(&dir.join("netboot.json"), site_key, MAX_NETBOOT)?)
}

/// The stored chunks of the artifact in `dir`: digest and compressed size.
pub fn chunks_of(dir: &Utf8Path, site_key: &VerifyingKey) -> Result<Vec<(Digest, u64)>> {
    let stored = |c: &Chunk| match c {
        Chunk::Zstd { stored, stored_size, .. } => Some((*stored, u64::from(*stored_size))),
        Chunk::Zero => None,
    };
    Ok(read_manifest(dir, site_key)?.chunks.iter().filter_map(stored).collect())
}
