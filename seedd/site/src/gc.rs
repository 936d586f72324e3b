//! Garbage collection: finds blobs that nothing refers to, superseded outputs, and leftovers of killed jobs.
//!
//! A blob is in use if the lock of a snapshot, the manifest of an artifact or of extras, or a hard link refers to it; jobs that
//! may need blobs hold a lock.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result, anyhow, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::SHELVES;
use darksite::SnapshotLock;
use darksite::lock::{self, MAX_LOCK};
use darksite::shelf::Shelves;
use host::files::read_limited;

use super::holding::Alone;
use crate::Site;
use crate::artifacts::{chunks_of, manifest, netboot_set};
use crate::hint::Hint as _;
use crate::layout::ids;
use crate::store::Store;

/// Folders of darksite jobs in `tmp` that only a running job can use (those of `image` are in [`image::WORKDIRS`]).
const DEAD: &[&str] = &["snapshot-", "extras-", "import.done", "drill-", image::CHUNK_FILE];
/// Suffix of a complete download whose digest was not checked yet.
const WHOLE: &str = ".whole";
/// Prefixes of folders with which an interrupted job resumes.
const UNFINISHED: &[&str] = &["import-", "export-", "archive-"];
/// Suffix of incomplete downloads; they are resumed too.
const PART: &str = ".part";
const LOCKS: &[&str] = &["importing.lock", "import.lock"];

/// Length of a digest in hex digits.
const HEX: usize = 64;

/// A file or folder that nothing needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waste {
    pub path: Utf8PathBuf,
    pub bytes: u64,
    pub kind: &'static str,
}

/// Lists what can be deleted. `unfinished` adds what interrupted jobs need to resume.
///
/// # Errors
/// When a snapshot, an artifact or extras cannot be read: then it is not known what they need, and nothing may be deleted.
pub fn survey(site: &Site, store: &Store, unfinished: bool, _alone: &Alone) -> Result<Vec<Waste>> {
    ensure!(!site.join(crate::settle::STAGED).exists(), "an import is not finished yet");
    let (used, on_shelves) = used(site, store)?;
    let mut waste = shelves(site, &on_shelves)?;
    let mut names = HashMap::new();
    for shelf in &waste {
        names_in(&shelf.path, &mut names)?;
    }
    waste.extend(blobs(site, &used, &names)?);
    let tmp = site.join("tmp");
    for entry in tmp.read_dir_utf8().with_context(|| format!("listing {tmp}"))? {
        let entry = entry?;
        let name = entry.file_name();
        let begins = |list: &[&str]| list.iter().any(|prefix| name.starts_with(prefix));
        let kind = if LOCKS.contains(&name) {
            continue;
        } else if begins(DEAD) || begins(image::WORKDIRS) || name.ends_with(WHOLE) {
            "left by a killed job"
        } else if unfinished && (begins(UNFINISHED) || name.ends_with(PART)) {
            "unfinished work"
        } else {
            continue;
        };
        waste.push(Waste { bytes: size(entry.path())?, path: entry.into_path(), kind });
    }
    let proofs = site.join("proofs");
    if proofs.is_dir() {
        for entry in proofs.read_dir_utf8().with_context(|| format!("listing {proofs}"))? {
            let entry = entry?;
            if !site.join("snapshots").join(entry.file_name()).is_dir() {
                waste.push(Waste { bytes: size(entry.path())?, path: entry.into_path(), kind: "proof without its snapshot" });
            }
        }
    }
    waste.extend(outputs(site, store)?);
    waste.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(waste)
}

/// Outputs of artifacts that are no longer in use, but for the newest of each role and target.
fn outputs(site: &Site, store: &Store) -> Result<Vec<Waste>> {
    let all = crate::outputs::list(site, store, &site.keys().public()?.site_key()?)?;
    let superseded = crate::outputs::superseded(all);
    Ok(superseded.into_iter().map(|h| Waste { path: h.output.dir, bytes: h.bytes, kind: "superseded output" }).collect())
}

/// Deletes what [`survey`] listed.
pub fn remove(waste: &[Waste], _alone: &Alone) -> Result<()> {
    for one in waste {
        let meta = fs::symlink_metadata(&one.path).with_context(|| format!("looking at {}", one.path))?;
        let gone = if meta.is_dir() { fs::remove_dir_all(&one.path) } else { fs::remove_file(&one.path) };
        gone.with_context(|| format!("removing {}", one.path))?;
    }
    Ok(())
}

/// Digests of blobs and of shelves that are in use.
fn used(site: &Site, store: &Store) -> Result<(BTreeSet<Digest>, BTreeSet<Digest>)> {
    let (mut used, mut shelves) = (BTreeSet::new(), BTreeSet::new());
    let hint = "delete or repair it first; until then it is not known which blobs it needs";
    for id in ids(&site.join("snapshots"))? {
        let path = site.snapshot(id).join("snapshot.lock");
        let lock = locked(&path, id).with_context(|| format!("reading {path}")).hint(hint)?;
        used.extend(lock.split_ascii_whitespace().filter(|w| w.len() == HEX).filter_map(|w| w.parse::<Digest>().ok()));
        match SnapshotLock::parse(&lock) {
            Ok(lock) => shelves.extend(Shelves::of(&lock).shelves.iter().map(|s| s.id)),
            // A lock of another version: its shelves are not known, so all are kept.
            Err(_) => shelves.extend(ids(&site.join("snapshots").join(SHELVES))?),
        }
    }
    let key = site.keys().public()?.site_key()?;
    for id in ids(&site.join("artifacts"))? {
        used.extend(chunks_of(&manifest(site, id, &key).hint(hint)?).map(|(digest, _)| digest));
    }
    used.extend(crate::extras::used(site, store).hint(hint)?);
    Ok((used, shelves))
}

/// A lock's text. In locks of all versions every digest is a separate word, so the packages of snapshots made by an older
/// program are kept too.
fn locked(path: &Utf8Path, id: Digest) -> Result<String> {
    let bytes = read_limited(path, MAX_LOCK as u64)?;
    ensure!(Digest::of(&bytes) == id, "it is not the lock of snapshot {id}");
    let text = String::from_utf8(bytes)?;
    ensure!(text.starts_with(lock::NAME), "it is not a lock");
    Ok(text)
}

/// Shelves that no snapshot uses any more.
fn shelves(site: &Site, used: &BTreeSet<Digest>) -> Result<Vec<Waste>> {
    let folder = site.join("snapshots").join(SHELVES);
    let unused = ids(&folder)?.into_iter().filter(|id| !used.contains(id));
    Ok(unused.map(|id| Waste { path: folder.join(id.to_string()), bytes: 0, kind: "shelf of packages" }).collect())
}

/// The number of hard links to each file below a folder, by inode.
fn names_in(folder: &Utf8Path, names: &mut HashMap<u64, u64>) -> Result<()> {
    for entry in folder.read_dir_utf8().with_context(|| format!("listing {folder}"))? {
        let entry = entry?;
        let meta = fs::symlink_metadata(entry.path()).with_context(|| format!("looking at {}", entry.path()))?;
        if meta.is_dir() {
            names_in(entry.path(), names)?;
        } else {
            *names.entry(meta.ino()).or_default() += 1;
        }
    }
    Ok(())
}

/// `going`: by inode, the number of hard links that will be deleted together with these blobs.
fn blobs(site: &Site, used: &BTreeSet<Digest>, going: &HashMap<u64, u64>) -> Result<Vec<Waste>> {
    let top = site.join("blobs/sha256");
    let mut waste = Vec::new();
    for shelf in top.read_dir_utf8().with_context(|| format!("listing {top}"))? {
        let shelf = shelf?;
        if !shelf.file_type()?.is_dir() {
            continue;
        }
        for entry in shelf.path().read_dir_utf8().with_context(|| format!("listing {}", shelf.path()))? {
            let entry = entry?;
            let meta = fs::symlink_metadata(entry.path()).with_context(|| format!("looking at {}", entry.path()))?;
            let Ok(digest) = entry.file_name().parse::<Digest>() else { continue };
            // A symbolic link points to an adopted medium and takes no space; a second hard link means that a file uses it.
            let names = meta.nlink() - going.get(&meta.ino()).copied().unwrap_or(0).min(meta.nlink());
            if meta.is_file() && names == 1 && !used.contains(&digest) {
                waste.push(Waste { path: entry.into_path(), bytes: meta.len(), kind: "blob" });
            }
        }
    }
    Ok(waste)
}

/// Bytes of a file, or of all regular files below a folder that have no other hard link.
fn size(path: &Utf8Path) -> Result<u64> {
    let meta = fs::symlink_metadata(path).with_context(|| format!("looking at {path}"))?;
    if !meta.is_dir() {
        return Ok(if meta.is_file() && meta.nlink() == 1 { meta.len() } else { 0 });
    }
    let mut sum = 0;
    for entry in path.read_dir_utf8().with_context(|| format!("listing {path}"))? {
        sum += size(entry?.path())?;
    }
    Ok(sum)
}

/// Deletes a snapshot, unless it is in use, or an artifact or netboot set in use was built from it.
pub fn remove_snapshot(site: &Site, store: &Store, id: Digest, _alone: &Alone) -> Result<()> {
    let dir = site.snapshot(id);
    ensure!(dir.is_dir(), "there is no snapshot {id}");
    if store.snapshot()? == Some(id) {
        return Err(anyhow!("snapshot {id} is in use")).hint("put another one in use first: `seedd darksite use ID`");
    }
    if let Some(what) = builds_on(site, store, id)? {
        return Err(anyhow!("{what} in use was built from snapshot {id}"))
            .hint("its nodes may still need packages of it; build it from another snapshot first");
    }
    let gone = site.join("tmp").join(format!("snapshot-{id}.removed"));
    if gone.exists() {
        fs::remove_dir_all(&gone).with_context(|| format!("removing {gone}"))?;
    }
    // Renamed first: an incomplete snapshot must never be listed or served.
    fs::rename(&dir, &gone).with_context(|| format!("removing {dir}"))?;
    fs::remove_dir_all(&gone).with_context(|| format!("removing {gone}"))?;
    let proof = site.join("proofs").join(id.to_string());
    if proof.is_dir() {
        fs::remove_dir_all(&proof).with_context(|| format!("removing {proof}"))?;
    }
    Ok(())
}

/// The artifact or netboot set in use that was built from this snapshot.
fn builds_on(site: &Site, store: &Store, id: Digest) -> Result<Option<String>> {
    let key = site.keys().public()?.site_key()?;
    for (role, artifact) in store.artifacts()? {
        if manifest(site, artifact, &key)?.spec.snapshot == id {
            return Ok(Some(format!("the artifact of role {role}")));
        }
    }
    let netboot = store.netboot()?.map(|set| netboot_set(&site.join("netboot").join(set.to_string()), &key)).transpose()?;
    Ok(netboot.filter(|n| n.snapshot == id).map(|_| "the netboot set".to_owned()))
}
