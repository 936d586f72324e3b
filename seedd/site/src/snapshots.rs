//! The snapshots of a site, and their proofs.

use std::fs;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::SnapshotManifest;
use cluster_seed::proof::{FILE, MAX_PROOF, ProofState, SnapshotProof};
use cluster_seed::seal::{Sealed, SigningKey, VerifyingKey};
use darksite::{MAX_MANIFEST, Paths};
use host::files::{read_limited, write_atomic};
use host::sealed;

use crate::Site;
use crate::hint::Hint as _;
use crate::store::Store;

/// A snapshot whose manifest was verified.
#[derive(Debug, Clone)]
pub struct Held {
    pub manifest: SnapshotManifest,
    /// This is the one that nodes get.
    pub in_use: bool,
    pub state: ProofState,
    pub proof: Option<SnapshotProof>,
    /// The key of the other site that made it.
    pub maker: Option<VerifyingKey>,
}

/// A folder that is not a valid snapshot: damaged, or changed since it was signed.
#[derive(Debug, Clone)]
pub struct Damaged {
    pub id: Digest,
    pub why: String,
}

impl Site {
    pub fn snapshot(&self, id: Digest) -> Utf8PathBuf {
        self.join("snapshots").join(id.to_string())
    }

    /// The darksite's paths in the data directory.
    pub fn darksite_paths(&self) -> Paths {
        let [blobs, snapshots, tmp, cache] = ["blobs", "snapshots", "tmp", "cache/darksite"].map(|p| self.join(p));
        Paths { blobs, snapshots, tmp, cache }
    }

    /// Path of a snapshot's proof.
    pub fn proof_file(&self, snapshot: Digest) -> Utf8PathBuf {
        self.join("proofs").join(snapshot.to_string()).join(FILE)
    }
}

/// The snapshot in use.
pub fn current(store: &Store) -> Result<Digest> {
    store.snapshot()?.ok_or_else(|| anyhow!("there is no snapshot yet")).hint("build one with `seedd darksite build`")
}

/// All snapshots by id, and folders that are named like one but are not valid. Other names in the folder are ignored.
pub fn all(site: &Site, store: &Store) -> Result<(Vec<Held>, Vec<Damaged>)> {
    let folder = site.join("snapshots");
    let mut ids: Vec<Digest> = Vec::new();
    for entry in folder.read_dir_utf8().with_context(|| format!("listing {folder}"))? {
        ids.extend(entry?.file_name().parse::<Digest>().ok());
    }
    ids.sort();
    let (mut held, mut damaged) = (Vec::new(), Vec::new());
    for id in ids {
        match one(site, store, id) {
            Ok(found) => held.push(found),
            Err(error) => damaged.push(Damaged { id, why: format!("{error:#}") }),
        }
    }
    Ok((held, damaged))
}

/// The folder of a snapshot, if there is one.
fn folder(site: &Site, id: Digest) -> Result<Utf8PathBuf> {
    let folder = site.snapshot(id);
    if !folder.is_dir() {
        return Err(anyhow!("there is no snapshot {id}")).hint("`seedd darksite list` lists the snapshots");
    }
    Ok(folder)
}

/// The manifest of a snapshot, signed by `key`; its files are not read.
pub fn manifest(site: &Site, id: Digest, key: &VerifyingKey) -> Result<SnapshotManifest> {
    let path = folder(site, id)?.join("snapshot.json");
    let manifest: SnapshotManifest = sealed::read(&path, key, MAX_MANIFEST)?;
    anyhow::ensure!(manifest.id == id, "{path} is the manifest of another snapshot");
    Ok(manifest)
}

/// One snapshot; its manifest is verified with its maker's key, but its files are not read.
pub fn one(site: &Site, store: &Store, id: Digest) -> Result<Held> {
    folder(site, id)?;
    let (_, key) = site.snapshot_keys(store, id)?;
    let manifest = manifest(site, id, &key)?;
    let own = site.keys().public()?.site_key()?;
    let proof = proof(site, id, &[own, key]);
    Ok(Held {
        in_use: store.snapshot()? == Some(id),
        state: proof.as_ref().map_or(ProofState::Unproven, |p| p.of(&manifest)),
        proof,
        maker: (key != own).then_some(key),
        manifest,
    })
}

/// The proof of a snapshot, if it is signed by one of `keys` (those of this site and of the snapshot's maker).
pub fn proof(site: &Site, snapshot: Digest, keys: &[VerifyingKey]) -> Option<SnapshotProof> {
    let path = site.proof_file(snapshot);
    let bytes = read_limited(&path, MAX_PROOF).ok()?;
    let opened = serde_json::from_slice::<Sealed<SnapshotProof>>(&bytes).map_err(anyhow::Error::from).and_then(|sealed| {
        keys.iter().find_map(|key| sealed.open(key).ok()).ok_or_else(|| anyhow!("it is not signed by a known key"))
    });
    opened.inspect_err(|error| tracing::warn!(%path, %error, "proof ignored")).ok()
}

/// Signs and stores a proof; it replaces an earlier one of the same snapshot.
pub fn keep_proof(site: &Site, proof: &SnapshotProof, key: &SigningKey) -> Result<()> {
    let path = site.proof_file(proof.snapshot);
    let folder = path.parent().unwrap_or(&site.data);
    fs::create_dir_all(folder).with_context(|| format!("creating {folder}"))?;
    Ok(write_atomic(&path, &serde_json::to_vec(&Sealed::sign(proof, key)?)?, 0o644)?)
}
