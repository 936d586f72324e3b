//! The site's extras on disk: which set is in use, whether it is complete, and the images that the registry serves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, anyhow, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::extras::{ExtrasManifest, FILE, MAX_MANIFEST, OCI, TREE};
use cluster_seed::ids::Digest;
use cluster_seed::seal::VerifyingKey;
use host::sealed;

use crate::Site;
use crate::layout::ids;
use crate::store::Store;

impl Site {
    pub fn extras_dir(&self, id: Digest) -> Utf8PathBuf {
        self.join("extras").join(id.to_string())
    }
}

/// Reads a set's manifest, signed by `key`, and checks that every file exists with its size.
pub fn check(dir: &Utf8Path, id: Digest, key: &VerifyingKey) -> Result<()> {
    let manifest = read(dir, id, key)?;
    for file in &manifest.files {
        let path = dir.join(&file.name);
        let meta = fs::metadata(&path).with_context(|| format!("looking for {path}"))?;
        ensure!(meta.is_file() && meta.len() == file.size, "{path} does not match the manifest of the extras");
    }
    Ok(())
}

fn read(dir: &Utf8Path, id: Digest, key: &VerifyingKey) -> Result<ExtrasManifest> {
    let path = dir.join(FILE);
    let manifest: ExtrasManifest = sealed::read(&path, key, MAX_MANIFEST)?;
    manifest.check().map_err(|why| anyhow!(why)).with_context(|| format!("checking {path}"))?;
    ensure!(manifest.id == id, "{path} is the manifest of another set");
    Ok(manifest)
}

/// The key that a set is signed with: this site's, or that of the site it was imported from.
fn maker(site: &Site, store: &Store, id: Digest) -> Result<VerifyingKey> {
    match store.maker(id)? {
        Some(key) => Ok(key),
        None => site.keys().public()?.site_key(),
    }
}

pub fn manifest(site: &Site, store: &Store, id: Digest) -> Result<ExtrasManifest> {
    read(&site.extras_dir(id), id, &maker(site, store, id)?)
}

/// The set in use, if any.
pub fn current(site: &Site, store: &Store) -> Result<Option<ExtrasManifest>> {
    store.extras()?.map(|id| manifest(site, store, id)).transpose()
}

/// Digests that any set refers to, for `gc`.
pub fn used(site: &Site, store: &Store) -> Result<BTreeSet<Digest>> {
    let mut used = BTreeSet::new();
    for id in ids(&site.join("extras"))? {
        let manifest = manifest(site, store, id)?;
        used.extend(manifest.files.iter().map(|f| f.sha256));
        used.extend(manifest.origins.iter().filter(|o| o.kind != "image").map(|o| o.sha256));
    }
    Ok(used)
}

/// The images of a set, indexed for the registry.
#[derive(Debug)]
pub struct Registry {
    pub id: Digest,
    dir: Utf8PathBuf,
    /// Repository, tag, digest.
    tags: BTreeMap<String, BTreeMap<String, Digest>>,
    /// Media types of manifests.
    manifests: BTreeMap<Digest, String>,
    /// Sizes of everything.
    blobs: BTreeMap<Digest, u64>,
}

impl Registry {
    pub fn new(site: &Site, manifest: &ExtrasManifest) -> Self {
        let mut tags: BTreeMap<String, BTreeMap<String, Digest>> = BTreeMap::new();
        for tag in &manifest.images {
            tags.entry(tag.name.clone()).or_default().insert(tag.tag.clone(), tag.digest);
        }
        let blobs = manifest.files.iter().filter(|f| f.name.starts_with(&format!("{OCI}/"))).map(|f| (f.sha256, f.size));
        Registry {
            id: manifest.id,
            dir: site.extras_dir(manifest.id),
            tags,
            manifests: manifest.manifests.iter().map(|m| (m.digest, m.media_type.clone())).collect(),
            blobs: blobs.collect(),
        }
    }

    pub fn repositories(&self) -> impl Iterator<Item = &String> {
        self.tags.keys()
    }

    pub fn tags(&self, repository: &str) -> Option<Vec<String>> {
        Some(self.tags.get(repository)?.keys().cloned().collect())
    }

    /// Digest and media type of the manifest with this tag or digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<(Digest, String)> {
        let tags = self.tags.get(repository)?;
        let digest = match reference.strip_prefix("sha256:") {
            Some(hex) => hex.parse().ok()?,
            None => *tags.get(reference)?,
        };
        Some((digest, self.manifests.get(&digest)?.clone()))
    }

    pub fn blob(&self, repository: &str, digest: Digest) -> Option<Utf8PathBuf> {
        self.tags.get(repository)?;
        self.blobs.get(&digest)?;
        Some(self.path(digest))
    }

    pub fn path(&self, digest: Digest) -> Utf8PathBuf {
        self.dir.join(OCI).join("sha256").join(digest.to_string())
    }

    /// Root of the files that are served.
    pub fn tree(&self) -> Utf8PathBuf {
        self.dir.join(TREE)
    }
}
