//! The published tree: `dists/` with indexes and signatures, `pool/` of links to blobs, lock, manifest, keyring.
//!
//! Every byte follows from the plan and the keys: no clock, no host name, no order of a directory.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::SnapshotManifest;
use cluster_seed::progress::Progress;
use cluster_seed::seal::{Sealed, SigningKey};

use crate::disk::{self, DiskError, failed};
use crate::error::Error;
use crate::lock::SnapshotLock;
use crate::plan::{Paths, Plan};
use crate::pool::{self, Wanted};
use crate::release_key::ReleaseKey;
use crate::trust::format_date;

/// Bytes of a `snapshot.json`.
pub const MAX_MANIFEST: u64 = 1 << 20;
/// What a Release file says it comes from.
pub const ORIGIN: &str = "Kubedos";

/// A complete snapshot on disk.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub id: Digest,
    pub dir: Utf8PathBuf,
    pub manifest: SnapshotManifest,
    /// False if it was there already.
    pub built: bool,
}

/// Fetches what is missing and publishes. A snapshot that is there already is returned at once.
pub fn build(
    plan: &Plan,
    paths: &Paths,
    fetch: &dyn crate::fetch::Fetch,
    release_key: &ReleaseKey,
    site_key: &SigningKey,
    progress: &dyn Progress,
) -> Result<Snapshot, Error> {
    let id = plan.lock.id();
    let dir = paths.snapshots.join(id.to_string());
    disk::create_dirs(&paths.tmp)?;
    // One build at a time; the lock ends with this handle, also when the process is killed.
    let lock = failed("locking", &paths.tmp);
    let tmp_dir = fs::File::open(&paths.tmp).map_err(&lock)?;
    tmp_dir.lock().map_err(&lock)?;
    if dir.is_dir() {
        return existing(id, dir, release_key, site_key);
    }
    let wanted: Vec<Wanted> =
        plan.packages.iter().map(|p| Wanted { url: p.url.clone(), size: p.locked.size, sha256: p.locked.sha256 }).collect();
    pool::fetch_all(&wanted, &paths.blobs, &paths.tmp, fetch, progress)?;
    progress.begin("publishing", None);
    let tmp = paths.tmp.join(format!("snapshot-{id}"));
    match fs::remove_dir_all(&tmp) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed("removing", &tmp)(e).into()),
        _ => {}
    }
    disk::create_dirs(&tmp)?;
    let manifest = write_tree(&tmp, plan, &paths.blobs, release_key, site_key, progress)?;
    disk::sync_tree(&tmp)?;
    disk::create_dirs(&paths.snapshots)?;
    fs::rename(&tmp, &dir).map_err(failed("naming", &dir))?;
    disk::sync_dir(&paths.snapshots)?;
    progress.end();
    Ok(Snapshot { id, dir, manifest, built: true })
}

fn existing(id: Digest, dir: Utf8PathBuf, release_key: &ReleaseKey, site_key: &SigningKey) -> Result<Snapshot, Error> {
    let foreign = || Error::ForeignSnapshot { dir: dir.clone() };
    let json = disk::read_limited(&dir.join("snapshot.json"), MAX_MANIFEST)?;
    let sealed: Sealed<SnapshotManifest> = serde_json::from_slice(&json).map_err(|_| foreign())?;
    let manifest = sealed.open(&site_key.verifying_key()).map_err(|_| foreign())?;
    let keyring = disk::read_limited(&dir.join("keyring.gpg"), MAX_MANIFEST)?;
    if manifest.id != id || keyring != release_key.public_keyring()? {
        return Err(foreign());
    }
    Ok(Snapshot { id, dir, manifest, built: false })
}

fn write_tree(
    dir: &Utf8Path,
    plan: &Plan,
    blobs: &Utf8Path,
    release_key: &ReleaseKey,
    site_key: &SigningKey,
    progress: &dyn Progress,
) -> Result<SnapshotManifest, Error> {
    let lock = &plan.lock;
    let dists = dir.join("dists").join(&lock.suite);
    let mut listed = Vec::new();
    for component in &lock.components {
        for (name, bytes) in index_files(plan, component)? {
            write_index(&dists, &name, &bytes)?;
            listed.push((name, bytes.len(), Digest::of(&bytes)));
        }
    }
    for package in &plan.packages {
        if progress.cancelled() {
            return Err(DiskError::Cancelled.into());
        }
        disk::link(&pool::blob_path(blobs, &package.locked.sha256), &dir.join(&package.locked.filename))?;
    }
    let release = release_text(lock, &mut listed);
    let date = lock.date();
    disk::write_file(&dists.join("Release"), release.as_bytes())?;
    disk::write_file(&dists.join("InRelease"), release_key.sign_cleartext(&release, date)?.as_bytes())?;
    disk::write_file(&dists.join("Release.gpg"), release_key.sign_detached(release.as_bytes(), date)?.as_bytes())?;
    disk::write_file(&dir.join("keyring.gpg"), &release_key.public_keyring()?)?;
    disk::write_file(&dir.join("snapshot.lock"), lock.render().as_bytes())?;
    for file in &plan.upstream {
        disk::write_file(&dir.join(upstream_name(&file.suite)), &file.bytes)?;
    }
    let manifest = SnapshotManifest {
        id: lock.id(),
        suite: lock.suite.clone(),
        components: lock.components.clone(),
        architectures: vec![lock.arch.clone(), "all".to_owned()],
        roots: lock.roots.clone(),
        packages: u32::try_from(lock.packages.len()).unwrap_or(u32::MAX),
        bytes: lock.bytes(),
        release: Digest::of(release.as_bytes()),
    };
    let sealed = Sealed::sign(&manifest, site_key).and_then(|s| Ok(serde_json::to_vec(&s)?));
    disk::write_file(&dir.join("snapshot.json"), &sealed.map_err(Error::Seal)?)?;
    Ok(manifest)
}

/// Where an upstream InRelease file is kept in a snapshot.
pub fn upstream_name(suite: &str) -> String {
    format!("upstream/{}.InRelease", suite.replace('/', "_"))
}

/// An index under its name and by its hash, so that a client in the middle of an update finds the one it read about.
fn write_index(dists: &Utf8Path, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let path = dists.join(name);
    disk::write_file(&path, bytes)?;
    disk::link(&path, &dists.join(by_hash(name, &Digest::of(bytes))))
}

/// `main/binary-amd64/Packages` to `main/binary-amd64/by-hash/SHA256/<hex>`.
pub fn by_hash(name: &str, digest: &Digest) -> String {
    let dir = name.rsplit_once('/').map(|(dir, _)| format!("{dir}/")).unwrap_or_default();
    format!("{dir}by-hash/SHA256/{digest}")
}

/// The index of one component, in the three forms apt and debootstrap know, and its short Release file.
fn index_files(plan: &Plan, component: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let lock = &plan.lock;
    let dir = format!("{component}/binary-{}", lock.arch);
    let mut text = String::new();
    for package in plan.packages.iter().filter(|p| p.locked.component == component) {
        text.push_str(&package.stanza);
        text.push('\n');
    }
    let pack = |source| Error::Pack { what: dir.clone(), source };
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
    let xz = xz.write_all(text.as_bytes()).and_then(|()| xz.finish()).map_err(pack)?;
    let mut gz = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::new(6));
    let gz = gz.write_all(text.as_bytes()).and_then(|()| gz.finish()).map_err(pack)?;
    let release = crate::deb822::render([
        ("Archive", lock.suite.as_str()),
        ("Origin", ORIGIN),
        ("Label", ORIGIN),
        ("Acquire-By-Hash", "yes"),
        ("Component", component),
        ("Architecture", lock.arch.as_str()),
    ]);
    Ok(vec![
        (format!("{dir}/Packages"), text.into_bytes()),
        (format!("{dir}/Packages.gz"), gz),
        (format!("{dir}/Packages.xz"), xz),
        (format!("{dir}/Release"), release.into_bytes()),
    ])
}

/// The Release file. There is no Valid-Until: a machine in an airgap must not lose its packages to a clock.
fn release_text(lock: &SnapshotLock, listed: &mut [(String, usize, Digest)]) -> String {
    listed.sort();
    let mut sums = String::new();
    for (name, size, digest) in listed.iter() {
        // Writing to a String cannot fail.
        let _ = write!(sums, "\n {digest} {size:>16} {name}");
    }
    let components = lock.components.join(" ");
    crate::deb822::render([
        ("Origin", ORIGIN),
        ("Label", ORIGIN),
        ("Suite", lock.suite.as_str()),
        ("Codename", lock.suite.as_str()),
        ("Date", format_date(lock.date()).as_str()),
        ("Acquire-By-Hash", "yes"),
        ("No-Support-for-Architecture-all", "Packages"),
        ("Architectures", format!("all {}", lock.arch).as_str()),
        ("Components", components.as_str()),
        ("Description", format!("Snapshot {}", lock.id()).as_str()),
        ("SHA256", sums.as_str()),
    ])
}
