//! From roots to a plan: the closure of every role in upstream's signed indexes, and the stanzas to publish.

use cluster_seed::progress::Progress;

use crate::error::{Error, check_cancelled};
use crate::format::lock::{LockedFile, LockedPackage, SnapshotLock, Upstream};
use crate::format::texts::{IndexText, Slice};
use crate::plan::draft::{Draft, Found, Plan};
use crate::plan::request::{PlanRequest, sorted};
use crate::plan::{choose, contents, installer, translation};
use crate::upstream::fetch::Fetch;
use crate::upstream::keyring::Keyring;
use crate::upstream::suite::{self, Reader, Suite};

/// Resolves the closure of all roles.
pub fn plan(req: &PlanRequest, fetch: &dyn Fetch, keyring: &Keyring, progress: &dyn Progress) -> Result<Plan, Error> {
    req.check()?;
    let paths = req.paths.as_ref();
    let reader = Reader { fetch, keyring, clock: req.clock, paths, allow_downgrade: req.allow_downgrade, progress };
    let mut suites = Vec::new();
    for source in &req.sources {
        check_cancelled(progress)?;
        progress.begin(&format!("reading suite {}", source.suite), None);
        suites.push(reader.open(source)?);
        progress.end();
    }
    let found = choose::choose(req, &reader, &suites, progress)?;
    let mut draft = begin(req, &suites, found);
    if req.installer {
        progress.begin("checking the installer", None);
        installer::add(&mut draft, req, &reader, &suites)?;
        progress.end();
    }
    check_cancelled(progress)?;
    progress.begin("collecting descriptions", None);
    translation::add(&mut draft, &reader, &suites)?;
    if req.contents {
        contents::add(&mut draft, &reader, &suites)?;
    }
    let plan = finish(draft);
    progress.end();
    if let Some(paths) = paths {
        suite::remember(paths, &suites)?;
    }
    Ok(plan)
}

/// A draft of the chosen packages.
fn begin(req: &PlanRequest, suites: &[Suite], found: Found) -> Draft {
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

/// Adds the Packages files and pins every index.
pub(crate) fn finish(draft: Draft) -> Plan {
    let Draft { mut plan, stanzas, .. } = draft;
    let packages = package_indexes(&plan.lock, &stanzas);
    plan.indexes.extend(packages);
    plan.indexes.sort_by(|a, b| a.path.cmp(&b.path));
    let texts = &plan.texts;
    let locked = |index: &IndexText| {
        let (size, sha256) = index.digest(texts);
        LockedFile { path: index.path.clone(), sha256, size }
    };
    plan.lock.indexes = plan.indexes.iter().map(locked).collect();
    plan
}

/// The Packages files, one for each component and architecture. Each includes the packages for `all`.
fn package_indexes(lock: &SnapshotLock, stanzas: &[Slice]) -> Vec<IndexText> {
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
