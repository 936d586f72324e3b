//! Chooses packages from upstream's indexes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use cluster_seed::repo::RepoProfile;
use host::parallel::{cores, each, try_each};

use crate::error::{Error, check_cancelled};
use crate::format::index::{self, Entry, LeftOut};
use crate::format::lock::LockedPackage;
use crate::format::texts::{Slice, Texts};
use crate::plan::draft::Found;
use crate::plan::request::PlanRequest;
use crate::plan::resolve::{self, Closure, ResolveError, Universe};
use crate::plan::why::role_why;
use crate::upstream::suite::{Reader, Suite};

/// One index, verified and unpacked.
struct Loaded {
    suite: usize,
    component: String,
    arch: String,
    text: Arc<String>,
}

/// Runs of the resolver that leave out a package whose relations it cannot follow.
const MAX_ROUNDS: usize = 50;
/// Packages checked by one thread at a time.
const PART: usize = 4_096;

/// Reads every index of the request's suites, components and architectures and resolves the roots.
pub(crate) fn choose(req: &PlanRequest, reader: &Reader<'_>, suites: &[Suite], progress: &dyn Progress) -> Result<Found, Error> {
    progress.begin("reading indexes", None);
    let (loaded, mut notes) = load(req, reader, suites, progress)?;
    progress.end();
    check_cancelled(progress)?;
    progress.begin("resolving", None);
    let mut texts = Texts::default();
    for one in &loaded {
        texts.add(Arc::clone(&one.text));
    }
    let (mut per_arch, mut left_out) = (Vec::new(), Vec::new());
    for arch in &req.architectures {
        per_arch.push((arch.clone(), entries(arch, &loaded, suites, &mut notes, &mut left_out)?));
    }
    let again = || {
        let read = |arch: &String| Ok((arch.clone(), entries(arch, &loaded, suites, &mut Vec::new(), &mut Vec::new())?));
        req.architectures.iter().map(read).collect()
    };
    let Resolved { universe, closures, chosen } = resolve(req, per_arch, &again, &mut notes, &mut left_out)?;
    notes.extend(closures.iter().flat_map(|c| c.conflicts.iter().chain(&c.notes).cloned()));
    let order = sorted(&universe, chosen, &loaded);
    let found = lock_packages(&universe, &order, &loaded, suites, &texts)?;
    let place: HashMap<usize, usize> = order.iter().enumerate().map(|(place, at)| (*at, place)).collect();
    let several = req.architectures.len() > 1;
    let why = closures.iter().map(|c| role_why(c, &place, several)).collect();
    progress.end();
    let (packages, stanzas, descriptions) = found;
    Ok(Found { packages, stanzas, descriptions, texts, why, notes })
}

/// The packages of one architecture that can be used, with a note for each index that has others.
fn entries<'a>(
    arch: &str,
    loaded: &'a [Loaded],
    suites: &[Suite],
    notes: &mut Vec<String>,
    left_out: &mut Vec<LeftOut>,
) -> Result<Vec<Entry<'a>>, Error> {
    let mut all = Vec::new();
    for (origin, one) in loaded.iter().enumerate().filter(|(_, one)| one.arch == arch) {
        let index = format!("{}/{}", suites[one.suite].source.suite, one.component);
        let read = index::read(&one.text, arch, origin).map_err(|source| Error::Index { index: index.clone(), source })?;
        notes.extend(index::left_out_note(&index, &read.left_out));
        left_out.extend(read.left_out);
        all.extend(read.entries);
    }
    Ok(all)
}

type PerArch<'a> = Vec<(String, Vec<Entry<'a>>)>;

struct Resolved<'a> {
    universe: Universe<'a>,
    closures: Vec<Closure>,
    chosen: Vec<usize>,
}

/// Resolves the roots. A package with a relation that cannot be followed, or that apt could not read in the snapshot, is left
/// out, and is an error only where it is needed. `again` reads the packages once more: that is rare, and copies of them would
/// cost every plan.
fn resolve<'a>(
    req: &PlanRequest,
    mut per_arch: PerArch<'a>,
    again: &dyn Fn() -> Result<PerArch<'a>, Error>,
    notes: &mut Vec<String>,
    left_out: &mut Vec<LeftOut>,
) -> Result<Resolved<'a>, Error> {
    let mut dropped: Vec<LeftOut> = Vec::new();
    for round in 0.. {
        let universe = Universe::new(per_arch)?;
        let mut found = match resolve::closures(&req.roots, &req.architectures, req.recommends, &universe) {
            Ok(closures) => {
                let mut said = Vec::new();
                let chosen = match req.profile {
                    RepoProfile::Full => full(&universe, resolve::union(&closures), &mut said),
                    _ => resolve::union(&closures),
                };
                let refused = refused_by_apt(&universe, &chosen);
                if refused.is_empty() {
                    notes.extend(said);
                    return Ok(Resolved { universe, closures, chosen });
                }
                refused
            }
            Err(ResolveError::Relation { package, field, source }) if round < MAX_ROUNDS => {
                vec![LeftOut { package, version: String::new(), why: format!("{field}: {source}") }]
            }
            Err(error) => return Err(explained(error, left_out)),
        };
        notes.extend(index::left_out_note("the indexes", &found));
        left_out.extend(found.iter().cloned());
        dropped.append(&mut found);
        per_arch = again()?;
        let gone =
            |e: &Entry<'_>| dropped.iter().any(|d| d.package == e.name && (d.version.is_empty() || d.version == e.version));
        per_arch.iter_mut().for_each(|(_, list)| list.retain(|e| !gone(e)));
    }
    Err(ResolveError::TooMany.into())
}

/// Packages that would make the snapshot's index unusable for apt.
fn refused_by_apt(universe: &Universe<'_>, chosen: &[usize]) -> Vec<LeftOut> {
    let check = |part: &&[usize]| -> Vec<LeftOut> {
        let refused = |at: &usize| {
            let entry = universe.entry(*at);
            let (field, value) = entry.refused_by_apt()?;
            let value: String = value.chars().take(120).collect();
            let why = format!("apt cannot read {field} {value:?}");
            Some(LeftOut { package: entry.name.to_owned(), version: entry.version.to_owned(), why })
        };
        part.iter().filter_map(refused).collect()
    };
    let parts: Vec<&[usize]> = chosen.chunks(PART).collect();
    each(cores(), &parts, |_, part| check(part)).into_iter().flatten().collect()
}

/// All packages, but of several with one file name only the first: a role's, if it needs one.
fn full(universe: &Universe<'_>, needed: Vec<usize>, notes: &mut Vec<String>) -> Vec<usize> {
    let mut names = HashSet::with_capacity(universe.len());
    names.extend(needed.iter().map(|at| universe.entry(*at).filename));
    let mut all = vec![false; universe.len()];
    needed.iter().for_each(|at| all[*at] = true);
    for (at, taken) in all.iter_mut().enumerate().filter(|(_, taken)| !**taken) {
        let entry = universe.entry(at);
        *taken = names.insert(entry.filename);
        if !*taken {
            notes.push(format!("{} {} left out: another package has its file {}", entry.name, entry.version, entry.filename));
        }
    }
    (0..universe.len()).filter(|at| all[*at]).collect()
}

/// The error, with the reason if the missing package is one that was left out.
fn explained(error: ResolveError, left_out: &[LeftOut]) -> Error {
    let missing = match &error {
        ResolveError::NoRoot { name, .. } => name.split(':').next(),
        ResolveError::Unsatisfied { wanted, .. } => wanted.split([' ', ':']).next(),
        _ => None,
    };
    match left_out.iter().find(|l| missing == Some(l.package.as_str())) {
        Some(out) => Error::LeftOut { name: out.package.clone(), why: out.why.clone(), source: Box::new(error) },
        None => error.into(),
    }
}

/// Loads on all cores: hashing and unpacking take longer than everything else in a plan.
fn load(
    req: &PlanRequest,
    reader: &Reader<'_>,
    suites: &[Suite],
    progress: &dyn Progress,
) -> Result<(Vec<Loaded>, Vec<String>), Error> {
    let mut jobs = Vec::new();
    for suite in 0..suites.len() {
        for component in &req.components {
            jobs.extend(req.architectures.iter().map(|arch| (suite, component, arch)));
        }
    }
    // Also on a single core: some of the time is spent waiting for the mirror.
    let texts = try_each(cores().max(2), &jobs, |_, (suite, component, arch)| {
        check_cancelled(progress)?;
        let suite = &suites[*suite];
        let own = reader.text(suite, &format!("{component}/binary-{arch}/Packages"))?;
        let all = match suite.release.binary_all {
            true => reader.text(suite, &format!("{component}/binary-all/Packages"))?,
            false => None,
        };
        Ok::<_, Error>([own, all])
    })?;
    let (mut loaded, mut notes) = (Vec::new(), Vec::new());
    for ((suite, component, arch), texts) in jobs.into_iter().zip(texts) {
        let mut texts = texts.into_iter().flatten().peekable();
        match texts.peek() {
            Some(_) => loaded.extend(texts.map(|text| Loaded { suite, component: component.clone(), arch: arch.clone(), text })),
            // The release must have it; updates and security fixes need not.
            None if suite == 0 => {
                let suite = suites[suite].source.suite.clone();
                return Err(Error::NoIndex { suite, component: component.clone(), arch: arch.clone() });
            }
            None => notes.push(format!("suite {} has no component {component} for {arch}", suites[suite].source.suite)),
        }
    }
    Ok((loaded, notes))
}

/// The chosen packages in the order of a lock.
fn sorted(universe: &Universe<'_>, mut chosen: Vec<usize>, loaded: &[Loaded]) -> Vec<usize> {
    let key = |at: usize| {
        let e = universe.entry(at);
        (e.name, e.arch, loaded[e.origin].component.as_str(), e.filename)
    };
    chosen.sort_unstable_by(|&a, &b| key(a).cmp(&key(b)));
    chosen
}

type Locked = (Vec<LockedPackage>, Vec<Slice>, Vec<(String, String)>);

fn lock_packages(
    universe: &Universe<'_>,
    order: &[usize],
    loaded: &[Loaded],
    suites: &[Suite],
    texts: &Texts,
) -> Result<Locked, Error> {
    let mut by_file: HashMap<&str, Digest> = HashMap::with_capacity(order.len());
    let mut packages = Vec::with_capacity(order.len());
    let mut stanzas = Vec::with_capacity(order.len());
    let mut descriptions = Vec::new();
    for &at in order {
        let entry = universe.entry(at);
        let same_file = || Error::SameFile { filename: entry.filename.to_owned() };
        if by_file.insert(entry.filename, entry.sha256).is_some() {
            return Err(same_file());
        }
        let origin = &loaded[entry.origin];
        stanzas.push(texts.locate(entry.origin, entry.stanza).ok_or_else(same_file)?);
        if !entry.description_md5.is_empty() {
            descriptions.push((origin.component.clone(), entry.description_md5.to_owned()));
        }
        packages.push(LockedPackage {
            name: entry.name.to_owned(),
            version: entry.version.to_owned(),
            arch: entry.arch.to_owned(),
            size: entry.size,
            sha256: entry.sha256,
            suite: suites[origin.suite].source.suite.clone(),
            component: origin.component.clone(),
            filename: entry.filename.to_owned(),
        });
    }
    Ok((packages, stanzas, descriptions))
}
