//! The life of snapshots: lists and proofs, archives for a stick and everything that must be refused of them, gc, and
//! kill -9 in the middle of an import.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cluster_seed::ids::Digest;
use cluster_seed::proof::{ProofState, RoleProof, SnapshotProof};
use cluster_seed::seal::{SigningKey, key_text};
use site::{Site, gc, setting, snapshots};
use transfer::archive::write::Export;

use crate::support::life::{bench, import, listed, refused, same};
use crate::support::sites::{A, B, empty};

#[test]
fn a_snapshot_travels_whole_and_as_a_difference() {
    let bench = bench(3);
    let (file, done) = bench.export(bench.one, None, "one.archive").unwrap();
    assert!(done.list.held.is_empty() && done.stored == fs::metadata(&file).unwrap().len());
    refused(bench.export(bench.one, None, "one.archive"), "already exists");
    let (again, _) = bench.export(bench.one, None, "again.archive").unwrap();
    assert_eq!(fs::read(&file).unwrap(), fs::read(again).unwrap(), "the same snapshot gives the same bytes");
    let (diff, left) = bench.export(bench.two, Some(bench.one), "diff.archive").unwrap();
    assert!(left.stored < done.stored && left.list.held.len() > 3, "{:?}", left.list);

    refused(bench.import(&diff), "are missing on this site");
    assert!(listed(&bench.b).is_empty());
    let got = bench.import(&file).unwrap();
    assert!(!got.already && got.in_use && got.held == 0);
    let again = bench.import(&file).unwrap();
    assert!(again.already && again.in_use, "it is in use still");
    same(&bench, &bench.b, bench.one);
    let got = bench.import(&diff).unwrap();
    assert!(!got.already && !got.in_use);
    same(&bench, &bench.b, bench.two);
    assert!(bench.import(&diff).unwrap().already);
    assert_eq!(listed(&bench.b).len(), 2);
    let store = bench.b.open_store().unwrap();
    let held = snapshots::one(&bench.b, &store, bench.two).unwrap();
    assert_eq!(held.maker, Some(bench.key.verifying_key()), "it stays its maker's");
    assert!(fs::read_dir(bench.b.join("tmp")).unwrap().all(|e| e.unwrap().file_name().to_string_lossy().ends_with(".lock")));
}

#[test]
fn parts_and_interruption_of_an_export() {
    let bench = bench(300);
    let (whole, _) = bench.export(bench.one, None, "whole").unwrap();
    let bytes = fs::read(&whole).unwrap();
    let store = bench.a.open_store().unwrap();
    let out = bench.t.path.join("parts");
    let job = |split| Export {
        site: &bench.a,
        store: &store,
        site_key: &bench.key,
        snapshot: bench.one,
        since: None,
        extras: false,
        split,
        out: &out,
    };
    // Stopped after so many steps, again and again: it goes on, and ends in the same bytes.
    struct Stop(std::sync::atomic::AtomicI64);
    impl cluster_seed::progress::Progress for Stop {
        fn begin(&self, _: &str, _: Option<u64>) {}
        fn advance(&self, _: u64) {}
        fn end(&self) {}
        fn say(&self, _: &str) {}
        fn cancelled(&self) -> bool {
            self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) <= 0
        }
    }
    let mut runs = 0;
    // Listing asks too, for each file.
    let files = crate::support::archive::tree(&bench.a.snapshot(bench.one)).len() as i64;
    let done = loop {
        runs += 1;
        match job(Some(1 << 20)).run(&Stop((files + 100).into())) {
            Ok(done) => break done,
            Err(e) => assert!(format!("{e:#}").contains("run the same command again to resume"), "{e:#}"),
        }
        assert!(runs < 50 && !bench.t.path.join("parts.001").exists());
    };
    assert!(runs > 2 && done.resumed && done.files.len() == bytes.len().div_ceil(1 << 20));
    let joined: Vec<u8> = done.files.iter().flat_map(|f| fs::read(f).unwrap()).collect();
    assert_eq!(joined, bytes);
    assert!(bench.import(&bench.t.path.join("parts")).is_ok());
    same(&bench, &bench.b, bench.one);
}

#[test]
fn what_was_changed_is_refused_and_leaves_nothing() {
    let bench = bench(0);
    let (file, done) = bench.export(bench.one, None, "one").unwrap();
    let good = fs::read(&file).unwrap();
    refused(import(&bench.b, &file, &SigningKey::from_bytes(&[9; 32]).verifying_key()), "not signed by the expected");
    let content: u64 = done.list.bytes();
    let head = good.len() - content as usize;
    let bad_file = bench.t.path.join("bad");
    let try_bytes = |bytes: &[u8], what: &str| {
        fs::write(&bad_file, bytes).unwrap();
        let result = bench.import(&bad_file);
        assert!(result.is_err(), "{what} unseen");
        assert!(listed(&bench.b).is_empty() && !bench.b.snapshot(bench.one).exists(), "{what}");
    };
    for at in (0..head).step_by(37).chain((head..good.len()).step_by(good.len() / 40)) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        try_bytes(&bad, &format!("byte {at}"));
    }
    for cut in [0, 10, 20, head - 1, head, head + 1, good.len() - 1] {
        try_bytes(&good[..cut], &format!("cut at {cut}"));
    }
    try_bytes(&[&good[..], b"x"].concat(), "something behind its end");
    try_bytes(b"KUBEDOS-CAPSULE\n", "a capsule");
    try_bytes(&[b"KUBEDOS-ARCHIVE\n", &[255u8; 4][..], &good[20..]].concat(), "a header of 4 GiB");
    assert!(bench.import(&file).is_ok(), "and the good one is still taken");
    same(&bench, &bench.b, bench.one);
}

/// Signed by the right key, but not a snapshot that this key would have published.
#[test]
fn a_signed_archive_of_a_broken_snapshot_is_refused() {
    for (what, path) in [("changed", "dists/trixie/Release"), ("missing", "snapshot.lock"), ("strange", "pool/stranger.deb")] {
        let bench = bench(0);
        let victim = bench.a.snapshot(bench.one).join(path);
        match what {
            "changed" => {
                let text = fs::read_to_string(&victim).unwrap().replace("Kubedos", "Kubedoz");
                fs::remove_file(&victim).unwrap();
                fs::write(&victim, text).unwrap();
            }
            "missing" => fs::remove_file(&victim).unwrap(),
            _ => fs::write(&victim, "x").unwrap(),
        }
        let (file, _) = bench.export(bench.one, None, "one").unwrap();
        refused(bench.import(&file), "checking the snapshot");
        assert!(listed(&bench.b).is_empty() && !bench.b.snapshot(bench.one).exists(), "{what}");
    }
}

#[test]
fn proofs_are_believed_only_from_those_who_may_give_them() {
    let bench = bench(0);
    let store = bench.a.open_store().unwrap();
    let state = |site: &Site| snapshots::one(site, &site.open_store().unwrap(), bench.one).unwrap().state;
    assert_eq!(state(&bench.a), ProofState::Unproven);
    let held = snapshots::one(&bench.a, &store, bench.one).unwrap();
    let proof = |good: bool| SnapshotProof {
        version: cluster_seed::proof::VERSION,
        snapshot: bench.one,
        release: held.manifest.release,
        arch: "amd64".into(),
        program: "1".into(),
        made: 1,
        roles: held
            .manifest
            .roots
            .keys()
            .map(|r| {
                let list = Digest::of(b"l");
                let bad = RoleProof::Failed { why: "E: no".into() };
                (r.clone(), if good { RoleProof::Installed { packages: 1, list } } else { bad })
            })
            .collect(),
    };
    snapshots::keep_proof(&bench.a, &proof(false), &bench.key).unwrap();
    assert_eq!(state(&bench.a), ProofState::Failed);
    snapshots::keep_proof(&bench.a, &proof(true), &SigningKey::from_bytes(&[9; 32])).unwrap();
    assert_eq!(state(&bench.a), ProofState::Unproven, "signed by a stranger");
    snapshots::keep_proof(&bench.a, &proof(true), &bench.key).unwrap();
    assert_eq!(state(&bench.a), ProofState::Proven);
    // It travels with the snapshot, and every flipped byte of it counts for nothing.
    let (file, _) = bench.export(bench.one, None, "one").unwrap();
    bench.import(&file).unwrap();
    assert_eq!(state(&bench.b), ProofState::Proven);
    let path = bench.b.proof_file(bench.one);
    let good = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        assert_eq!(state(&bench.b), ProofState::Unproven, "byte {at}");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(state(&bench.b), ProofState::Unproven);
}

#[test]
fn gc_takes_only_what_nothing_uses() {
    let bench = bench(2);
    let site = crate::support::sites::filled(&bench.t.path.join("c"), "site-c", A, 2, 5000);
    // `filled` has an artifact and a folder that only looks like a snapshot; this one is real.
    fs::remove_dir_all(site.snapshot(Digest([5; 32]))).unwrap();
    let (file, _) = bench.export(bench.one, None, "one").unwrap();
    let store = site.open_store().unwrap();
    store.set(setting::SNAPSHOT, &bench.one.to_string()).unwrap();
    import(&site, &file, &bench.key.verifying_key()).unwrap();
    let before = crate::support::archive::tree(&site.snapshot(bench.one));
    let stray = b"nobody's";
    let path = site.blob(Digest::of(stray));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, stray).unwrap();
    fs::write(site.join(&format!("tmp/{}.part", Digest::of(b"p"))), b"half").unwrap();
    fs::create_dir_all(site.join("tmp/snapshot-x/pool")).unwrap();
    fs::write(site.join("tmp/snapshot-x/pool/f"), b"123").unwrap();
    fs::create_dir_all(site.join("tmp/seedroot-x/usr")).unwrap();
    fs::write(site.join("tmp/seedroot-x/usr/f"), b"12").unwrap();
    {
        let _job = site.use_blobs().unwrap();
        assert!(site.alone_with_blobs().is_err(), "a job runs");
    }
    let alone = site.alone_with_blobs().unwrap();
    let waste = gc::survey(&site, &store, false, &alone).unwrap();
    let mut found: Vec<_> = waste.iter().map(|w| (w.path.clone(), w.bytes)).collect();
    found.retain(|(p, _)| *p != path);
    assert!(waste.iter().any(|w| w.path == path && w.bytes == 8));
    assert!(found.contains(&(site.join("tmp/seedroot-x"), 2)));
    assert!(found.contains(&(site.join("tmp/snapshot-x"), 3)) && !waste.iter().any(|w| w.path.as_str().ends_with(".part")));
    assert!(path.exists(), "looking removes nothing");
    assert_eq!(gc::survey(&site, &store, true, &alone).unwrap().len(), waste.len() + 1);
    gc::remove(&waste, &alone).unwrap();
    assert!(!path.exists() && gc::survey(&site, &store, false, &alone).unwrap().is_empty());
    assert_eq!(crate::support::archive::tree(&site.snapshot(bench.one)), before);
    let key = site.keys().public().unwrap().site_key().unwrap();
    let artifact = site::layout::ids(&site.join("artifacts")).unwrap()[0];
    let manifest = site.join("artifacts").join(artifact.to_string()).join("manifest.json");
    for (chunk, _) in site::artifacts::chunks_of(&manifest, &key).unwrap() {
        assert!(site.blob(chunk).exists());
    }
    // A lock nobody can read: nothing may go.
    refused(gc::remove_snapshot(&site, &store, bench.one, &alone), "is in use");
    let lock = site.snapshot(bench.one).join("snapshot.lock");
    let text = fs::read(&lock).unwrap();
    fs::remove_file(&lock).unwrap();
    fs::write(&lock, &text[..text.len() - 1]).unwrap();
    refused(gc::survey(&site, &store, false, &alone), "not the lock");
    fs::write(&lock, &text).unwrap();
    store.set(setting::SNAPSHOT, &bench.two.to_string()).unwrap();
    gc::remove_snapshot(&site, &store, bench.one, &alone).unwrap();
    let left = gc::survey(&site, &store, false, &alone).unwrap();
    assert!(!site.snapshot(bench.one).exists() && left.len() > 5, "its packages can go now: {left:?}");
}

/// A pool of so many packages lies on shelves beside the snapshots.
#[test]
fn shelves_travel_as_folders_and_go_with_the_last_snapshot() {
    let bench = bench(300);
    let (a, shelves) = (&bench.a, bench.a.join("snapshots/shelves"));
    assert!(a.snapshot(bench.one).join("pool/main").is_symlink() && a.snapshot(bench.two).join("pool/main").is_symlink());
    assert_eq!(site::layout::ids(&shelves).unwrap().len(), 2);
    let (file, _) = bench.export(bench.two, None, "two").unwrap();
    bench.import(&file).unwrap();
    assert!(
        bench.b.snapshot(bench.two).join("pool/main").is_dir() && !bench.b.snapshot(bench.two).join("pool/main").is_symlink()
    );
    assert_eq!(listed(&bench.b), [bench.two]);
    same(&bench, &bench.b, bench.two);
    let store = a.open_store().unwrap();
    let alone = a.alone_with_blobs().unwrap();
    assert!(gc::survey(a, &store, false, &alone).unwrap().is_empty());
    // `two` has one package more: with it go that package's blob and the shelf, and nothing of `one`.
    let before = crate::support::archive::tree(&a.snapshot(bench.one));
    gc::remove_snapshot(a, &store, bench.two, &alone).unwrap();
    let waste = gc::survey(a, &store, false, &alone).unwrap();
    let kinds: Vec<_> = waste.iter().map(|w| w.kind).collect();
    assert_eq!(kinds, ["blob", "shelf of packages"], "{waste:?}");
    gc::remove(&waste, &alone).unwrap();
    assert!(gc::survey(a, &store, false, &alone).unwrap().is_empty());
    assert_eq!((site::layout::ids(&shelves).unwrap().len(), crate::support::archive::tree(&a.snapshot(bench.one))), (1, before));
    drop(alone);
    assert_eq!(listed(a), [bench.one]);
}

const KILLS: usize = 50;

#[test]
fn killed_at_fifty_random_moments_an_import_ends_in_the_same_bytes() {
    let bench = bench(150);
    let (file, _) = bench.export(bench.one, None, "one").unwrap();
    let pin = key_text(&bench.key.verifying_key());
    let start = |site: &Site| {
        Command::new(env!("CARGO_BIN_EXE_seedd"))
            .args(["darksite", "import", file.as_str(), "--pin", &pin, "--json", "--data", site.data.as_str()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let fresh = |n: usize| empty(&bench.t.path.join(format!("k{n}")), "site-k", B);
    // How long a whole run takes here, and now: the first one, and every later one that was too fast for its moment.
    let site = fresh(1000);
    let began = Instant::now();
    let out = start(&site).wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut whole = began.elapsed();
    same(&bench, &site, bench.one);

    let (mut killed, mut finished, mut runs, mut site, mut first) = (0, 0, 0, fresh(0), true);
    while killed < KILLS {
        runs += 1;
        assert!(runs <= 20 * KILLS, "only {killed} of {runs} runs were killed in time");
        let part = f64::from(getrandom::u32().unwrap()) / f64::from(u32::MAX);
        let (began, moment) = (Instant::now(), whole.mul_f64(part));
        let mut child = start(&site);
        while began.elapsed() < moment && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let took = began.elapsed();
        child.kill().unwrap();
        if child.wait().unwrap().code().is_none() {
            killed += 1;
        } else if first {
            whole = took;
        }
        first = false;
        if listed(&site) == [bench.one] {
            same(&bench, &site, bench.one);
            finished += 1;
            (site, first) = (fresh(finished), true);
        }
    }
    println!("{killed} of {runs} runs were killed, {finished} imports were complete; a whole one took {whole:?}");
    let out = start(&site).wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    same(&bench, &site, bench.one);
    assert_eq!(listed(&site), [bench.one]);
}
