//! Mirrors that lie, stall and stop half-way: a clear error, nothing half-written, and a second run that goes on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::server::{Lie, Server};
use crate::common::{self, Archive, Site, at, chain, request};
use cluster_seed::progress::{Progress, Quiet};
use darksite::{AnyFetch, Clock, DirFetch, Error, HttpLimits, Plan};

fn fetch() -> AnyFetch {
    let short = Duration::from_millis(300);
    AnyFetch::new(HttpLimits { connect: Duration::from_secs(5), response: Duration::from_secs(5), read: short })
}

fn plan_from(url: &str, archive: &Archive) -> Result<Plan, Error> {
    darksite::plan(&request(url, &["hello"]), &fetch(), &archive.keyring(), &Quiet)
}

/// Plans and builds against a server that lies about `about` `times` times.
fn try_all(lie: Lie, about: &str, times: usize) -> (Result<(), Error>, Site, Server) {
    let archive = Archive::new();
    let server = Server::start(archive.root().to_owned(), lie, about, times);
    let site = Site::new();
    let result = plan_from(&server.url, &archive).and_then(|plan| site.build(&plan, &fetch())).map(|snapshot| {
        assert!(site.verify(&snapshot.dir).is_ok());
    });
    if result.is_err() {
        let published = std::fs::read_dir(site.paths().snapshots).map(|d| d.count()).unwrap_or(0);
        assert_eq!(published, 0, "a snapshot was published in spite of an error");
    }
    (result, site, server)
}

const DEB: &str = "hello_2.10-1";
const INDEX: &str = "Packages.xz";
const RELEASE: &str = "InRelease";

#[test]
fn an_honest_mirror_is_enough() {
    let (result, ..) = try_all(Lie::None, "", 0);
    result.unwrap();
}

#[test]
fn a_bad_moment_is_survived() {
    for lie in [Lie::HalfWay, Lie::HalfWayNoRange, Lie::Stall, Lie::Status(503)] {
        let (result, _, server) = try_all(lie, DEB, 2);
        result.unwrap_or_else(|e| panic!("{lie:?}: {}", chain(&e)));
        assert_eq!(server.asked.load(Ordering::SeqCst), 3, "{lie:?}");
        let resumed = server.ranges.lock().unwrap().iter().any(|r| r != "0-");
        assert_eq!(resumed, lie != Lie::Status(503), "{lie:?}");
    }
    for about in [RELEASE, INDEX] {
        for lie in [Lie::HalfWay, Lie::Stall, Lie::Status(500)] {
            try_all(lie, about, 1).0.unwrap_or_else(|e| panic!("{lie:?} {about}: {}", chain(&e)));
        }
    }
}

#[test]
fn a_lasting_lie_ends_in_a_clear_error() {
    for (lie, about, words) in [
        (Lie::Flip, DEB, "the signed index says"),
        (Lie::Endless, DEB, "larger than"),
        (Lie::Html, DEB, "the signed index says|ended after"),
        (Lie::Redirect, DEB, "redirect"),
        (Lie::Status(404), DEB, "does not have http"),
        (Lie::Status(403), DEB, "returned status 403"),
        (Lie::Flip, INDEX, "the signed Release file says"),
        (Lie::Endless, INDEX, "larger than"),
        (Lie::Html, INDEX, "the signed Release file says"),
        (Lie::Status(404), INDEX, "does not have http"),
        (Lie::Flip, RELEASE, "has no valid signature"),
        (Lie::Endless, RELEASE, "larger than"),
        (Lie::Html, RELEASE, "not a signed Release file"),
        (Lie::Redirect, RELEASE, "redirect"),
    ] {
        let (result, ..) = try_all(lie, about, usize::MAX);
        let error = result.expect_err(&format!("{lie:?} about {about} was believed"));
        let text = chain(&error);
        assert!(words.split('|').any(|w| text.contains(w)), "{lie:?} about {about}: {text}");
        assert!(error.hint().is_some(), "{lie:?} about {about}: no hint for {text}");
    }
}

#[test]
fn what_was_fetched_is_kept_for_the_next_run() {
    let archive = Archive::new();
    let site = Site::new();
    let bad = Server::start(archive.root().to_owned(), Lie::HalfWayNoRange, DEB, usize::MAX);
    let error = site.build(&plan_from(&bad.url, &archive).unwrap(), &fetch()).unwrap_err();
    assert!(chain(&error).contains("ended after") || chain(&error).contains("reading http"), "{}", chain(&error));
    drop(bad);
    let good = Server::start(archive.root().to_owned(), Lie::None, DEB, 0);
    let plan = plan_from(&good.url, &archive).unwrap();
    let wanted = plan.lock.packages.iter().find(|p| p.name == "hello").unwrap();
    let part = site.paths().tmp.join(format!("{}.part", wanted.sha256));
    let kept = std::fs::metadata(&part).unwrap().len();
    assert!(kept > 0 && kept < wanted.size);
    let snapshot = site.build(&plan, &fetch()).unwrap();
    assert!(good.ranges.lock().unwrap().contains(&format!("{kept}-")));
    assert!(site.verify(&snapshot.dir).is_ok());
    assert!(!part.exists());
}

#[test]
fn a_spoilt_part_is_fetched_again() {
    let archive = Archive::new();
    let site = Site::new();
    let plan = plan_from(&archive.url(), &archive).unwrap();
    let hello = plan.lock.packages.iter().find(|p| p.name == "hello").unwrap();
    let part = site.paths().tmp.join(format!("{}.part", hello.sha256));
    for spoilt in [vec![0u8; 100], vec![0u8; hello.size as usize], vec![0u8; hello.size as usize + 1]] {
        common::write(&part, &spoilt);
        let _ = std::fs::remove_dir_all(site.paths().blobs);
        let _ = std::fs::remove_dir_all(site.paths().snapshots);
        let snapshot = site.build(&plan, &DirFetch).unwrap();
        assert!(site.verify(&snapshot.dir).is_ok());
    }
}

struct StopAfter(AtomicU64);

impl Progress for StopAfter {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, n: u64) {
        let left = self.0.load(Ordering::SeqCst);
        self.0.store(left.saturating_sub(n), Ordering::SeqCst);
    }
    fn end(&self) {}
    fn say(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

#[test]
fn stops_when_asked_and_goes_on_later() {
    let archive = Archive::new();
    let site = Site::new();
    let plan = plan_from(&archive.url(), &archive).unwrap();
    for bytes in [0, 1, 9000] {
        let stop = StopAfter(AtomicU64::new(bytes));
        let error = darksite::build(&plan, &site.paths(), &DirFetch, &site.release_key, &site.site_key, &stop).unwrap_err();
        assert!(chain(&error).contains("stopped on request"), "{}", chain(&error));
        assert!(!site.paths().snapshots.join(plan.lock.id().to_string()).exists());
    }
    assert!(site.verify(&site.build(&plan, &DirFetch).unwrap().dir).is_ok());
}

#[test]
fn every_flipped_byte_of_what_upstream_signed_is_refused() {
    let archive = Archive::new();
    let path = archive.root().join("dists/stable/InRelease");
    let good = std::fs::read(&path).unwrap();
    let armor = String::from_utf8(good.clone()).unwrap().find("-----BEGIN PGP SIGNATURE").unwrap();
    let text = String::from_utf8(good.clone()).unwrap().find("\n\n").unwrap() + 2;
    for i in text..armor {
        let mut bad = good.clone();
        bad[i] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(plan_from(&archive.url(), &archive).is_err(), "byte {i} of InRelease flipped unseen");
    }
    std::fs::write(&path, &good).unwrap();
    let path = archive.root().join("dists/stable/main/binary-amd64/Packages.xz");
    let good = std::fs::read(&path).unwrap();
    for i in 0..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(matches!(plan_from(&archive.url(), &archive), Err(Error::Digest { .. })), "byte {i} of Packages.xz");
    }
}

#[test]
fn dates_are_judged_by_the_clock_that_is_given() {
    let archive = Archive::new();
    let until = |second: i64| format!("Valid-Until: {}\n", darksite::format::date::format_date(at(second)));
    let mut req = request(&archive.url(), &["hello"]);
    let mut run = |more: &str, clock: Clock| {
        archive.add_suite("stable", common::PACKAGES, more);
        req.clock = clock;
        darksite::plan(&req, &DirFetch, &archive.keyring(), &Quiet).map(|_| ()).map_err(|e| chain(&e))
    };
    let now = common::NOW;
    run(&until(now), Clock::At(at(now))).unwrap();
    let expired = run(&until(now - 1), Clock::At(at(now))).unwrap_err();
    assert!(expired.contains("expired at"), "{expired}");
    run(&until(now - 1), Clock::OfFile).unwrap();
    for early in [0, now - 1000 - 3601] {
        assert!(run("", Clock::At(at(early))).is_err(), "accepted at {early}");
    }
    run("", Clock::At(at(now - 1000 - 3600))).unwrap();
    // 2099, without an end of validity: nothing has expired.
    run("", Clock::At(at(4_070_908_800))).unwrap();
}

#[test]
fn another_key_or_suite_is_refused() {
    let archive = Archive::new();
    let other = darksite::ReleaseKey::from_seed(&[1; 32], "Other <o@example.org>", at(0)).unwrap();
    let req = request(&archive.url(), &["hello"]);
    let error = darksite::plan(&req, &DirFetch, &other.keyring().unwrap(), &Quiet).unwrap_err();
    assert!(chain(&error).contains("a key that is not in the keyring"), "{}", chain(&error));
    let dists = archive.root().join("dists");
    std::fs::rename(dists.join("stable"), dists.join("testing")).unwrap();
    let mut req = request(&archive.url(), &["hello"]);
    req.sources[0].suite = "testing".into();
    let error = darksite::plan(&req, &DirFetch, &archive.keyring(), &Quiet).unwrap_err();
    assert!(matches!(error, Error::WrongSuite { .. }), "{}", chain(&error));
}

#[test]
fn a_full_disk_is_named() {
    let archive = Archive::new();
    let site = Site::new();
    let plan = plan_from(&archive.url(), &archive).unwrap();
    std::fs::create_dir_all(site.paths().tmp).unwrap();
    for package in &plan.lock.packages {
        let part = site.paths().tmp.join(format!("{}.part", package.sha256));
        // The device of /dev/full answers every write with "no space left on device" (full(4)). A link to it is not followed.
        let made = std::process::Command::new("mknod").args([part.as_str(), "c", "1", "7"]).status();
        let usable = made.is_ok_and(|s| s.success()) && std::fs::File::options().write(true).open(&part).is_ok();
        if !usable {
            kubedos_skip::skip("dev-full", "a device cannot be made here");
            return;
        }
    }
    let error = site.build(&plan, &DirFetch).unwrap_err();
    assert!(chain(&error).contains("the disk is full"), "{}", chain(&error));
    assert!(error.hint().unwrap().contains("free some disk space"));
}
