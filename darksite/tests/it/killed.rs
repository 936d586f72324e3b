//! A build that is killed, or whose disk is full or read-only: the next run gives the same bytes, and a damaged snapshot is
//! never listed.

use std::time::Instant;

use crate::common::{Archive, Site, chain, crowd, request, tool, tree};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::progress::Quiet;
use darksite::{DirFetch, Error, Plan};

/// Directories of the helper below. The tests run this program again with it set.
const CHILD: &str = "KUBEDOS_TEST_BUILD";
const KILLS: u32 = 50;

fn site_at(dir: &Utf8Path) -> Site {
    Site { temp: tempfile::tempdir().unwrap(), at: Some(dir.to_owned()), ..Site::new() }
}

fn plan_of(archive: &Archive, site: &Site) -> Plan {
    try_plan(archive, site).unwrap()
}

fn try_plan(archive: &Archive, site: &Site) -> Result<Plan, Error> {
    let mut req = request(&archive.url(), &["hello", "unwanted"]);
    if archive.root().join("pool/main/crowd-0").is_dir() {
        req.profile = cluster_seed::repo::RepoProfile::Full;
    }
    req.paths = Some(site.paths());
    darksite::plan(&req, &DirFetch, &archive.keyring(), &Quiet)
}

/// Not a test: the program that is killed. Without the variable, it does nothing.
#[test]
fn build_when_asked() {
    let Ok(dirs) = std::env::var(CHILD) else { return };
    let (archive, data) = dirs.split_once('|').unwrap();
    let archive = Archive::at(Utf8Path::new(archive));
    let site = site_at(Utf8Path::new(data));
    let built = try_plan(&archive, &site).and_then(|plan| site.build(&plan, &DirFetch));
    if let Err(e) = built {
        eprintln!("{}\nhint: {}", chain(&e), e.hint().unwrap_or("none"));
        panic!("the build failed");
    }
}

fn argv(archive: &Archive, data: &Utf8Path) -> (String, Vec<String>, String) {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let args = ["--exact", "killed::build_when_asked", "--nocapture"].map(str::to_owned).to_vec();
    (program, args, format!("{}|{data}", archive.root()))
}

/// Verifies the listed snapshots, and returns their number.
fn check_listed(site: &Site) -> usize {
    let entries = site.paths().snapshots.read_dir_utf8().into_iter().flatten().flatten();
    let dirs: Vec<Utf8PathBuf> = entries.map(|e| e.into_path()).filter(|p| p.file_name() != Some("shelves")).collect();
    for dir in &dirs {
        site.verify(dir).unwrap_or_else(|e| panic!("a damaged snapshot is listed: {}", chain(&e)));
    }
    dirs.len()
}

#[test]
fn killed_at_any_moment_it_ends_in_the_same_bytes() {
    kill(&Archive::new(), KILLS, &["blobs", "snapshots", "tmp", "cache"]);
}

#[test]
fn killed_while_it_makes_a_shelf_it_ends_in_the_same_bytes() {
    let archive = Archive::new();
    archive.add_suite("stable", &crowd(260, "1"), "");
    kill(&archive, KILLS / 2, &["snapshots", "tmp", "cache"]);
}

/// Kills builds at times spread over the duration of one; every second one begins without the folders `afresh`.
fn kill(archive: &Archive, kills: u32, afresh: &[&str]) {
    let whole = Site::new();
    let want = tree(&whole.build(&plan_of(archive, &whole), &DirFetch).unwrap().dir);
    assert!(want.len() > 10);
    let temp = tempfile::tempdir().unwrap();
    let data = Utf8Path::from_path(temp.path()).unwrap();
    let (program, args, dirs) = argv(archive, data);
    let start = Instant::now();
    assert!(tool::spawn(&program, &args, CHILD, &dirs).wait().unwrap().success());
    let full = start.elapsed();
    let mut killed = 0;
    for n in 0..kills {
        // Even kills start from nothing, odd ones from what the last one left.
        if n % 2 == 0 {
            for name in afresh {
                let _ = std::fs::remove_dir_all(data.join(name));
            }
        } else {
            let _ = std::fs::remove_dir_all(data.join("snapshots"));
        }
        let mut child = tool::spawn(&program, &args, CHILD, &dirs);
        // Spread by a multiplicative hash of the number.
        let part = f64::from(n.wrapping_mul(2_654_435_769) >> 8) / f64::from(1u32 << 24);
        std::thread::sleep(full.mul_f64(part));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        let site = site_at(data);
        check_listed(&site);
        let built = site.build(&plan_of(archive, &site), &DirFetch).unwrap();
        assert!(tree(&built.dir) == want, "kill {n}");
        assert_eq!(check_listed(&site), 1);
        let left: Vec<_> = site.paths().tmp.read_dir_utf8().unwrap().map(|e| e.unwrap().file_name().to_owned()).collect();
        assert!(left.iter().all(|n| !n.starts_with("snapshot-")), "{left:?}");
    }
    println!("{killed} of {kills} kills came before the end");
    assert!(killed > 0, "every kill came too late");
}

#[test]
fn what_is_verified_is_not_read_again() {
    let archive = Archive::new();
    let site = Site::new();
    let plan = plan_of(&archive, &site);
    site.build(&plan, &DirFetch).unwrap();
    std::fs::remove_dir_all(site.paths().snapshots).unwrap();
    // Nobody reads the blob until `verify`, so other bytes of the same length are not noticed.
    let blob = host::blobs::blob_path(&site.paths().blobs, &plan.lock.packages[0].sha256);
    let length = std::fs::metadata(&blob).unwrap().len() as usize;
    std::fs::write(&blob, vec![0; length]).unwrap();
    std::fs::remove_dir_all(archive.root().join("pool")).unwrap();
    let built = site.build(&plan, &DirFetch).unwrap();
    assert!(site.verify(&built.dir).is_err());
}

/// Runs the build with its data directory on a file system of its own; None if that is not possible here.
fn build_on(options: &str, before: &str) -> Option<(bool, String)> {
    let archive = Archive::new();
    let temp = tempfile::tempdir().unwrap();
    let data = Utf8Path::from_path(temp.path()).unwrap();
    let (program, args, dirs) = argv(&archive, data);
    let script = format!(
        "mount -t tmpfs -o size=64k tmpfs {data} || exit 77; {before}; mount -o remount,{options} {data} || exit 77; \
         {CHILD}='{dirs}' exec {program} {}",
        args.join(" ")
    );
    let script = script.replace("DATA", data.as_str());
    let unshare = tool::find("unshare").ok()?;
    let (ok, text) = tool::run(&unshare, &["-m".into(), "sh".into(), "-c".into(), script], data);
    // Without permission to mount, there is only mount's message.
    text.contains("running 1 test").then_some((ok, text))
}

#[test]
fn a_full_disk_and_a_read_only_disk_have_their_own_errors() {
    for (options, before, words) in [
        ("size=24k", ":", ["the disk is full", "free some disk space"]),
        ("ro", "mkdir -p DATA/tmp DATA/blobs DATA/snapshots DATA/cache", ["Read-only file system", "mounted read-only"]),
    ] {
        match build_on(options, before) {
            None => kubedos_skip::skip("mount", "no file system can be mounted here"),
            Some((ok, text)) => assert!(!ok && words.iter().all(|w| text.contains(w)), "{options}: {text}"),
        }
    }
}
