//! Chooses packages from upstream's indexes.

use std::collections::HashMap;
use std::sync::Arc;

use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use cluster_seed::repo::RepoProfile;
use host::parallel::{cores, try_each};

use crate::error::{Error, check_cancelled};
use crate::format::index::{self, Entry};
use crate::format::lock::LockedPackage;
use crate::format::texts::{Slice, Texts};
use crate::plan::draft::Found;
use crate::plan::request::PlanRequest;
use crate::plan::resolve::{self, Universe};
use crate::plan::why::role_why;
use crate::upstream::suite::{Reader, Suite};

/// One index, verified and unpacked.
struct Loaded {
    suite: usize,
    component: String,
    arch: String,
    text: Arc<String>,
}

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
    let mut per_arch: Vec<(String, Vec<Entry<'_>>)> = req.architectures.iter().map(|a| (a.clone(), Vec::new())).collect();
    for (origin, one) in loaded.iter().enumerate() {
        let failed = |source| Error::Index { index: format!("{}/{}", suites[one.suite].source.suite, one.component), source };
        let entries = index::parse(&one.text, &one.arch, origin).map_err(failed)?;
        let list = per_arch.iter_mut().find(|(arch, _)| *arch == one.arch);
        list.into_iter().for_each(|(_, list)| list.extend_from_slice(&entries));
    }
    let universe = Universe::new(per_arch)?;
    let closures = resolve::closures(&req.roots, &req.architectures, req.recommends, &universe)?;
    notes.extend(closures.iter().flat_map(|c| c.conflicts.iter().chain(&c.notes).cloned()));
    let chosen = match req.profile {
        RepoProfile::Full => (0..universe.len()).collect(),
        _ => resolve::union(&closures),
    };
    let order = sorted(&universe, chosen, &loaded);
    let found = lock_packages(&universe, &order, &loaded, suites, &texts)?;
    let place: HashMap<usize, usize> = order.iter().enumerate().map(|(place, at)| (*at, place)).collect();
    let several = req.architectures.len() > 1;
    let why = closures.iter().map(|c| role_why(c, &place, several)).collect();
    progress.end();
    let (packages, stanzas, descriptions) = found;
    Ok(Found { packages, stanzas, descriptions, texts, why, notes })
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
        reader.text(&suites[*suite], &format!("{component}/binary-{arch}/Packages"))
    })?;
    let (mut loaded, mut notes) = (Vec::new(), Vec::new());
    for ((suite, component, arch), text) in jobs.into_iter().zip(texts) {
        match text {
            Some(text) => loaded.push(Loaded { suite, component: component.clone(), arch: arch.clone(), text }),
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
