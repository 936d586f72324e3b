//! Why a package is in a snapshot, found out again from the snapshot itself: no mirror is asked.

use std::collections::{BTreeMap, HashMap};

use camino::Utf8Path;

use crate::choose::{self, RoleWhy};
use crate::companion::{Companion, index_of};
use crate::disk;
use crate::error::Error;
use crate::index;
use crate::lock::{LockedPackage, MAX_LOCK, SnapshotLock};
use crate::plan::MAX_INDEX;
use crate::resolve::Universe;
use crate::texts::Texts;

/// A lock with the reasons of its packages.
pub struct Explained {
    pub lock: SnapshotLock,
    why: Vec<RoleWhy>,
}

impl Explained {
    /// Packages of a name with, per role, the chain that brings each in, from the role down. `full` takes packages that no
    /// role needs: these have no chain.
    pub fn why(&self, name: &str) -> Vec<(&LockedPackage, BTreeMap<String, Vec<String>>)> {
        choose::why(&self.lock, &self.why, name)
    }

    /// Names close to `name`, for a message.
    pub fn suggest(&self, name: &str) -> Vec<&str> {
        let mut near: Vec<&str> = self.lock.packages.iter().map(|p| p.name.as_str()).filter(|n| n.contains(name)).collect();
        near.dedup();
        near.truncate(3);
        near
    }
}

/// Reads the lock and the indexes of a published snapshot. Nothing is verified: see [`crate::verify`].
pub fn read_snapshot(dir: &Utf8Path) -> Result<(SnapshotLock, Companion), Error> {
    let path = dir.join("snapshot.lock");
    let text = |path: &Utf8Path, limit| -> Result<String, Error> {
        String::from_utf8(disk::read_limited(path, limit)?).map_err(|_| Error::NotUtf8 { url: path.to_string() })
    };
    let lock = SnapshotLock::parse(&text(&path, MAX_LOCK as u64)?).map_err(|source| Error::Lock { path, source })?;
    let mut texts = Texts::default();
    let mut indexes = Vec::new();
    for file in &lock.indexes {
        let path = dir.join("dists").join(&lock.suite).join(&file.path);
        indexes.push(index_of(&file.path, text(&path, MAX_INDEX)?, &mut texts));
    }
    Ok((lock, Companion { releases: BTreeMap::new(), indexes: Some((indexes, texts)) }))
}

/// Resolves the roots of a lock within its own packages.
pub fn explain(lock: SnapshotLock, companion: &Companion) -> Result<Explained, Error> {
    let Some((indexes, texts)) = &companion.indexes else {
        return Err(Error::Request("the folder of indexes beside the lock is missing".to_owned()));
    };
    let mut per_arch = Vec::new();
    for arch in &lock.architectures {
        let mut list = Vec::new();
        let ours = |path: &str| path.ends_with(&format!("/binary-{arch}/Packages")) && !path.contains("/debian-installer/");
        for index in indexes.iter().filter(|i| ours(&i.path)) {
            for (_, stanza) in index.named(texts) {
                let failed = |source| Error::Index { index: index.path.clone(), source };
                list.extend(index::parse(stanza, arch, 0).map_err(failed)?);
            }
        }
        per_arch.push((arch.clone(), list));
    }
    let universe = Universe::new(per_arch)?;
    let closures = choose::closures(&lock.roots, &lock.architectures, lock.recommends, &universe)?;
    let places: HashMap<(&str, &str, &str), usize> =
        lock.packages.iter().enumerate().map(|(at, p)| ((p.name.as_str(), p.arch.as_str(), p.filename.as_str()), at)).collect();
    let place = |at: usize| {
        let e = universe.entry(at);
        Some((at, *places.get(&(e.name, e.arch, e.filename))?))
    };
    let place: HashMap<usize, usize> = (0..universe.len()).filter_map(place).collect();
    let several = lock.architectures.len() > 1;
    let why = closures.iter().map(|c| choose::role_why(c, &place, several)).collect();
    Ok(Explained { lock, why })
}
