//! The published tree: `dists/` with indexes and signatures, `pool/` of links to blobs, lock, manifest, keyring.
//!
//! Every byte depends on the plan and the keys only: not on the clock, the host name or the order of a directory.

use std::fmt::Write as _;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::SnapshotManifest;
use cluster_seed::progress::Progress;
use cluster_seed::seal::{Sealed, SigningKey};
use host::blobs::blob_path;
use host::files::{self, FileError, failed};

use crate::error::Error;
use crate::format::date::format_date;
use crate::format::deb822;
use crate::format::layout::{MAX_MANIFEST, ORIGIN, by_hash, upstream_name};
use crate::format::lock::SnapshotLock;
use crate::paths::Paths;
use crate::plan::draft::Plan;
use crate::publish::pack::{self, ShardCache};
use crate::publish::release_key::ReleaseKey;
use crate::publish::shelf::{Linker, NewShelves};
use crate::publish::stub;
use crate::upstream::fetch::Fetch;
use crate::upstream::pool;

/// Prefix of an unfinished tree; the snapshot's id follows.
const LEFTOVER: &str = "snapshot-";

/// A complete snapshot on disk.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub id: Digest,
    pub dir: Utf8PathBuf,
    pub manifest: SnapshotManifest,
    /// False if it existed before.
    pub built: bool,
}

/// Fetches what is missing and publishes. A snapshot that exists is returned at once, unless this site signed it with another
/// release key: then it is built again and replaced.
pub fn build(
    plan: &Plan,
    paths: &Paths,
    fetch: &dyn Fetch,
    release_key: &ReleaseKey,
    site_key: &SigningKey,
    progress: &dyn Progress,
) -> Result<Snapshot, Error> {
    let text = plan.lock.render();
    let id = Digest::of(text.as_bytes());
    let dir = paths.snapshots.join(id.to_string());
    files::create_dirs(&paths.tmp)?;
    // One build at a time. The lock ends with this handle, even if the process is killed.
    let lock = failed("locking", &paths.tmp);
    let tmp_dir = fs::File::open(&paths.tmp).map_err(&lock)?;
    tmp_dir.lock().map_err(&lock)?;
    let replace = dir.is_dir();
    if replace && let Some(held) = existing(id, &dir, release_key, site_key)? {
        return Ok(held);
    }
    let wanted = plan.wanted();
    let fetched = pool::fetch_all(&wanted, &paths.blobs, &paths.tmp, fetch, progress)?;
    remove_leftovers(&paths.tmp)?;
    let tmp = paths.tmp.join(format!("{LEFTOVER}{id}"));
    files::create_dirs(&tmp)?;
    let cache = ShardCache::new(&paths.cache);
    let linker = Linker { dir: &tmp, blobs: &paths.blobs, snapshots: &paths.snapshots, fetched: &fetched };
    let tree = Tree { dir: &tmp, id, linker: &linker };
    let (manifest, shelves) = tree.write(plan, &text, &cache, release_key, site_key, progress)?;
    progress.begin("flushing to disk", None);
    files::sync_file_system(&tmp)?;
    files::create_dirs(&paths.snapshots)?;
    linker.place(&shelves)?;
    match replace {
        true => files::exchange(&tmp, &dir)?,
        false => fs::rename(&tmp, &dir).map_err(failed("naming", &dir))?,
    }
    files::sync_dir(&paths.snapshots)?;
    if replace {
        fs::remove_dir_all(&tmp).map_err(failed("removing", &tmp))?;
    }
    cache.prune();
    progress.end();
    Ok(Snapshot { id, dir, manifest, built: true })
}

/// Removes what an interrupted build left. The caller has the lock, so nobody else is building.
fn remove_leftovers(tmp: &Utf8Path) -> Result<(), FileError> {
    for entry in tmp.read_dir_utf8().map_err(failed("reading directory", tmp))? {
        let entry = entry.map_err(failed("reading directory", tmp))?;
        if entry.file_name().starts_with(LEFTOVER) {
            fs::remove_dir_all(entry.path()).map_err(failed("removing", entry.path()))?;
        }
    }
    Ok(())
}

/// The snapshot that is there, if it is signed with this release key.
///
/// # Errors
/// If another site made it.
fn existing(id: Digest, dir: &Utf8Path, release_key: &ReleaseKey, site_key: &SigningKey) -> Result<Option<Snapshot>, Error> {
    let foreign = || Error::ForeignSnapshot { dir: dir.to_owned() };
    let json = files::read_limited(&dir.join("snapshot.json"), MAX_MANIFEST)?;
    let sealed: Sealed<SnapshotManifest> = serde_json::from_slice(&json).map_err(|_| foreign())?;
    let manifest = sealed.open(&site_key.verifying_key()).map_err(|_| foreign())?;
    if manifest.id != id {
        return Err(foreign());
    }
    let keyring = files::read_limited(&dir.join("keyring.gpg"), MAX_MANIFEST)?;
    let same = keyring == release_key.public_keyring()?;
    Ok(same.then(|| Snapshot { id, dir: dir.to_owned(), manifest, built: false }))
}

/// An unfinished tree. It is flushed to disk before it gets its name.
struct Tree<'a> {
    dir: &'a Utf8Path,
    id: Digest,
    linker: &'a Linker<'a>,
}

/// A file of `dists/<suite>/` for the Release file: path, bytes, digest.
type Listed = (String, u64, Digest);

impl Tree<'_> {
    fn write(
        &self,
        plan: &Plan,
        lock_text: &str,
        cache: &ShardCache,
        release_key: &ReleaseKey,
        site_key: &SigningKey,
        progress: &dyn Progress,
    ) -> Result<(SnapshotManifest, NewShelves), Error> {
        let lock = &plan.lock;
        let dists = self.dir.join("dists").join(&lock.suite);
        progress.begin("packing indexes", None);
        let mut listed = self.indexes(plan, &dists, cache, progress)?;
        progress.end();
        progress.begin("linking packages", None);
        let shelves = self.linker.run(lock, progress)?;
        progress.end();
        for file in &lock.files {
            files::link_creating(&blob_path(self.linker.blobs, &file.sha256), &dists.join(&file.path))?;
            listed.push((file.path.clone(), file.size, file.sha256));
        }
        let release = release_text(lock, self.id, &mut listed);
        let date = lock.date();
        self.file(&dists.join("Release"), release.as_bytes())?;
        self.file(&dists.join("InRelease"), release_key.sign_cleartext(&release, date)?.as_bytes())?;
        self.file(&dists.join("Release.gpg"), release_key.sign_detached(release.as_bytes(), date)?.as_bytes())?;
        self.file(&self.dir.join("keyring.gpg"), &release_key.public_keyring()?)?;
        self.file(&self.dir.join("snapshot.lock"), lock_text.as_bytes())?;
        for file in &plan.upstream {
            self.file(&self.dir.join(upstream_name(&file.suite)), &file.bytes)?;
        }
        let manifest = SnapshotManifest {
            id: self.id,
            suite: lock.suite.clone(),
            components: lock.components.clone(),
            architectures: lock.architectures.iter().cloned().chain(["all".to_owned()]).collect(),
            roots: lock.roots.clone(),
            packages: u32::try_from(lock.packages.len()).unwrap_or(u32::MAX),
            bytes: lock.bytes(),
            release: Digest::of(release.as_bytes()),
        };
        let sealed = Sealed::sign(&manifest, site_key).and_then(|s| Ok(serde_json::to_vec(&s)?));
        self.file(&self.dir.join("snapshot.json"), &sealed.map_err(Error::Seal)?)?;
        Ok((manifest, shelves))
    }

    #[allow(clippy::disallowed_methods, reason = "the whole tree is synced before its folder gets its name")]
    fn file(&self, path: &Utf8Path, bytes: &[u8]) -> Result<(), FileError> {
        if let Some(parent) = path.parent() {
            files::create_dirs(parent)?;
        }
        fs::write(path, bytes).map_err(failed("writing", path))
    }

    /// Every index in three forms and by its hashes, and the files that apt and the installer expect beside them.
    fn indexes(&self, plan: &Plan, dists: &Utf8Path, cache: &ShardCache, progress: &dyn Progress) -> Result<Vec<Listed>, Error> {
        let mut listed = Vec::new();
        for index in &plan.indexes {
            if progress.cancelled() {
                return Err(FileError::Cancelled.into());
            }
            let stanzas = index.named(&plan.texts);
            let packed = pack::pack(&stanzas, Some(cache)).map_err(|source| Error::Pack { what: index.path.clone(), source })?;
            let path = dists.join(&index.path);
            files::create_dirs(path.parent().unwrap_or(dists))?;
            let (size, digest) = pack::write_plain_file(&stanzas, &path).map_err(failed("writing", &path))?;
            files::link_creating(&path, &dists.join(by_hash(&index.path, &digest)))?;
            listed.push((index.path.clone(), size, digest));
            for (ending, bytes) in [("gz", packed.gz), ("xz", packed.xz)] {
                listed.push(self.index(dists, format!("{}.{ending}", index.path), &bytes)?);
            }
            if index.path.ends_with("/Packages") {
                listed.push(self.index(
                    dists,
                    index.path.replace("Packages", "Release"),
                    short_release(&plan.lock, &index.path).as_bytes(),
                )?);
            }
        }
        for (name, bytes) in
            stub::files(&plan.lock).map_err(|source| Error::Pack { what: "the AppStream stubs".to_owned(), source })?
        {
            listed.push(self.index(dists, name, &bytes)?);
        }
        Ok(listed)
    }

    /// An index under its name and by its hash, so that a client in the middle of an update finds the one that its Release
    /// file lists.
    fn index(&self, dists: &Utf8Path, name: String, bytes: &[u8]) -> Result<Listed, FileError> {
        let path = dists.join(&name);
        let digest = Digest::of(bytes);
        self.file(&path, bytes)?;
        files::link_creating(&path, &dists.join(by_hash(&name, &digest)))?;
        Ok((name, bytes.len() as u64, digest))
    }
}

/// The short Release file beside a Packages file, `main/binary-amd64/Release`.
fn short_release(lock: &SnapshotLock, packages: &str) -> String {
    let (component, rest) = packages.rsplit_once("/binary-").unwrap_or((packages, ""));
    deb822::render([
        ("Archive", lock.suite.as_str()),
        ("Origin", ORIGIN),
        ("Label", ORIGIN),
        ("Acquire-By-Hash", "yes"),
        ("Component", component),
        ("Architecture", rest.split('/').next().unwrap_or_default()),
    ])
}

/// The Release file. It has no Valid-Until: an air-gapped machine must not lose its packages to a wrong clock.
fn release_text(lock: &SnapshotLock, id: Digest, listed: &mut [Listed]) -> String {
    listed.sort();
    let mut sums = String::new();
    for (name, size, digest) in listed.iter() {
        // Writing to a String cannot fail.
        let _ = write!(sums, "\n {digest} {size:>16} {name}");
    }
    let components = lock.components.join(" ");
    deb822::render([
        ("Origin", ORIGIN),
        ("Label", ORIGIN),
        ("Suite", lock.suite.as_str()),
        ("Codename", lock.suite.as_str()),
        ("Date", format_date(lock.date()).as_str()),
        ("Acquire-By-Hash", "yes"),
        ("No-Support-for-Architecture-all", "Packages"),
        ("Architectures", format!("all {}", lock.architectures.join(" ")).as_str()),
        ("Components", components.as_str()),
        ("Description", format!("Snapshot {id}").as_str()),
        ("SHA256", sums.as_str()),
    ])
}
