//! A plan, finished or in progress: plain data.

use std::collections::BTreeMap;

use crate::format::lock::{LockedFile, LockedPackage, SnapshotLock};
use crate::format::texts::{IndexText, Slice, Texts};
use crate::plan::why::{self, RoleWhy};
use crate::upstream::fetch;
use crate::upstream::pool::Wanted;
use crate::upstream::suite::UpstreamFile;

/// The mirror of each suite.
pub type Mirrors = BTreeMap<String, String>;

/// The result of planning.
#[derive(Debug, Clone)]
pub struct Plan {
    pub lock: SnapshotLock,
    pub upstream: Vec<UpstreamFile>,
    /// Conflicts within a closure, and what an architecture or the mirror lacks; one line each.
    pub notes: Vec<String>,
    pub(crate) indexes: Vec<IndexText>,
    pub(crate) texts: Texts,
    pub(crate) mirrors: Mirrors,
    pub(crate) why: Vec<RoleWhy>,
}

impl Plan {
    /// Everything to fetch: packages and files.
    pub fn wanted(&self) -> Vec<Wanted> {
        let packages = self.lock.packages.iter().map(|p| Wanted { url: self.url(p), size: p.size, sha256: p.sha256 });
        let files = self.lock.files.iter().map(|f| Wanted { url: self.file_url(f), size: f.size, sha256: f.sha256 });
        packages.chain(files).collect()
    }

    /// The stanzas of an index of the lock, in order; none if the lock does not have the index.
    pub fn stanzas(&self, path: &str) -> impl Iterator<Item = &str> {
        self.indexes.iter().filter(move |i| i.path == path).flat_map(|i| i.stanzas.iter().map(|s| self.texts.get(*s)))
    }

    /// The address of a package.
    pub fn url(&self, package: &LockedPackage) -> String {
        fetch::join(self.mirrors.get(&package.suite).map(String::as_str).unwrap_or_default(), &package.filename)
    }

    /// Files come from the first suite.
    fn file_url(&self, file: &LockedFile) -> String {
        let suite = self.lock.upstream.first().map(|u| u.suite.as_str()).unwrap_or_default();
        let mirror = self.mirrors.get(suite).map(String::as_str).unwrap_or_default();
        fetch::join(mirror, &format!("dists/{suite}/{}", file.path))
    }

    /// Packages of a name, each with the dependency chain of every role that needs it. With profile `full` there are packages
    /// that no role needs: these have no chain.
    pub fn why(&self, name: &str) -> Vec<(&LockedPackage, BTreeMap<String, Vec<String>>)> {
        why::why(&self.lock, &self.why, name)
    }
}

/// A plan in progress. There is one stanza for each package of the lock.
pub(crate) struct Draft {
    pub plan: Plan,
    pub stanzas: Vec<Slice>,
    /// `Description-md5` of each package, by component.
    pub descriptions: Vec<(String, String)>,
}

/// The chosen packages in the order of the lock, with their stanzas.
pub(crate) struct Found {
    pub packages: Vec<LockedPackage>,
    pub stanzas: Vec<Slice>,
    /// Component and `Description-md5` of each package.
    pub descriptions: Vec<(String, String)>,
    pub texts: Texts,
    pub why: Vec<RoleWhy>,
    pub notes: Vec<String>,
}
