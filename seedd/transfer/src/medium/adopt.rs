//! Importing the content of a medium: it is verified with its maker's key, linked instead of copied, and signed again with the
//! site's own key. The snapshot keeps its maker's signature: nodes pin the certificate that came with it.
//!
//! Verified here: every signature, every size, and the digest of everything except packages and chunks. Those are named by
//! their digest, and their users (apt, the agent) verify it.

use std::collections::BTreeMap;
use std::fs::{self, File};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{ArtifactManifest, BootFile, Chunk, NetbootManifest, SnapshotManifest};
use cluster_seed::medium::{CLUSTER, MANIFEST, MediumManifest, RELEASE_KEYRING, SITE};
use cluster_seed::progress::Progress;
use cluster_seed::seal::{Sealable, Sealed, SigningKey, VerifyingKey};
use host::files::{digest_file, read_limited, write_atomic};
use host::sealed;
use site::Site;
use site::hint::Hint as _;
use site::putting::InUse;

use crate::medium::links::{is_clean, link};

/// Maximum size of a sealed manifest, in bytes.
const MAX_MANIFEST: u64 = 32 << 20;
/// Maximum size of cluster.yaml and of a certificate, in bytes.
const MAX_SMALL: u64 = 1 << 20;
/// Maximum number of files that a medium may list.
const MAX_FILES: usize = 1_000_000;

/// How much of a medium is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Everything except packages and chunks.
    Small,
    /// Every byte.
    All,
}

/// A medium whose manifest was verified.
pub struct Medium {
    root: Utf8PathBuf,
    maker: VerifyingKey,
    pub manifest: MediumManifest,
    sealed: Sealed<MediumManifest>,
    files: BTreeMap<String, BootFile>,
}

impl Medium {
    /// Reads and verifies the sealed manifest, and checks that every listed file exists with its size.
    ///
    /// # Errors
    /// When the manifest is not signed by `maker`, or a file is missing, is not a regular file, or has another size.
    pub fn open(root: &Utf8Path, maker: &VerifyingKey) -> Result<Self> {
        // Absolute: links in the site point there.
        let root = root.canonicalize_utf8().with_context(|| format!("looking for the medium at {root}"))?;
        let path = root.join(MANIFEST);
        let sealed: Sealed<MediumManifest> =
            serde_json::from_slice(&read_limited(&path, MAX_MANIFEST)?).with_context(|| format!("reading {path}"))?;
        let manifest = sealed
            .open(maker)
            .with_context(|| format!("checking {path}"))
            .hint("the medium was not made by the site with that key, or it was modified; nothing was imported")?;
        ensure!(manifest.files.len() <= MAX_FILES, "the medium lists more than {MAX_FILES} files");
        let mut files = BTreeMap::new();
        for file in &manifest.files {
            ensure!(is_clean(&file.name), "the medium lists a file with the invalid name {:?}", file.name);
            let path = root.join(&file.name);
            let meta = fs::symlink_metadata(&path).with_context(|| format!("looking for {path}"))?;
            ensure!(meta.is_file(), "{path} is not a regular file");
            ensure!(meta.len() == file.size, "{path} has {} bytes, but the medium's manifest says {}", meta.len(), file.size);
            files.insert(file.name.clone(), file.clone());
        }
        Ok(Medium { root, maker: *maker, manifest, sealed, files })
    }

    /// The maker's cluster.yaml, the template for a new site's.
    pub fn cluster(&self) -> Result<String> {
        String::from_utf8(self.small(CLUSTER)?).context("reading the medium's cluster.yaml as UTF-8")
    }

    fn listed(&self, below: &str) -> Result<&BootFile> {
        let name = format!("{SITE}/{below}");
        self.files.get(&name).ok_or_else(|| anyhow!("the medium's manifest does not list {name}"))
    }

    fn path(&self, below: &str) -> Utf8PathBuf {
        self.root.join(SITE).join(below)
    }

    /// A listed file whose digest was verified.
    fn small(&self, below: &str) -> Result<Vec<u8>> {
        let file = self.listed(below)?;
        let bytes = read_limited(&self.path(below), MAX_SMALL)?;
        ensure!(Digest::of(&bytes) == file.sha256, "{} does not match the signed manifest", self.path(below));
        Ok(bytes)
    }

    fn sealed<T: Sealable>(&self, below: &str) -> Result<T> {
        self.listed(below)?;
        Ok(sealed::read(&self.path(below), &self.maker, MAX_MANIFEST)?)
    }

    /// Files below the medium's site folder, by relative path.
    fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a BootFile)> {
        let prefix = format!("{SITE}/{folder}/");
        self.files
            .range(prefix.clone()..)
            .take_while(move |(name, _)| name.starts_with(&prefix))
            .map(|(name, file)| (name.strip_prefix(SITE).unwrap_or(name).trim_start_matches('/'), file))
    }

    /// Reads files and compares their digests.
    fn read(&self, how: Reading, progress: &dyn Progress) -> Result<()> {
        let content = |name: &str| name.starts_with("blobs/") || name.contains("/pool/");
        let prefix = format!("{SITE}/");
        let wanted: Vec<&BootFile> = self
            .files
            .values()
            .filter(|f| f.name.strip_prefix(&prefix).is_some_and(|n| how == Reading::All || !content(n)))
            .collect();
        progress.begin("reading the medium", Some(wanted.iter().map(|f| f.size).sum()));
        for file in wanted {
            let path = self.root.join(&file.name);
            ensure!(digest_file(&path, progress)?.1 == file.sha256, "{path} does not match the signed manifest");
        }
        progress.end();
        Ok(())
    }
}

/// Imports everything on `medium` into `site`, whose private key is `key`, and puts it in use. Safe to repeat; the settings are written
/// last, in one transaction. For a site without a daemon.
///
/// # Errors
/// As [`place`].
pub fn adopt(site: &Site, medium: &Medium, key: &SigningKey, how: Reading, progress: &dyn Progress) -> Result<()> {
    let placed = place(site, medium, key, how, progress)?;
    placed.keep(&site::store::Store::open(&site.database()).context("opening the database")?)
}

/// Imports everything on `medium` into `site`, whose private key is `key`; returns what is to be put in use. Safe to repeat.
///
/// # Errors
/// When anything on the medium differs from what its maker signed.
pub fn place(site: &Site, medium: &Medium, key: &SigningKey, how: Reading, progress: &dyn Progress) -> Result<InUse> {
    let manifest = &medium.manifest;
    medium.read(how, progress)?;
    site.make_folders()?;
    let _using = site.use_blobs()?;
    progress.begin("linking", None);
    let keyring = snapshot(site, medium)?;
    netboot(site, medium, key)?;
    for (role, id) in &manifest.artifacts {
        artifact(site, medium, role, *id, key)?;
    }
    for (name, _) in medium.below("blobs") {
        link(&medium.path(name), &site.join(name))?;
    }
    write_atomic(&site.keys().snapshot_keyring_path(manifest.snapshot), &keyring, 0o644)?;
    crate::medium::record::note(site, &medium.root, &medium.maker, &medium.sealed)?;
    let dir = File::open(&site.data).with_context(|| format!("opening {}", site.data))?;
    nix::unistd::syncfs(&dir).context("writing the links to the disk")?;
    progress.end();
    Ok(InUse {
        snapshot: Some(manifest.snapshot),
        netboot: Some(manifest.netboot),
        artifacts: manifest.artifacts.clone(),
        medium: Some(manifest.id),
        ..InUse::made_by(&medium.maker, [manifest.snapshot])
    })
}

/// Links the published snapshot; returns the certificate that it is signed with.
fn snapshot(site: &Site, medium: &Medium) -> Result<Vec<u8>> {
    let id = medium.manifest.snapshot;
    let folder = format!("snapshots/{id}");
    let held: SnapshotManifest = medium.sealed(&format!("{folder}/snapshot.json"))?;
    ensure!(held.id == id, "the medium's snapshot is {}, but its manifest says {id}", held.id);
    let release = medium.listed(&format!("{folder}/dists/{}/Release", held.suite))?;
    ensure!(release.sha256 == held.release, "the snapshot's Release file does not match its signed manifest");
    let keyring = medium.small(RELEASE_KEYRING)?;
    darksite::Keyring::from_bytes(&keyring).context("reading the medium's release key")?;
    link(&medium.path(&folder), &site.join(&folder))?;
    Ok(keyring)
}

fn netboot(site: &Site, medium: &Medium, key: &SigningKey) -> Result<()> {
    let id = medium.manifest.netboot;
    let folder = format!("netboot/{id}");
    let held: NetbootManifest = medium.sealed(&format!("{folder}/netboot.json"))?;
    ensure!(held.id == id, "the medium's netboot set is {}, but its manifest says {id}", held.id);
    make_dir(&site.join(&folder))?;
    for file in &held.files {
        ensure!(
            is_clean(&file.name) && !file.name.contains('/'),
            "the netboot set lists a file with the invalid name {:?}",
            file.name
        );
        let name = format!("{folder}/{}", file.name);
        ensure!(medium.listed(&name)?.sha256 == file.sha256, "{name} does not match the signed manifest");
        link(&medium.path(&name), &site.join(&name))?;
    }
    seal(&site.join(&folder).join("netboot.json"), &held, key)
}

fn artifact(site: &Site, medium: &Medium, role: &str, id: Digest, key: &SigningKey) -> Result<()> {
    let folder = format!("artifacts/{id}");
    let held: ArtifactManifest = medium.sealed(&format!("{folder}/manifest.json"))?;
    held.check().with_context(|| format!("checking the medium's artifact of role {role}"))?;
    ensure!(held.id == id && held.spec.role == role, "the medium's artifact of role {role} is not the one in its manifest");
    for chunk in &held.chunks {
        let Chunk::Zstd { stored, stored_size, .. } = chunk else { continue };
        let hex = stored.to_string();
        let blob = medium.listed(&format!("blobs/sha256/{}/{hex}", &hex[..2]))?;
        if blob.sha256 != *stored || blob.size != u64::from(*stored_size) {
            bail!("chunk {hex} of role {role} does not match the signed manifest");
        }
    }
    make_dir(&site.join(&folder))?;
    seal(&site.join(&folder).join("manifest.json"), &held, key)
}

fn seal<T: Sealable>(path: &Utf8Path, document: &T, key: &SigningKey) -> Result<()> {
    Ok(write_atomic(path, &serde_json::to_vec(&Sealed::sign(document, key)?)?, 0o644)?)
}

fn make_dir(path: &Utf8Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("creating {path}"))
}
