//! Snapshots of many packages share folders of their pools; each stays whole, and what is not as signed is named.

use std::os::unix::fs::{MetadataExt as _, symlink};

use crate::common::{self, Archive, Site, chain, crowd, request};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::progress::Quiet;
use darksite::{DirFetch, Plan, VerifyError};

fn plan_of(archive: &Archive) -> Plan {
    let mut req = request(&archive.url(), &["hello"]);
    req.profile = cluster_seed::repo::RepoProfile::Full;
    darksite::plan(&req, &DirFetch, &archive.keyring(), &Quiet).unwrap()
}

fn shelves(site: &Site) -> Vec<Utf8PathBuf> {
    let entries = site.paths().snapshots.join("shelves").read_dir_utf8().into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|e| e.into_path()).collect();
    found.sort();
    found
}

fn problems(site: &Site, dir: &Utf8Path) -> Vec<String> {
    match site.verify(dir) {
        Ok(_) => Vec::new(),
        Err(VerifyError::Damaged { problems, .. }) => problems.into_iter().map(|p| p.path.to_string()).collect(),
        Err(e) => panic!("{}", chain(&e)),
    }
}

#[test]
fn two_snapshots_share_what_is_the_same() {
    let archive = Archive::new();
    let site = Site::new();
    // One crowd in pool/main/, where every package of a test is, and the first snapshot of it.
    archive.add_suite("stable", &crowd(300, "1"), "");
    let first = site.build(&plan_of(&archive), &DirFetch).unwrap();
    assert!(first.dir.join("pool/main").is_symlink());
    assert_eq!(shelves(&site).len(), 1);
    site.verify(&first.dir).unwrap();
    // Another lock with the same packages: nothing of the pool is made again.
    let recommends = {
        let mut req = request(&archive.url(), &["hello"]);
        (req.profile, req.recommends) = (cluster_seed::repo::RepoProfile::Full, true);
        darksite::plan(&req, &DirFetch, &archive.keyring(), &Quiet).unwrap()
    };
    let second = site.build(&recommends, &DirFetch).unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(shelves(&site).len(), 1);
    let inode = |dir: &Utf8Path| std::fs::metadata(dir.join("pool/main")).unwrap().ino();
    assert_eq!(inode(&first.dir), inode(&second.dir));
    // One package changed: a shelf of its own, and the old one as it was.
    archive.add_suite("stable", &crowd(300, "2"), "");
    let third = site.build(&plan_of(&archive), &DirFetch).unwrap();
    assert_eq!(shelves(&site).len(), 2);
    for snapshot in [&first, &second, &third] {
        site.verify(&snapshot.dir).unwrap();
    }
    let tmp: Vec<_> = site.paths().tmp.read_dir_utf8().unwrap().map(|e| e.unwrap().into_path()).collect();
    assert!(tmp.is_empty(), "{tmp:?}");
}

#[test]
fn what_is_wrong_on_a_shelf_is_named() {
    let archive = Archive::new();
    archive.add_suite("stable", &crowd(300, "1"), "");
    let site = Site::new();
    let dir = site.build(&plan_of(&archive), &DirFetch).unwrap().dir;
    let shelf = shelves(&site).remove(0);
    common::write(&shelf.join("stray/stray.deb"), b"x");
    assert_eq!(problems(&site, &dir), ["pool/main/stray/stray.deb"]);
    std::fs::remove_dir_all(shelf.join("stray")).unwrap();
    // A link to another place is a stranger, whatever lies there.
    let link = dir.join("pool/main");
    std::fs::remove_file(&link).unwrap();
    symlink(&shelf, &link).unwrap();
    assert_eq!(problems(&site, &dir), ["pool/main"]);
    // The folder itself in the link's place is as good: so it is on a medium.
    std::fs::remove_file(&link).unwrap();
    std::fs::rename(&shelf, &link).unwrap();
    assert_eq!(problems(&site, &dir), [""; 0]);
    std::fs::remove_dir_all(&link).unwrap();
    assert!(problems(&site, &dir).len() > 99);
}

#[test]
fn a_package_that_was_fetched_again_is_not_taken_from_an_old_shelf() {
    let archive = Archive::new();
    archive.add_suite("stable", &crowd(300, "1"), "");
    let site = Site::new();
    let plan = plan_of(&archive);
    let dir = site.build(&plan, &DirFetch).unwrap().dir;
    // Rot: the blob and every link to it.
    let package = plan.lock.packages.iter().find(|p| p.name == "hello").unwrap();
    let blob = host::blobs::blob_path(&site.paths().blobs, &package.sha256);
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&blob, &bytes).unwrap();
    assert_eq!(problems(&site, &dir), [package.filename.as_str()]);
    // What `verify` advises: remove both, build again.
    std::fs::remove_file(&blob).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let again = site.build(&plan, &DirFetch).unwrap().dir;
    assert!(!again.join("pool/main").is_symlink());
    assert_eq!(problems(&site, &again), [""; 0]);
}
