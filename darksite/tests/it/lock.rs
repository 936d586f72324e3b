//! Locks: built again to the same bytes, compared, explained; and upstream states that must not be taken.

use crate::common::{self, Archive, Package, Site, at, chain, request, tree};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::progress::Quiet;
use darksite::{DirFetch, Error, Plan, PlanRequest, Source};

const NEWER: &[Package] = &[Package { name: "libc6", version: "2.41-1+deb13u1", fields: "Priority: optional\n" }];

/// A release and its updates.
fn two_suites(archive: &Archive, site: &Site) -> PlanRequest {
    archive.add_suite("stable-updates", NEWER, "");
    let mut req = request(&archive.url(), &["hello"]);
    req.sources.push(Source { mirror: archive.url(), suite: "stable-updates".into() });
    req.paths = Some(site.paths());
    req
}

fn plan(req: &PlanRequest, archive: &Archive) -> Result<Plan, Error> {
    darksite::plan(req, &DirFetch, &archive.keyring(), &Quiet)
}

fn locked(site: &Site, archive: &Archive, file: &Utf8Path, req: &PlanRequest) -> Result<Plan, Error> {
    let (lock, companion) = darksite::read_lock(file)?;
    darksite::from_lock(lock, companion, &req.sources, &site.paths(), &DirFetch, &archive.keyring(), &Quiet)
}

/// A lock file of the two suites, and the tree that was built when it was written.
fn written() -> (Archive, Site, PlanRequest, Utf8PathBuf, std::collections::BTreeMap<Utf8PathBuf, Vec<u8>>) {
    let archive = Archive::new();
    let site = Site::new();
    let req = two_suites(&archive, &site);
    let plan = plan(&req, &archive).unwrap();
    let file = site.root().join("site.lock");
    darksite::write_lock(&plan, &file).unwrap();
    let dir = site.build(&plan, &DirFetch).unwrap().dir;
    let bytes = tree(&dir);
    (archive, site, req, file, bytes)
}

#[test]
fn a_lock_is_built_to_the_same_bytes_elsewhere() {
    let (archive, site, mut req, file, bytes) = written();
    assert_eq!(std::fs::read(&file).unwrap(), bytes[Utf8Path::new("snapshot.lock")]);
    // With its folder the mirror's indexes are not asked for, only packages.
    let other = Site::new();
    let dists = archive.root().join("dists");
    let away = archive.root().join("away");
    std::fs::rename(&dists, &away).unwrap();
    let plan = locked(&other, &archive, &file, &req).unwrap();
    assert_eq!(tree(&other.build(&plan, &DirFetch).unwrap().dir), bytes);
    // Without it, from the mirror.
    std::fs::rename(&away, &dists).unwrap();
    let alone = site.root().join("alone.lock");
    std::fs::copy(&file, &alone).unwrap();
    let third = Site::new();
    req.paths = Some(third.paths());
    let plan = locked(&third, &archive, &alone, &req).unwrap();
    let built = third.build(&plan, &DirFetch).unwrap();
    assert_eq!(tree(&built.dir), bytes);
    assert!(third.verify(&built.dir).is_ok());
}

#[test]
fn a_mirror_that_changed_is_reported() {
    let (archive, site, req, file, _) = written();
    let alone = site.root().join("alone.lock");
    std::fs::copy(&file, &alone).unwrap();
    archive.add_suite("stable-updates", NEWER, "Version: 2\n");
    let other = Site::new();
    let error = locked(&other, &archive, &alone, &req).unwrap_err();
    assert!(matches!(&error, Error::UpstreamMoved { suite, .. } if suite == "stable-updates"), "{}", chain(&error));
    assert!(error.hint().unwrap().contains("FILE.d"));
    // The snapshot that was built here has the Release file; its folder has the rest.
    assert!(locked(&other, &archive, &file, &req).is_ok());
    // A suite that nobody gave a mirror for.
    let error = {
        let (lock, companion) = darksite::read_lock(&file).unwrap();
        let one = &req.sources[..1];
        darksite::from_lock(lock, companion, one, &other.paths(), &DirFetch, &archive.keyring(), &Quiet).unwrap_err()
    };
    assert!(chain(&error).contains("stable-updates"), "{}", chain(&error));
}

#[test]
fn every_flipped_byte_beside_a_lock_is_refused() {
    let (archive, _site, req, file, _) = written();
    let other = Site::new();
    let folder = Utf8PathBuf::from(format!("{file}.d"));
    let mut paths: Vec<Utf8PathBuf> = folder.read_dir_utf8().unwrap().map(|e| e.unwrap().into_path()).collect();
    assert_eq!(paths.len(), 4, "two Release files, Packages and Translation-en");
    paths.push(file.clone());
    for path in paths {
        let good = std::fs::read(&path).unwrap();
        for i in (0..good.len()).step_by(if path == file { 1 } else { 13 }) {
            let mut bad = good.clone();
            bad[i] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            // A lock may be another good lock after one flip (a version, a role): then it is another snapshot, and what
            // lies beside it, or the package's bytes, do not fit.
            let refused = match locked(&other, &archive, &file, &req) {
                Err(_) => true,
                Ok(plan) if path == file => plan.lock.render().as_bytes() == bad && plan.lock.id().to_string() != "",
                Ok(_) => path.extension() == Some("xz"),
            };
            assert!(refused, "byte {i} of {path}");
        }
        std::fs::write(&path, &good).unwrap();
    }
    assert!(locked(&other, &archive, &file, &req).is_ok());
}

#[test]
fn an_older_state_of_upstream_is_refused_unless_asked_for() {
    let archive = Archive::new();
    let site = Site::new();
    let mut req = request(&archive.url(), &["hello"]);
    req.paths = Some(site.paths());
    let inrelease = archive.root().join("dists/stable/InRelease");
    let old = std::fs::read(&inrelease).unwrap();
    archive.add_suite_at("stable", common::PACKAGES, "", common::NOW - 500);
    let new = plan(&req, &archive).unwrap();
    site.build(&new, &DirFetch).unwrap();
    std::fs::write(&inrelease, &old).unwrap();
    let error = plan(&req, &archive).unwrap_err();
    assert!(matches!(error, Error::Downgrade { .. }), "{}", chain(&error));
    assert!(error.hint().unwrap().contains("--allow-downgrade"));
    // The memory of it outlives the cache: the snapshot keeps upstream's file.
    std::fs::remove_dir_all(site.paths().cache).unwrap();
    assert!(matches!(plan(&req, &archive), Err(Error::Downgrade { .. })));
    req.allow_downgrade = true;
    plan(&req, &archive).unwrap();
    let fresh = Site::new();
    req.allow_downgrade = false;
    req.paths = Some(fresh.paths());
    plan(&req, &archive).unwrap();
}

#[test]
fn differences_are_counted_and_named() {
    let archive = Archive::new();
    let site = Site::new();
    let before = plan(&request(&archive.url(), &["hello"]), &archive).unwrap().lock;
    let mut req = two_suites(&archive, &site);
    req.roots.insert("other".into(), vec!["unwanted".into()]);
    let after = plan(&req, &archive).unwrap().lock;
    let d = darksite::diff(&before, &after);
    let names = |list: &[darksite::diff::Changed]| list.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&d.added), names(&d.upgraded)), (vec!["unwanted".into()], vec!["libc6".into()]));
    assert_eq!((d.removed.len(), d.downgraded.len(), d.kept), (0, 0, 4));
    let size = |name: &str| after.packages.iter().find(|p| p.name == name).unwrap().size;
    assert_eq!(d.transfer, size("unwanted") + size("libc6"));
    let back = darksite::diff(&after, &before);
    assert_eq!((names(&back.removed), names(&back.downgraded)), (vec!["unwanted".into()], vec!["libc6".into()]));
    let none = darksite::diff(&after, &after);
    assert!(none.is_empty() && none.transfer == 0 && none.kept == 6);
}

#[test]
fn a_snapshot_explains_itself_without_its_mirror() {
    let (archive, site, ..) = written();
    std::fs::remove_dir_all(archive.root()).unwrap();
    let dir = site.paths().snapshots.read_dir_utf8().unwrap().next().unwrap().unwrap().into_path();
    let (lock, companion) = darksite::read_snapshot(&dir).unwrap();
    let explained = darksite::explain(lock, &companion).unwrap();
    let told = |name: &str| {
        explained.why(name).iter().map(|(p, w)| format!("{} {}", p.version, w["web"].join(" -> "))).collect::<Vec<_>>()
    };
    assert_eq!(told("libc6"), ["2.41-1+deb13u1 role web -> hello -> libc6 (libc6 (>= 2.40))"]);
    assert_eq!(told("polite"), ["1:1 role web -> hello -> polite (greeter | other-greeter)"]);
    assert!(told("unwanted").is_empty());
    assert_eq!(explained.suggest("hell"), ["hello"]);
}

#[test]
fn an_index_is_fetched_once() {
    let archive = Archive::new();
    let site = Site::new();
    let server = common::server::Server::start(archive.root().to_owned(), common::server::Lie::None, "Packages", 0);
    let fetch = darksite::AnyFetch::new(darksite::HttpLimits::default());
    let asked = || server.asked.load(std::sync::atomic::Ordering::SeqCst);
    let mut req = request(&server.url, &["hello"]);
    req.paths = Some(site.paths());
    let first = darksite::plan(&req, &fetch, &archive.keyring(), &Quiet).unwrap();
    let after_first = asked();
    assert!(after_first > 0);
    let second = darksite::plan(&req, &fetch, &archive.keyring(), &Quiet).unwrap();
    assert_eq!((asked(), &second.lock), (after_first, &first.lock));
    // What was kept is believed only with its digest.
    let kept = site.paths().cache.join("index").read_dir_utf8().unwrap().next().unwrap().unwrap().into_path();
    let mut bytes = std::fs::read(&kept).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&kept, bytes).unwrap();
    let third = darksite::plan(&req, &fetch, &archive.keyring(), &Quiet).unwrap();
    assert!(asked() > after_first);
    assert_eq!(third.lock, first.lock);
}

#[test]
fn a_clock_at_1970_is_told_and_can_be_left_out() {
    let archive = Archive::new();
    let mut req = request(&archive.url(), &["hello"]);
    req.clock = darksite::Clock::At(at(0));
    let error = plan(&req, &archive).unwrap_err();
    assert!(chain(&error).contains("clock says 1970-01-01"), "{}", chain(&error));
    assert!(error.hint().unwrap().contains("--ignore-clock"));
    req.clock = darksite::Clock::OfFile;
    plan(&req, &archive).unwrap();
}
