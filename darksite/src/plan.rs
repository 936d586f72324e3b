//! From roots to a lock: upstream's signed indexes, the closure of every role, and the stanzas to publish.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use cluster_seed::progress::Progress;
use cluster_seed::repo::RepoProfile;

use crate::choose;
use crate::error::Error;
use crate::fetch::{self, Fetch};
use crate::installer;
use crate::keyring::Keyring;
use crate::lock::{LockedFile, LockedPackage, SnapshotLock, Upstream, is_root, is_word};
use crate::pool::Wanted;
use crate::texts::{IndexText, Slice, Texts};
use crate::translation;
use crate::trust::Clock;
use crate::upstream::{self, Reader, Suite};

/// Bytes of a decompressed index; Packages of all of Debian main is 57 MB.
pub const MAX_INDEX: u64 = 512 << 20;

/// Where things lie on the seed's disk. All should be on one file system.
#[derive(Debug, Clone)]
pub struct Paths {
    pub blobs: Utf8PathBuf,
    pub snapshots: Utf8PathBuf,
    pub tmp: Utf8PathBuf,
    /// What only saves time, and may be removed whenever nothing runs.
    pub cache: Utf8PathBuf,
}

/// One suite of one mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `http://host/path`, `https://…` or `file:///path`; `dists/` lies below it.
    pub mirror: String,
    pub suite: String,
}

/// What to put into a snapshot.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// The release first; of equal versions the earlier source's is taken.
    pub sources: Vec<Source>,
    pub components: Vec<String>,
    /// Without `all`. The first one has to have every root; another may lack some, which is told.
    pub architectures: Vec<String>,
    /// `full` takes every package; which suites are asked is decided by `sources` alone.
    pub profile: RepoProfile,
    /// Root packages per role: names, or `name:architecture`.
    pub roots: BTreeMap<String, Vec<String>>,
    /// Name the suite is published under.
    pub suite_name: String,
    /// Against which moment upstream's dates are judged.
    pub clock: Clock,
    /// Follow Recommends too.
    pub recommends: bool,
    /// Take the Debian installer too.
    pub installer: bool,
    /// Installer packages without which there is no snapshot.
    pub required_udebs: Vec<String>,
    /// Take `Contents` too.
    pub contents: bool,
    /// Take a Release file that is older than one accepted before.
    pub allow_downgrade: bool,
    /// Where indexes are kept and what was accepted before is remembered; without it every index is fetched.
    pub paths: Option<Paths>,
}

/// An upstream InRelease file as it was fetched, kept beside ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamFile {
    pub suite: String,
    pub bytes: Vec<u8>,
}

/// Where a package or file is fetched from, by suite.
pub type Mirrors = BTreeMap<String, String>;

/// The result of planning.
#[derive(Debug, Clone)]
pub struct Plan {
    pub lock: SnapshotLock,
    pub upstream: Vec<UpstreamFile>,
    /// Packages in one closure that exclude each other, and what an architecture or the mirror does not have; one line each.
    pub notes: Vec<String>,
    pub(crate) indexes: Vec<IndexText>,
    pub(crate) texts: Texts,
    pub(crate) mirrors: Mirrors,
    pub(crate) why: Vec<choose::RoleWhy>,
}

impl Plan {
    /// Everything to fetch: packages and kept files.
    pub fn wanted(&self) -> Vec<Wanted> {
        let packages = self.lock.packages.iter().map(|p| Wanted { url: self.url(p), size: p.size, sha256: p.sha256 });
        let files = self.lock.files.iter().map(|f| Wanted { url: self.file_url(f), size: f.size, sha256: f.sha256 });
        packages.chain(files).collect()
    }

    /// The stanzas of an index of the lock, in order; none for an index that the lock does not have.
    pub fn stanzas(&self, path: &str) -> impl Iterator<Item = &str> {
        self.indexes.iter().filter(move |i| i.path == path).flat_map(|i| i.stanzas.iter().map(|s| self.texts.get(*s)))
    }

    /// Where a package is fetched from.
    pub fn url(&self, package: &LockedPackage) -> String {
        fetch::join(self.mirrors.get(&package.suite).map(String::as_str).unwrap_or_default(), &package.filename)
    }

    /// Files are kept from the first suite.
    fn file_url(&self, file: &LockedFile) -> String {
        let suite = self.lock.upstream.first().map(|u| u.suite.as_str()).unwrap_or_default();
        let mirror = self.mirrors.get(suite).map(String::as_str).unwrap_or_default();
        fetch::join(mirror, &format!("dists/{suite}/{}", file.path))
    }

    /// Packages of a name with, per role, the chain that brings each in, from the role down. `full` takes packages that no
    /// role needs: these have no chain.
    pub fn why(&self, name: &str) -> Vec<(&LockedPackage, BTreeMap<String, Vec<String>>)> {
        choose::why(&self.lock, &self.why, name)
    }
}

/// Resolves the closure of all roles.
pub fn plan(req: &PlanRequest, fetch: &dyn Fetch, keyring: &Keyring, progress: &dyn Progress) -> Result<Plan, Error> {
    check_request(req)?;
    let paths = req.paths.as_ref();
    let reader = Reader { fetch, keyring, clock: req.clock, paths, allow_downgrade: req.allow_downgrade };
    let mut suites = Vec::new();
    for source in &req.sources {
        stop(progress)?;
        progress.begin(&format!("reading suite {}", source.suite), None);
        suites.push(reader.open(source, progress)?);
        progress.end();
    }
    let found = choose::choose(req, &reader, &suites, progress)?;
    let mut draft = Draft::new(req, &suites, found);
    if req.installer {
        progress.begin("looking for the installer", None);
        installer::add(&mut draft, req, &reader, &suites)?;
        progress.end();
    }
    stop(progress)?;
    progress.begin("collecting descriptions", None);
    translation::add(&mut draft, &reader, &suites)?;
    if req.contents {
        crate::contents::add(&mut draft, &reader, &suites)?;
    }
    let plan = draft.finish();
    progress.end();
    if let Some(paths) = paths {
        upstream::remember(paths, &suites)?;
    }
    Ok(plan)
}

/// A plan in the making. `packages` and `stanzas` go together.
pub(crate) struct Draft {
    pub plan: Plan,
    pub stanzas: Vec<Slice>,
    /// `Description-md5` of each package, by component.
    pub descriptions: Vec<(String, String)>,
}

impl Draft {
    fn new(req: &PlanRequest, suites: &[Suite], found: choose::Found) -> Self {
        let upstream = |s: &Suite| Upstream { suite: s.source.suite.clone(), sha256: s.digest, date: s.release.date };
        let lock = SnapshotLock {
            suite: req.suite_name.clone(),
            components: req.components.clone(),
            architectures: req.architectures.clone(),
            profile: req.profile,
            recommends: req.recommends,
            upstream: suites.iter().map(upstream).collect(),
            indexes: Vec::new(),
            files: Vec::new(),
            roots: req.roots.iter().map(|(role, roots)| (role.clone(), sorted(roots))).collect(),
            packages: found.packages,
        };
        let plan = Plan {
            lock,
            upstream: suites.iter().map(|s| s.file.clone()).collect(),
            notes: found.notes,
            indexes: Vec::new(),
            texts: found.texts,
            mirrors: suites.iter().map(|s| (s.source.suite.clone(), s.source.mirror.clone())).collect(),
            why: found.why,
        };
        Draft { plan, stanzas: found.stanzas, descriptions: found.descriptions }
    }

    pub fn finish(mut self) -> Plan {
        let packages = package_indexes(&self.plan.lock, &self.stanzas);
        self.plan.indexes.extend(packages);
        self.plan.indexes.sort_by(|a, b| a.path.cmp(&b.path));
        let texts = &self.plan.texts;
        let locked = |index: &IndexText| {
            let (size, sha256) = index.digest(texts);
            LockedFile { path: index.path.clone(), sha256, size }
        };
        self.plan.lock.indexes = self.plan.indexes.iter().map(locked).collect();
        self.plan
    }
}

/// The Packages files: per component and architecture, packages for all in each of them.
pub(crate) fn package_indexes(lock: &SnapshotLock, stanzas: &[Slice]) -> Vec<IndexText> {
    let mut components: Vec<&str> = lock.components.iter().map(String::as_str).collect();
    components.extend(lock.packages.iter().map(|p| p.component.as_str()));
    components.sort_unstable();
    components.dedup();
    let mut all = Vec::new();
    for component in components {
        for arch in &lock.architectures {
            let ours = |p: &LockedPackage| p.component == component && (p.arch == *arch || p.arch == "all");
            let stanzas = lock.packages.iter().zip(stanzas).filter(|(p, _)| ours(p)).map(|(_, s)| *s).collect();
            all.push(IndexText { path: format!("{component}/binary-{arch}/Packages"), stanzas });
        }
    }
    all
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    names
}

pub(crate) fn stop(progress: &dyn Progress) -> Result<(), Error> {
    if progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}

fn check_request(req: &PlanRequest) -> Result<(), Error> {
    let suites = req.sources.iter().map(|s| &s.suite);
    let words = suites.chain(&req.components).chain(&req.architectures).chain([&req.suite_name]).chain(req.roots.keys());
    for word in words {
        if !is_word(word) {
            return Err(Error::Request(format!("{word:?} is not a name")));
        }
    }
    if let Some(bad) = req.roots.values().flatten().find(|r| !is_root(r)) {
        return Err(Error::Request(format!("{bad:?} is not a package name")));
    }
    let empty = req.sources.is_empty() || req.components.is_empty() || req.architectures.is_empty() || req.roots.is_empty();
    if empty || req.roots.values().any(Vec::is_empty) {
        return Err(Error::Request("suites, components, architectures and roles must each name at least one".into()));
    }
    let twice = |names: Vec<&String>| sorted(&names.iter().map(|n| (*n).clone()).collect::<Vec<_>>()).len() != names.len();
    for (what, names) in [
        ("suite", req.sources.iter().map(|s| &s.suite).collect::<Vec<_>>()),
        ("component", req.components.iter().collect()),
        ("architecture", req.architectures.iter().collect()),
    ] {
        if twice(names) {
            return Err(Error::Request(format!("one {what} is listed twice")));
        }
    }
    Ok(())
}
