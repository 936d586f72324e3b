//! Why a package is in a snapshot, resolved again from the snapshot itself: without a mirror.

use std::collections::{BTreeMap, HashMap};

use crate::error::Error;
use crate::format::index;
use crate::format::lock::{LockedPackage, SnapshotLock};
use crate::plan::companion::Companion;
use crate::plan::resolve::{self, Universe};
use crate::plan::why::{self, RoleWhy, role_why};

/// A lock with the reasons for its packages.
pub struct Explained {
    pub lock: SnapshotLock,
    why: Vec<RoleWhy>,
}

impl Explained {
    /// As [`crate::Plan::why`].
    pub fn why(&self, name: &str) -> Vec<(&LockedPackage, BTreeMap<String, Vec<String>>)> {
        why::why(&self.lock, &self.why, name)
    }

    /// Names similar to `name`, for a message.
    pub fn suggest(&self, name: &str) -> Vec<&str> {
        let mut near: Vec<&str> = self.lock.packages.iter().map(|p| p.name.as_str()).filter(|n| n.contains(name)).collect();
        near.dedup();
        near.truncate(3);
        near
    }
}

/// Resolves the roots of a lock among its own packages.
pub fn explain(lock: SnapshotLock, companion: &Companion) -> Result<Explained, Error> {
    let Some((indexes, texts)) = &companion.indexes else {
        return Err(Error::Request("the lock's folder FILE.d, which has its indexes, is missing".to_owned()));
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
    let closures = resolve::closures(&lock.roots, &lock.architectures, lock.recommends, &universe)?;
    let places: HashMap<(&str, &str, &str), usize> =
        lock.packages.iter().enumerate().map(|(at, p)| ((p.name.as_str(), p.arch.as_str(), p.filename.as_str()), at)).collect();
    let place = |at: usize| {
        let e = universe.entry(at);
        Some((at, *places.get(&(e.name, e.arch, e.filename))?))
    };
    let place: HashMap<usize, usize> = (0..universe.len()).filter_map(place).collect();
    let several = lock.architectures.len() > 1;
    let why = closures.iter().map(|c| role_why(c, &place, several)).collect();
    Ok(Explained { lock, why })
}
