//! What changed between two locks, and how much data the upgrade needs.

use std::collections::{BTreeMap, BTreeSet};

use cluster_seed::ids::Digest;
use serde::Serialize;

use crate::format::lock::{LockedPackage, SnapshotLock};
use crate::format::version;

/// A package of one name and architecture in both locks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    pub name: String,
    pub arch: String,
    /// Version in the first lock; None if it was added.
    pub before: Option<String>,
    /// Version in the second lock; None if it was removed.
    pub after: Option<String>,
    /// Bytes of the .deb in the second lock.
    pub size: u64,
}

/// The difference between two locks. Each list is sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub added: Vec<Changed>,
    pub removed: Vec<Changed>,
    pub upgraded: Vec<Changed>,
    /// To an earlier version.
    pub downgraded: Vec<Changed>,
    /// The same version with different content.
    pub rebuilt: Vec<Changed>,
    /// Unchanged packages.
    pub kept: usize,
    /// Bytes to transfer to a site that has the first snapshot.
    pub transfer: u64,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        let Difference { added, removed, upgraded, downgraded, rebuilt, .. } = self;
        [added, removed, upgraded, downgraded, rebuilt].iter().all(|l| l.is_empty())
    }
}

type Key<'a> = (&'a str, &'a str, &'a str);

fn by_key(lock: &SnapshotLock) -> BTreeMap<Key<'_>, Vec<&LockedPackage>> {
    let mut all: BTreeMap<Key<'_>, Vec<&LockedPackage>> = BTreeMap::new();
    for package in &lock.packages {
        all.entry((&package.name, &package.arch, &package.component)).or_default().push(package);
    }
    all
}

/// Compares two locks: from the first to the second.
pub fn diff(before: &SnapshotLock, after: &SnapshotLock) -> Difference {
    let (old, new) = (by_key(before), by_key(after));
    let keys: BTreeSet<Key<'_>> = old.keys().chain(new.keys()).copied().collect();
    let mut result = Difference::default();
    for key in keys {
        let (a, b) = (old.get(&key).and_then(|l| l.first()), new.get(&key).and_then(|l| l.first()));
        let changed = Changed {
            name: key.0.to_owned(),
            arch: key.1.to_owned(),
            before: a.map(|p| p.version.clone()),
            after: b.map(|p| p.version.clone()),
            size: b.map_or(0, |p| p.size),
        };
        match (a, b) {
            (None, _) => result.added.push(changed),
            (_, None) => result.removed.push(changed),
            (Some(a), Some(b)) => match version::compare(&a.version, &b.version) {
                std::cmp::Ordering::Less => result.upgraded.push(changed),
                std::cmp::Ordering::Greater => result.downgraded.push(changed),
                std::cmp::Ordering::Equal if a.sha256 != b.sha256 => result.rebuilt.push(changed),
                std::cmp::Ordering::Equal => result.kept += 1,
            },
        }
    }
    let have: BTreeSet<Digest> = before.packages.iter().map(|p| p.sha256).chain(before.files.iter().map(|f| f.sha256)).collect();
    let packages = after.packages.iter().map(|p| (p.sha256, p.size));
    let needed: BTreeMap<Digest, u64> = packages.chain(after.files.iter().map(|f| (f.sha256, f.size))).collect();
    result.transfer = needed.iter().filter(|(digest, _)| !have.contains(*digest)).map(|(_, size)| size).sum();
    result
}
