//! A snapshot of a small archive: what is in it, that it is the same every time, and that a flipped byte is named.

use crate::common::{Archive, NOW, Package, Site, at, chain, request, tree};
use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use darksite::{Clock, DirFetch, Source, VerifyError};

#[test]
fn holds_the_closure_and_nothing_else() {
    let archive = Archive::new();
    let mut req = request(&archive.url(), &["hello"]);
    let plan = darksite::plan(&req, &DirFetch, &archive.keyring(), &Quiet).unwrap();
    let names: Vec<_> = plan.lock.packages.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["apt", "base-files", "hello", "libc6", "polite"]);
    let why = |name: &str| plan.why(name)[0].1["web"].join(" > ");
    assert_eq!(why("polite"), "role web > hello > polite (greeter | other-greeter)");
    assert_eq!(why("apt"), "the base system > apt");
    req.recommends = true;
    let plan = darksite::plan(&req, &DirFetch, &archive.keyring(), &Quiet).unwrap();
    assert!(plan.lock.packages.iter().any(|p| p.name == "hello-doc"));
}

#[test]
fn the_newest_version_of_all_suites_wins() {
    let archive = Archive::new();
    let newer =
        [Package { name: "libc6", version: "2.41-1+deb13u1", fields: "" }, Package { name: "polite", version: "1", fields: "" }];
    archive.add_suite("stable-updates", &newer, "");
    let mut req = request(&archive.url(), &["hello"]);
    req.sources.push(Source { mirror: archive.url(), suite: "stable-updates".into() });
    let plan = darksite::plan(&req, &DirFetch, &archive.keyring(), &Quiet).unwrap();
    let of =
        |name: &str| plan.lock.packages.iter().find(|p| p.name == name).map(|p| (p.version.clone(), p.suite.clone())).unwrap();
    assert_eq!(of("libc6"), ("2.41-1+deb13u1".into(), "stable-updates".into()));
    assert_eq!(of("polite"), ("1:1".into(), "stable".into()));
}

#[test]
fn the_same_lock_gives_the_same_bytes_anywhere() {
    let archive = Archive::new();
    let plan = darksite::plan(&request(&archive.url(), &["hello"]), &DirFetch, &archive.keyring(), &Quiet).unwrap();
    let (one, two) = (Site::new(), Site::new());
    let a = one.build(&plan, &DirFetch).unwrap();
    let b = two.build(&plan, &DirFetch).unwrap();
    assert_eq!(a.id, plan.lock.id());
    let (a_tree, b_tree) = (tree(&a.dir), tree(&b.dir));
    assert_eq!(a_tree, b_tree);
    assert!(a_tree.contains_key(&Utf8PathBuf::from("pool/main/hello/hello_2.10-1_amd64.deb")));
    assert_eq!(one.verify(&a.dir).unwrap().manifest, a.manifest);
    let packages = String::from_utf8(a_tree[camino::Utf8Path::new("dists/trixie/main/binary-amd64/Packages")].clone()).unwrap();
    let upstream = archive.index("stable");
    let kept: Vec<&str> = upstream.split_inclusive("\n\n").filter(|stanza| packages.contains(stanza)).collect();
    assert_eq!(kept.len(), plan.lock.packages.len(), "a stanza is not verbatim");
    // A second build is the first one.
    std::fs::remove_dir_all(archive.root()).unwrap();
    let again = one.build(&plan, &DirFetch).unwrap();
    assert!(a.built && !again.built);
    assert_eq!(again.manifest, a.manifest);
    assert!(std::fs::read_dir(one.paths().tmp).unwrap().next().is_none(), "something was left in tmp");
}

#[test]
fn a_snapshot_of_another_site_is_not_taken_for_ours() {
    let archive = Archive::new();
    let plan = darksite::plan(&request(&archive.url(), &["hello"]), &DirFetch, &archive.keyring(), &Quiet).unwrap();
    let mut site = Site::new();
    let dir = site.build(&plan, &DirFetch).unwrap().dir;
    site.site_key = cluster_seed::seal::SigningKey::from_bytes(&[5; 32]);
    let error = site.build(&plan, &DirFetch).unwrap_err();
    assert!(matches!(error, darksite::Error::ForeignSnapshot { .. }), "{error}");
    assert!(error.hint().is_some());
    assert!(site.verify(&dir).is_err());
}

#[test]
fn a_snapshot_is_signed_again_after_the_release_key_was_changed() {
    let archive = Archive::new();
    let plan = darksite::plan(&request(&archive.url(), &["hello"]), &DirFetch, &archive.keyring(), &Quiet).unwrap();
    let mut site = Site::new();
    let first = site.build(&plan, &DirFetch).unwrap();
    let before = tree(&first.dir);
    site.release_key = darksite::ReleaseKey::from_seed(&[8; 32], "Kubedos test", at(NOW - 10)).unwrap();
    assert!(site.verify(&first.dir).is_err());
    // Nothing has to be fetched for it.
    std::fs::remove_dir_all(archive.root()).unwrap();
    let again = site.build(&plan, &DirFetch).unwrap();
    assert_eq!((again.id, again.built, &again.dir), (first.id, true, &first.dir));
    assert_eq!(site.verify(&again.dir).unwrap().manifest, again.manifest);
    let after = tree(&again.dir);
    let changed: Vec<&str> = after.iter().filter(|(path, bytes)| before[*path] != **bytes).map(|(p, _)| p.as_str()).collect();
    assert_eq!(changed, ["dists/trixie/InRelease", "dists/trixie/Release.gpg", "keyring.gpg"]);
    assert_eq!(before.len(), after.len());
    assert!(std::fs::read_dir(site.paths().tmp).unwrap().next().is_none(), "something was left in tmp");
    assert!(!site.build(&plan, &DirFetch).unwrap().built);
}

#[test]
fn every_flipped_byte_is_named() {
    let archive = Archive::new();
    let plan = darksite::plan(&request(&archive.url(), &["hello"]), &DirFetch, &archive.keyring(), &Quiet).unwrap();
    let site = Site::new();
    let dir = site.build(&plan, &DirFetch).unwrap().dir;
    let files = tree(&dir);
    for (path, good) in &files {
        // Every byte of what has its own rules; a byte here and there of what is covered by one digest.
        let step = match path {
            p if p.starts_with("pool") => 997,
            p if p.starts_with("upstream") || p.as_str().contains("/main/") => 97,
            _ => 1,
        };
        let full = dir.join(path);
        // A file of its own, so that the blob behind the link stays as it is.
        std::fs::remove_file(&full).unwrap();
        for at in (0..good.len()).step_by(step) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&full, &bad).unwrap();
            match site.verify(&dir) {
                Err(VerifyError::Damaged { problems, .. }) => {
                    let shown = chain(&VerifyError::Damaged { count: problems.len(), problems: problems.clone() });
                    assert!(problems.iter().any(|p| p.path == *path), "byte {at} of {path} flipped, but the report is: {shown}");
                }
                other => panic!("byte {at} of {path} flipped unseen: {other:?}"),
            }
        }
        std::fs::write(&full, good).unwrap();
    }
    assert!(site.verify(&dir).is_ok());
}

#[test]
fn a_snapshot_of_another_version_is_not_called_damaged() {
    let archive = Archive::new();
    let plan = darksite::plan(&request(&archive.url(), &["hello"]), &DirFetch, &archive.keyring(), &Quiet).unwrap();
    let site = Site::new();
    let built = site.build(&plan, &DirFetch).unwrap();
    let old = std::fs::read_to_string(built.dir.join("snapshot.lock")).unwrap().replacen("Lock: 2", "Lock: 1", 1);
    let mut manifest = built.manifest;
    manifest.id = Digest::of(old.as_bytes());
    let sealed = cluster_seed::seal::Sealed::sign(&manifest, &site.site_key).unwrap();
    std::fs::write(built.dir.join("snapshot.json"), serde_json::to_vec(&sealed).unwrap()).unwrap();
    std::fs::write(built.dir.join("snapshot.lock"), &old).unwrap();
    assert!(matches!(site.verify(&built.dir), Err(VerifyError::OtherVersion)));
    // Only a lock that is whole has a version.
    std::fs::write(built.dir.join("snapshot.lock"), old.replacen("Lock: 1", "Lock: 0", 1)).unwrap();
    assert!(matches!(site.verify(&built.dir), Err(VerifyError::Damaged { .. })));
}

#[test]
fn missing_cut_and_strange_files_are_named() {
    let archive = Archive::new();
    let plan = darksite::plan(&request(&archive.url(), &["hello"]), &DirFetch, &archive.keyring(), &Quiet).unwrap();
    let site = Site::new();
    let dir = site.build(&plan, &DirFetch).unwrap().dir;
    let named = |what: &str| match site.verify(&dir) {
        Err(VerifyError::Damaged { problems, .. }) => problems.iter().any(|p| p.path.as_str().contains(what)),
        _ => false,
    };
    std::fs::write(dir.join("pool/stranger.deb"), b"x").unwrap();
    assert!(named("stranger"));
    std::fs::remove_file(dir.join("pool/stranger.deb")).unwrap();
    for (path, good) in tree(&dir) {
        std::fs::remove_file(dir.join(&path)).unwrap();
        assert!(named(path.as_str()), "{path} is missing unseen");
        if !good.is_empty() {
            std::fs::write(dir.join(&path), &good[..good.len() - 1]).unwrap();
            assert!(named(path.as_str()), "{path} is cut unseen");
        }
        std::fs::write(dir.join(&path), &good).unwrap();
    }
    assert!(site.verify(&dir).is_ok());
}

#[test]
fn a_lock_is_read_back_and_bound_to_its_id() {
    let archive = Archive::new();
    let plan = darksite::plan(&request(&archive.url(), &["hello"]), &DirFetch, &archive.keyring(), &Quiet).unwrap();
    let text = plan.lock.render();
    assert_eq!(darksite::SnapshotLock::parse(&text).unwrap(), plan.lock);
    let lines: Vec<&str> = text.lines().collect();
    let mut swapped = lines.clone();
    swapped.swap(lines.len() - 1, lines.len() - 2);
    for bad in
        [swapped.join("\n") + "\n", text.trim_end().to_owned(), text.replace("Suite", "Sweet"), text.replace(": 2\n", ": 3\n")]
    {
        assert!(darksite::SnapshotLock::parse(&bad).is_err(), "{bad}");
    }
    let other = darksite::plan(&request(&archive.url(), &["hello", "unwanted"]), &DirFetch, &archive.keyring(), &Quiet).unwrap();
    assert_ne!(other.lock.id(), plan.lock.id());
    let mut tolerant = request(&archive.url(), &["hello"]);
    tolerant.clock = Clock::OfFile;
    assert_eq!(darksite::plan(&tolerant, &DirFetch, &archive.keyring(), &Quiet).unwrap().lock, plan.lock);
}
