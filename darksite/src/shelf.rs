//! Shelves: the folders of a large pool that hold many packages, each kept once for all snapshots that have the same in it.
//!
//! A snapshot of all of Debian has 69,000 packages in 37,000 folders and differs from the one before it in a few. A folder
//! such as `pool/main/r` is therefore made once, as `<snapshots>/shelves/<sha256 of its listing>`, and snapshots have a
//! symbolic link to it. A shelf never changes, and gets its name when it is complete and flushed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::SHELVES;
use cluster_seed::progress::Progress;
use sha2::{Digest as _, Sha256};

use crate::disk::{self, DiskError, failed};
use crate::lock::{LockedPackage, SnapshotLock};
use crate::pack;
use crate::pool;

/// A folder of fewer packages is made anew in every snapshot.
pub const MIN_PACKAGES: usize = 256;
/// Only below this a folder may be a link.
const POOL: &str = "pool/";

/// A folder of folders with packages.
#[derive(Debug)]
pub struct Shelf<'a> {
    /// Below the snapshot's directory, as `pool/main/r`.
    pub folder: &'a str,
    /// sha256 of its listing: a line for each package as sha256sum(1) writes it, sorted by path below the folder.
    pub id: Digest,
    /// Sorted by path.
    pub packages: Vec<&'a LockedPackage>,
}

/// The pool of a lock.
#[derive(Debug)]
pub struct Shelves<'a> {
    pub shelves: Vec<Shelf<'a>>,
    /// Packages outside of them, sorted by path.
    pub rest: Vec<&'a LockedPackage>,
}

impl Shelf<'_> {
    /// Where the link in a snapshot leads; relative, so that a data directory can be moved.
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
    /// Which folders are shelves: those with [`MIN_PACKAGES`] packages, all of them two levels below. A pure function of
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

/// Gives the packages of a snapshot in the making their names.
pub struct Linker<'a> {
    /// The snapshot in the making.
    pub dir: &'a Utf8Path,
    pub blobs: &'a Utf8Path,
    /// Where snapshots have their names.
    pub snapshots: &'a Utf8Path,
    /// Packages that were not here before this build. A shelf with one of them in it may hold the damaged file that this
    /// one replaces: the snapshot gets a folder of its own instead.
    pub fetched: &'a BTreeSet<Digest>,
}

/// Shelves in the making: where each lies, and where it belongs. It may get its name only after it was flushed.
pub type NewShelves = Vec<(Utf8PathBuf, Utf8PathBuf)>;

impl Linker<'_> {
    /// Where new shelves are made.
    pub fn workshop(&self) -> Utf8PathBuf {
        Utf8PathBuf::from(format!("{}.{SHELVES}", self.dir))
    }

    /// Links every package, on all cores.
    pub fn run(&self, lock: &SnapshotLock, progress: &dyn Progress) -> Result<NewShelves, DiskError> {
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
            // Two folders may hold the same.
            if !there && !new.iter().any(|(_, to)| *to == place) {
                let below = |p: &LockedPackage| made.join(p.filename.get(shelf.folder.len() + 1..).unwrap_or_default());
                jobs.extend(shelf.packages.iter().map(|p| (below(p), *p)));
                new.push((made, place));
            }
            let link = self.dir.join(shelf.folder);
            disk::create_dirs(link.parent().unwrap_or(self.dir))?;
            symlink(shelf.target(), &link).map_err(failed("linking", &link))?;
        }
        self.link(&jobs, progress)?;
        Ok(new)
    }

    fn link(&self, jobs: &[(Utf8PathBuf, &LockedPackage)], progress: &dyn Progress) -> Result<(), DiskError> {
        let share = jobs.len().div_ceil(pack::threads()).max(1);
        let one_share = |jobs: &[(Utf8PathBuf, &LockedPackage)]| -> Result<(), DiskError> {
            let mut made = Utf8Path::new("");
            for (path, package) in jobs {
                if progress.cancelled() {
                    return Err(DiskError::Cancelled);
                }
                let parent = path.parent().unwrap_or(self.dir);
                if made != parent {
                    disk::create_dirs(parent)?;
                    made = parent;
                }
                disk::link_into(&pool::blob_path(self.blobs, &package.sha256), path)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = jobs.chunks(share).map(|share| scope.spawn(move || one_share(share))).collect();
            // A panic of the thread is this thread's panic.
            threads.into_iter().try_for_each(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    /// Gives flushed shelves their names.
    pub fn place(&self, new: &NewShelves) -> Result<(), DiskError> {
        if new.is_empty() {
            return Ok(());
        }
        let shelves = self.snapshots.join(SHELVES);
        disk::create_dirs(&shelves)?;
        for (from, to) in new {
            fs::rename(from, to).map_err(failed("naming", to))?;
        }
        disk::sync_dir(&shelves)?;
        let workshop = self.workshop();
        fs::remove_dir(&workshop).map_err(failed("removing", &workshop))
    }
}

#[cfg(test)]
#[path = "shelf_tests.rs"]
mod tests;
