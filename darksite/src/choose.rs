//! Which packages of upstream's indexes a snapshot holds, and why.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use cluster_seed::repo::RepoProfile;

use crate::error::Error;
use crate::index::{self, Entry};
use crate::lock::{LockedPackage, SnapshotLock};
use crate::pack::threads;
use crate::plan::{PlanRequest, stop};
use crate::resolve::{self, Closure, Options, Universe, Why};
use crate::texts::{Slice, Texts};
use crate::upstream::{Reader, Suite};

/// Packages in the order of the lock, with their stanzas.
pub(crate) struct Found {
    pub packages: Vec<LockedPackage>,
    pub stanzas: Vec<Slice>,
    /// Component and `Description-md5` of each package.
    pub descriptions: Vec<(String, String)>,
    pub texts: Texts,
    pub why: Vec<RoleWhy>,
    pub notes: Vec<String>,
}

/// One index, verified and unpacked.
struct Loaded {
    suite: usize,
    component: String,
    arch: String,
    text: Arc<String>,
}

/// The reasons of one role's closure, by place in the lock.
#[derive(Debug, Clone)]
pub(crate) struct RoleWhy {
    /// With the architecture, where there are several.
    pub role: String,
    reasons: HashMap<usize, Reason>,
}

#[derive(Debug, Clone)]
enum Reason {
    Base,
    Root,
    Needed { by: usize, relation: String },
}

impl RoleWhy {
    /// Packages were moved in the lock: the one at place `n` is now at `moved[n]`.
    pub fn renumber(&mut self, moved: &[usize]) {
        let place = |at: usize| moved.get(at).copied().unwrap_or(at);
        let old = std::mem::take(&mut self.reasons);
        self.reasons = old
            .into_iter()
            .map(|(at, reason)| match reason {
                Reason::Needed { by, relation } => (place(at), Reason::Needed { by: place(by), relation }),
                other => (place(at), other),
            })
            .collect();
    }

    /// From the role down to the package: names, with the words of the relation where they say more than the name.
    pub fn chain(&self, lock: &SnapshotLock, mut at: usize) -> Option<Vec<String>> {
        let mut chain = Vec::new();
        // A circle of packages that need each other cannot be entered: every reason came before what it brought in.
        loop {
            let name = lock.packages.get(at)?.name.as_str();
            match self.reasons.get(&at)? {
                Reason::Needed { by, relation } => {
                    chain.push(if relation == name { name.to_owned() } else { format!("{name} ({relation})") });
                    at = *by;
                }
                Reason::Base => {
                    chain.extend([name.to_owned(), "the base system".to_owned()]);
                    break;
                }
                Reason::Root => {
                    chain.extend([name.to_owned(), format!("role {}", self.role)]);
                    break;
                }
            }
        }
        chain.reverse();
        Some(chain)
    }
}

/// Packages of a name with, per role, the chain that brings each in.
pub(crate) fn why<'l>(
    lock: &'l SnapshotLock,
    all: &[RoleWhy],
    name: &str,
) -> Vec<(&'l LockedPackage, BTreeMap<String, Vec<String>>)> {
    let named = lock.packages.iter().enumerate().filter(|(_, p)| p.name == name);
    let chains = |at: usize| all.iter().filter_map(|w| Some((w.role.clone(), w.chain(lock, at)?))).collect();
    named.map(|(at, package)| (package, chains(at))).collect()
}

/// Reads every index of the request's suites, components and architectures and resolves.
pub(crate) fn choose(req: &PlanRequest, reader: &Reader<'_>, suites: &[Suite], progress: &dyn Progress) -> Result<Found, Error> {
    progress.begin("reading indexes", None);
    let (loaded, mut notes) = load(req, reader, suites, progress)?;
    progress.end();
    stop(progress)?;
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
    let closures = closures(&req.roots, &req.architectures, req.recommends, &universe)?;
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

/// The closure of every role on every architecture.
pub(crate) fn closures(
    roots: &BTreeMap<String, Vec<String>>,
    architectures: &[String],
    recommends: bool,
    universe: &Universe<'_>,
) -> Result<Vec<Closure>, Error> {
    let options = Options { recommends };
    let mut all = Vec::new();
    for (role, roots) in roots {
        for arch in architectures {
            all.push(universe.closure(role, arch, roots, options)?);
        }
    }
    Ok(all)
}

/// Loads on all cores: hashing and unpacking take longer than the rest of a plan.
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
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads().max(2).min(jobs.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((suite, component, arch)) = jobs.get(at) else { return };
                    let text = stop(progress)
                        .and_then(|()| reader.text(&suites[*suite], &format!("{component}/binary-{arch}/Packages")));
                    let failed = text.is_err();
                    done.lock().unwrap_or_else(PoisonError::into_inner).insert(at, text);
                    if failed {
                        return next.store(jobs.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (mut loaded, mut notes) = (Vec::new(), Vec::new());
    for (at, text) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let (suite, component, arch) = jobs[at];
        match text? {
            Some(text) => loaded.push(Loaded { suite, component: component.clone(), arch: arch.clone(), text }),
            // The release has to have it; updates and fixes need not.
            None if suite == 0 => {
                let suite = suites[suite].source.suite.clone();
                return Err(Error::NoIndex { suite, component: component.clone(), arch: arch.clone() });
            }
            None => notes.push(format!("suite {} has no {component} for {arch}", suites[suite].source.suite)),
        }
    }
    Ok((loaded, notes))
}

/// The chosen ones in the order of a lock.
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

pub(crate) fn role_why(closure: &Closure, place: &HashMap<usize, usize>, several: bool) -> RoleWhy {
    let reason = |why: &Why| match why {
        Why::Base => Some(Reason::Base),
        Why::Root => Some(Reason::Root),
        Why::Needed { by, relation } => Some(Reason::Needed { by: *place.get(by)?, relation: relation.clone() }),
    };
    let reasons = closure.why.iter().filter_map(|(at, why)| Some((*place.get(at)?, reason(why)?))).collect();
    let role = if several { format!("{} ({})", closure.role, closure.arch) } else { closure.role.clone() };
    RoleWhy { role, reasons }
}
