//! From a lock to a plan: the same bytes as when the lock was written, or an error.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;

use crate::error::{Error, check_cancelled};
use crate::format::index;
use crate::format::lock::{LockedPackage, SnapshotLock, Upstream};
use crate::format::texts::{Slice, Texts};
use crate::paths::Paths;
use crate::plan::companion::Companion;
use crate::plan::draft::{Draft, Mirrors, Plan};
use crate::plan::from_roots::finish;
use crate::plan::{contents, translation};
use crate::upstream::fetch::{self, Fetch};
use crate::upstream::keyring::Keyring;
use crate::upstream::release;
use crate::upstream::suite::{self, Reader, Source, Suite};
use crate::upstream::trust::Clock;

/// Missing packages named in an error; the rest are counted.
const MAX_NAMED: usize = 10;

/// Makes the plan that a lock describes. Upstream's files are checked as of their own dates: the lock pins files that were
/// current when it was written.
pub fn from_lock(
    lock: SnapshotLock,
    companion: Companion,
    sources: &[Source],
    paths: &Paths,
    fetch: &dyn Fetch,
    keyring: &Keyring,
    progress: &dyn Progress,
) -> Result<Plan, Error> {
    let reader = Reader { fetch, keyring, clock: Clock::OfFile, paths: Some(paths), allow_downgrade: true, progress };
    let mut suites = Vec::new();
    for upstream in &lock.upstream {
        check_cancelled(progress)?;
        suites.push(open(upstream, &companion, sources, &reader, paths)?);
    }
    let mirrors: Mirrors = suites.iter().map(|s| (s.source.suite.clone(), s.source.mirror.clone())).collect();
    let upstream = suites.iter().map(|s| s.file.clone()).collect();
    if let Some((indexes, texts)) = companion.indexes {
        return Ok(Plan { lock, upstream, notes: Vec::new(), indexes, texts, mirrors, why: Vec::new() });
    }
    progress.begin("reading indexes", None);
    let mut texts = Texts::default();
    let (stanzas, descriptions) = find(&lock, &suites, &reader, &mut texts)?;
    let (indexes, notes, why) = (Vec::new(), Vec::new(), Vec::new());
    let wanted = lock.indexes.clone();
    let plan = Plan { lock, upstream, notes, indexes, texts, mirrors, why };
    let mut draft = Draft { plan, stanzas, descriptions };
    translation::add(&mut draft, &reader, &suites)?;
    if wanted.iter().any(|f| f.path.contains("/Contents-")) {
        contents::add(&mut draft, &reader, &suites)?;
    }
    let plan = finish(draft);
    progress.end();
    let made: BTreeMap<&str, _> = plan.lock.indexes.iter().map(|f| (f.path.as_str(), f)).collect();
    for file in &wanted {
        let found = made.get(file.path.as_str()).map(|f| f.sha256);
        if found != Some(file.sha256) {
            let found = found.unwrap_or_else(|| Digest::of(b""));
            return Err(Error::IndexDiffers { path: file.path.clone(), found, expected: file.sha256 });
        }
    }
    Ok(plan)
}

/// The Release file that the lock pins: beside the lock, in a snapshot, or on the mirror if it still has that one.
fn open(
    upstream: &Upstream,
    companion: &Companion,
    sources: &[Source],
    reader: &Reader<'_>,
    paths: &Paths,
) -> Result<Suite, Error> {
    let moved = || Error::UpstreamMoved { suite: upstream.suite.clone(), expected: upstream.sha256 };
    let source = sources.iter().find(|s| s.suite == upstream.suite).ok_or_else(|| {
        Error::Request(format!("the lock has packages from suite {}, but no mirror of this suite is given", upstream.suite))
    })?;
    let beside = companion.releases.get(&upstream.suite).map(|f| f.bytes.clone());
    let kept = beside.or_else(|| suite::in_a_snapshot(paths, &upstream.suite, &upstream.sha256));
    let (bytes, url) = match kept {
        Some(bytes) => (bytes, fetch::join(&source.folder(), "InRelease")),
        None => release::fetch(reader.fetch, &source.folder())?,
    };
    if Digest::of(&bytes) != upstream.sha256 {
        return Err(moved());
    }
    reader.accept(source, bytes, &url)
}

type Found = (Vec<Slice>, Vec<(String, String)>);

/// The stanza of every locked package, and the descriptions that they name.
fn find(lock: &SnapshotLock, suites: &[Suite], reader: &Reader<'_>, texts: &mut Texts) -> Result<Found, Error> {
    let mut wanted: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    let mut indexes: Vec<(&str, &str)> = Vec::new();
    for (at, package) in lock.packages.iter().enumerate() {
        wanted.entry((&package.name, &package.arch)).or_default().push(at);
        indexes.push((&package.suite, &package.component));
    }
    indexes.sort_unstable();
    indexes.dedup();
    let mut found: Vec<Option<(Slice, String)>> = vec![None; lock.packages.len()];
    for (suite, component) in indexes {
        let Some(suite) = suites.iter().find(|s| s.source.suite == suite) else { continue };
        let all = suite.release.binary_all.then_some("all");
        for (arch, place) in lock.architectures.iter().flat_map(|a| std::iter::once(a.as_str()).chain(all).map(move |p| (a, p))) {
            let path = format!("{component}/binary-{place}/Packages");
            let Some(text) = reader.text(suite, &path)? else { continue };
            let number = texts.add(Arc::clone(&text));
            let read = index::read(&text, arch, number).map_err(|source| Error::Index { index: path.clone(), source })?;
            for entry in read.entries {
                let same = |p: &LockedPackage| {
                    p.component == component
                        && p.version == entry.version
                        && p.sha256 == entry.sha256
                        && p.filename == entry.filename
                };
                let places = wanted.get(&(entry.name, entry.arch)).into_iter().flatten();
                for &at in places.filter(|at| same(&lock.packages[**at])) {
                    if let Some(slice) = texts.locate(number, entry.stanza).filter(|_| found[at].is_none()) {
                        found[at] = Some((slice, entry.description_md5.to_owned()));
                    }
                }
            }
        }
    }
    let missing = lock.packages.iter().zip(&found).filter(|(_, f)| f.is_none()).map(|(p, _)| format!("{} {}", p.name, p.version));
    let missing: Vec<String> = missing.collect();
    if !missing.is_empty() {
        return Err(Error::Gone { count: missing.len(), missing: missing.into_iter().take(MAX_NAMED).collect() });
    }
    let components = lock.packages.iter().map(|p| p.component.clone());
    let (stanzas, md5): (Vec<_>, Vec<_>) = found.into_iter().flatten().unzip();
    Ok((stanzas, components.zip(md5).filter(|(_, md5): &(String, String)| !md5.is_empty()).collect()))
}
