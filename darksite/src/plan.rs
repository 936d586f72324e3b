//! From roots to a lock: upstream's signed indexes, the closure of every role, and the stanzas to publish.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;

use crate::error::Error;
use crate::fetch::{self, Fetch, FetchError};
use crate::index;
use crate::keyring::Keyring;
use crate::lock::{LockedPackage, SnapshotLock, Upstream, is_word};
use crate::resolve::{self, Closure, Options, Universe, Why};
use crate::trust::{self, Clock, Listed, MAX_INRELEASE, Release};

/// Bytes of a decompressed Packages index; all of Debian main is 55 MB.
pub const MAX_INDEX: u64 = 512 << 20;

/// Where things lie on the seed's disk. All three should be on one file system.
#[derive(Debug, Clone)]
pub struct Paths {
    pub blobs: Utf8PathBuf,
    pub snapshots: Utf8PathBuf,
    pub tmp: Utf8PathBuf,
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
    /// Earlier ones win where the same version is in two.
    pub sources: Vec<Source>,
    pub components: Vec<String>,
    pub arch: String,
    /// Root packages per role.
    pub roots: BTreeMap<String, Vec<String>>,
    /// Name the suite is published under.
    pub suite_name: String,
    /// Against which moment upstream's dates are judged.
    pub clock: Clock,
    /// Follow Recommends too.
    pub recommends: bool,
}

/// A package to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPackage {
    pub locked: LockedPackage,
    /// Upstream's stanza, byte for byte.
    pub stanza: String,
    pub url: String,
    /// Per role the chain of packages that brings it in, from the role down.
    pub why: BTreeMap<String, Vec<String>>,
}

/// An upstream InRelease file as it was fetched, kept beside ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamFile {
    pub suite: String,
    pub bytes: Vec<u8>,
}

/// The result of planning: nothing on disk yet.
#[derive(Debug, Clone)]
pub struct Plan {
    pub lock: SnapshotLock,
    /// In the order of the lock.
    pub packages: Vec<PlannedPackage>,
    pub upstream: Vec<UpstreamFile>,
    /// Packages in one closure that exclude each other, one line each.
    pub conflicts: Vec<String>,
}

/// One index, verified and unpacked.
struct Loaded {
    suite: String,
    component: String,
    mirror: String,
    text: String,
}

/// Resolves the closure of all roles.
pub fn plan(req: &PlanRequest, fetch: &dyn Fetch, keyring: &Keyring, progress: &dyn Progress) -> Result<Plan, Error> {
    check_request(req)?;
    let mut upstream = Vec::new();
    let mut locked_upstream = Vec::new();
    let mut loaded = Vec::new();
    for source in &req.sources {
        stop(progress)?;
        progress.begin(&format!("reading suite {}", source.suite), None);
        let url = fetch::join(&source.mirror, &format!("dists/{}/InRelease", source.suite));
        let bytes = fetch::get_all(fetch, &url, MAX_INRELEASE as u64)?;
        let release =
            trust::verify_inrelease(&bytes, keyring, req.clock).map_err(|source| Error::Trust { url: url.clone(), source })?;
        let date = trust::format_date(release.date);
        progress.say(&format!("suite {} of {date}, signed by {}", source.suite, release.signed_by.join(" ")));
        if release.suite != source.suite && release.codename != source.suite {
            return Err(Error::WrongSuite { url, asked: source.suite.clone(), found: release.codename });
        }
        locked_upstream.push(Upstream { suite: source.suite.clone(), sha256: Digest::of(&bytes), date: release.date });
        upstream.push(UpstreamFile { suite: source.suite.clone(), bytes });
        for component in &req.components {
            let text = load_index(source, component, &req.arch, &release, fetch)?;
            let (suite, mirror) = (source.suite.clone(), source.mirror.clone());
            loaded.push(Loaded { suite, component: component.clone(), mirror, text });
        }
        progress.end();
    }
    stop(progress)?;
    progress.begin("resolving", None);
    let (packages, conflicts) = resolve_all(req, &loaded)?;
    progress.end();
    let lock = SnapshotLock {
        suite: req.suite_name.clone(),
        components: req.components.clone(),
        arch: req.arch.clone(),
        upstream: locked_upstream,
        roots: req.roots.iter().map(|(role, roots)| (role.clone(), sorted(roots))).collect(),
        packages: packages.iter().map(|p| p.locked.clone()).collect(),
    };
    Ok(Plan { lock, packages, upstream, conflicts })
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    names
}

fn stop(progress: &dyn Progress) -> Result<(), Error> {
    if progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}

fn check_request(req: &PlanRequest) -> Result<(), Error> {
    let suites = req.sources.iter().map(|s| &s.suite);
    let simple = [&req.arch, &req.suite_name];
    let words = suites.chain(&req.components).chain(simple).chain(req.roots.keys()).chain(req.roots.values().flatten());
    for word in words {
        if !is_word(word) {
            return Err(Error::Request(format!("{word:?} is not a name")));
        }
    }
    if req.sources.is_empty() || req.components.is_empty() || req.roots.is_empty() {
        return Err(Error::Request("sources, components and roles must each name at least one".into()));
    }
    let mut names: Vec<_> = req.sources.iter().map(|s| &s.suite).collect();
    names.sort();
    names.dedup();
    if names.len() != req.sources.len() {
        return Err(Error::Request("a suite is listed twice".into()));
    }
    Ok(())
}

fn load_index(source: &Source, component: &str, arch: &str, release: &Release, fetch: &dyn Fetch) -> Result<String, Error> {
    let plain = format!("{component}/binary-{arch}/Packages");
    let name = format!("{plain}.xz");
    let missing = || Error::NoIndex { suite: source.suite.clone(), component: component.to_owned(), arch: arch.to_owned() };
    let (Some(packed), Some(unpacked)) = (release.files.get(&name), release.files.get(&plain)) else { return Err(missing()) };
    let base = format!("dists/{}", source.suite);
    let by_hash = format!("{base}/{component}/binary-{arch}/by-hash/SHA256/{}", packed.sha256);
    let limit = packed.size.min(MAX_INDEX);
    // By-hash stays right while a mirror is being updated; not every mirror has it.
    let mut url = fetch::join(&source.mirror, &by_hash);
    let bytes = match fetch::get_all(fetch, &url, limit) {
        Err(FetchError::NotFound { .. }) => {
            url = fetch::join(&source.mirror, &format!("{base}/{name}"));
            fetch::get_all(fetch, &url, limit)?
        }
        other => other?,
    };
    matches_listed(&bytes, packed, &url)?;
    let mut text = Vec::with_capacity(unpacked.size.min(MAX_INDEX) as usize);
    let read = liblzma::read::XzDecoder::new(&bytes[..]).take(unpacked.size.min(MAX_INDEX) + 1).read_to_end(&mut text);
    read.map_err(|source| Error::Unpack { url: url.clone(), source })?;
    matches_listed(&text, unpacked, &url)?;
    String::from_utf8(text).map_err(|_| Error::NotUtf8 { url })
}

fn matches_listed(bytes: &[u8], listed: &Listed, url: &str) -> Result<(), Error> {
    if bytes.len() as u64 != listed.size {
        return Err(Error::Size { url: url.to_owned(), found: bytes.len() as u64, expected: listed.size });
    }
    let found = Digest::of(bytes);
    if found == listed.sha256 { Ok(()) } else { Err(Error::Digest { url: url.to_owned(), found, expected: listed.sha256 }) }
}

fn resolve_all(req: &PlanRequest, loaded: &[Loaded]) -> Result<(Vec<PlannedPackage>, Vec<String>), Error> {
    let mut entries = Vec::new();
    for (origin, one) in loaded.iter().enumerate() {
        let name = || format!("{}/{}", one.suite, one.component);
        entries.extend(index::parse(&one.text, &req.arch, origin).map_err(|source| Error::Index { index: name(), source })?);
    }
    let universe = Universe::new(entries)?;
    let options = Options { recommends: req.recommends };
    let closures: Vec<Closure> =
        req.roots.iter().map(|(role, roots)| universe.closure(role, &sorted(roots), options)).collect::<Result<_, _>>()?;
    let conflicts = closures.iter().flat_map(|c| c.conflicts.clone()).collect();
    let mut packages = Vec::new();
    let mut by_file: HashMap<String, Digest> = HashMap::new();
    for at in resolve::union(&universe, &closures) {
        let planned = planned(&universe, at, loaded, &closures);
        let seen = by_file.insert(planned.locked.filename.clone(), planned.locked.sha256);
        if seen.is_some_and(|d| d != planned.locked.sha256) {
            return Err(Error::SameFile { filename: planned.locked.filename });
        }
        packages.push(planned);
    }
    Ok((packages, conflicts))
}

fn planned(universe: &Universe<'_>, at: usize, loaded: &[Loaded], closures: &[Closure]) -> PlannedPackage {
    let entry = universe.entry(at);
    let origin = &loaded[entry.origin];
    let locked = LockedPackage {
        name: entry.name.to_owned(),
        version: entry.version.to_owned(),
        arch: entry.arch.to_owned(),
        size: entry.size,
        sha256: entry.sha256,
        suite: origin.suite.clone(),
        component: origin.component.clone(),
        filename: entry.filename.to_owned(),
    };
    let mut stanza = entry.stanza.to_owned();
    if !stanza.ends_with('\n') {
        stanza.push('\n');
    }
    let chain = |c: &Closure| -> Option<(String, Vec<String>)> {
        let _: &Why = c.why.get(&at)?;
        Some((c.role.clone(), universe.chain(&c.why, &c.role, at)))
    };
    PlannedPackage {
        locked,
        stanza,
        url: fetch::join(&origin.mirror, entry.filename),
        why: closures.iter().filter_map(chain).collect(),
    }
}
