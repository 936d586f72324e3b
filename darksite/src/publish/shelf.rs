//! Shelves: folders of many packages, each stored once for all snapshots in which it has the same content.
//!
//! A snapshot of all of Debian has 69,000 packages in 37,000 folders and differs from the one before in a few. So a folder
//! such as `pool/main/r` is created once, as `<snapshots>/shelves/<sha256 of its listing>`, and snapshots have a symbolic link
//! to it. A shelf never changes, and gets its name when it is complete and flushed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::SHELVES;
use cluster_seed::progress::Progress;
use host::blobs::blob_path;
use host::files::{self, FileError, failed};
use host::parallel::{cores, try_each};
use sha2::{Digest as _, Sha256};

use crate::format::lock::{LockedPackage, SnapshotLock};

/// Folders of fewer packages are created in every snapshot.
pub const MIN_PACKAGES: usize = 256;
/// Only folders below this may be links.
const POOL: &str = "pool/";

/// A folder of folders with packages.
#[derive(Debug)]
pub struct Shelf<'a> {
    /// Below the snapshot's directory, for example `pool/main/r`.
    pub folder: &'a str,
    /// sha256 of its listing: a line for each package in the format of sha256sum(1), sorted by path below the folder.
    pub id: Digest,
    /// Sorted by path.
    pub packages: Vec<&'a LockedPackage>,
}

/// The pool of a lock.
#[derive(Debug)]
pub struct Shelves<'a> {
    pub shelves: Vec<Shelf<'a>>,
    /// The other packages, sorted by path.
    pub rest: Vec<&'a LockedPackage>,
}

impl Shelf<'_> {
    /// Target of the link in a snapshot; relative, so that a data directory can be moved.
    pub fn target(&self) -> String {
        format!("{}{SHELVES}/{}", "../".repeat(self.folder.split('/').count()), self.id)
    }

    fn listing(&self) -> Digest {
        let mut sum = Sha256::new();
        for package in &self.packages {
            let below = package.filename.get(self.folder.len() + 1..).unwrap_or_default();
            sum.update(format!("{}  {below}\n", package.sha256));
        }
        Digest(sum.finalize().into())
    }
}

impl<'a> Shelves<'a> {
    /// The shelves are the folders with at least [`MIN_PACKAGES`] packages, all of them two levels below. A pure function of
    /// the lock.
    pub fn of(lock: &'a SnapshotLock) -> Self {
        let mut order: Vec<&LockedPackage> = lock.packages.iter().collect();
        order.sort_unstable_by_key(|p| &p.filename);
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for folder in order.iter().filter_map(|p| grandparent(&p.filename)) {
            *counts.entry(folder).or_default() += 1;
        }
        counts.retain(|folder, count| *count >= MIN_PACKAGES && below(&order, folder) == *count);
        let mut all = Shelves { shelves: Vec::new(), rest: Vec::new() };
        for package in order {
            match grandparent(&package.filename).filter(|f| counts.contains_key(f)) {
                None => all.rest.push(package),
                Some(folder) => match all.shelves.last_mut() {
                    Some(last) if last.folder == folder => last.packages.push(package),
                    _ => all.shelves.push(Shelf { folder, id: Digest([0; 32]), packages: vec![package] }),
                },
            }
        }
        for shelf in &mut all.shelves {
            shelf.id = shelf.listing();
        }
        all
    }
}

/// `pool/main/r` of `pool/main/r/rust/rust_1_amd64.deb`.
fn grandparent(filename: &str) -> Option<&str> {
    let (folder, _) = filename.rsplit_once('/')?.0.rsplit_once('/')?;
    folder.starts_with(POOL).then_some(folder)
}

/// Packages anywhere below a folder.
fn below(order: &[&LockedPackage], folder: &str) -> usize {
    let prefix = format!("{folder}/");
    let start = order.partition_point(|p| p.filename.as_str() < prefix.as_str());
    order[start..].iter().take_while(|p| p.filename.starts_with(&prefix)).count()
}

/// Links the packages into an unfinished snapshot.
pub struct Linker<'a> {
    /// The unfinished snapshot.
    pub dir: &'a Utf8Path,
    pub blobs: &'a Utf8Path,
    /// The folder of finished snapshots.
    pub snapshots: &'a Utf8Path,
    /// Packages that this build fetched. A shelf of one of them may contain the damaged file that it replaces: the snapshot
    /// gets its own folder instead.
    pub fetched: &'a BTreeSet<Digest>,
}

/// Unfinished shelves: where each is, and its final name, which it may get only after it was flushed.
pub type NewShelves = Vec<(Utf8PathBuf, Utf8PathBuf)>;

impl Linker<'_> {
    /// Where new shelves are created.
    pub fn workshop(&self) -> Utf8PathBuf {
        Utf8PathBuf::from(format!("{}.{SHELVES}", self.dir))
    }

    /// Links every package, on all cores.
    pub fn run(&self, lock: &SnapshotLock, progress: &dyn Progress) -> Result<NewShelves, FileError> {
        let all = Shelves::of(lock);
        let workshop = self.workshop();
        let mut new: NewShelves = Vec::new();
        let mut jobs: Vec<(Utf8PathBuf, &LockedPackage)> = all.rest.iter().map(|p| (self.dir.join(&p.filename), *p)).collect();
        for shelf in &all.shelves {
            let place = self.snapshots.join(SHELVES).join(shelf.id.to_string());
            let there = place.is_dir();
            if there && shelf.packages.iter().any(|p| self.fetched.contains(&p.sha256)) {
                jobs.extend(shelf.packages.iter().map(|p| (self.dir.join(&p.filename), *p)));
                continue;
            }
            let made = workshop.join(shelf.id.to_string());
            // Two folders may have the same content.
            if !there && !new.iter().any(|(_, to)| *to == place) {
                let below = |p: &LockedPackage| made.join(p.filename.get(shelf.folder.len() + 1..).unwrap_or_default());
                jobs.extend(shelf.packages.iter().map(|p| (below(p), *p)));
                new.push((made, place));
            }
            let link = self.dir.join(shelf.folder);
            files::create_dirs(link.parent().unwrap_or(self.dir))?;
            symlink(shelf.target(), &link).map_err(failed("linking", &link))?;
        }
        self.link(&jobs, progress)?;
        Ok(new)
    }

    fn link(&self, jobs: &[(Utf8PathBuf, &LockedPackage)], progress: &dyn Progress) -> Result<(), FileError> {
        // In runs, so that a folder is created once and not for each of its packages.
        let runs: Vec<_> = jobs.chunks(jobs.len().div_ceil(cores()).max(1)).collect();
        try_each(cores(), &runs, |_, run| {
            let mut made = Utf8Path::new("");
            for (path, package) in *run {
                if progress.cancelled() {
                    return Err(FileError::Cancelled);
                }
                let parent = path.parent().unwrap_or(self.dir);
                if made != parent {
                    files::create_dirs(parent)?;
                    made = parent;
                }
                files::link(&blob_path(self.blobs, &package.sha256), path)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Renames flushed shelves to their final names.
    pub fn place(&self, new: &NewShelves) -> Result<(), FileError> {
        if new.is_empty() {
            return Ok(());
        }
        let shelves = self.snapshots.join(SHELVES);
        files::create_dirs(&shelves)?;
        for (from, to) in new {
            fs::rename(from, to).map_err(failed("naming", to))?;
        }
        files::sync_dir(&shelves)?;
        let workshop = self.workshop();
        fs::remove_dir(&workshop).map_err(failed("removing", &workshop))
    }
}

#[cfg(test)]
mod tests;
