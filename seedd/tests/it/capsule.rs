//! A site moves: export, import into standby, promotion, replacement. And everything that must be refused on the way.

use std::fs;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::arch::Arch;
use cluster_seed::enrollment::EnrollmentState as S;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use cluster_seed::seal::VerifyingKey;
use site::mode::Mode;
use site::{Site, setting};
use transfer::capsule::export::Exported;
use transfer::capsule::import::{Import, Imported};
use transfer::capsule::pieces::Discard;
use transfer::capsule::read::Clear;
use transfer::capsule::records::since_id;
use web::api::ApiError;

use crate::support::capsules::{self, NOW};
use crate::support::sites::*;

fn export(a: &Site, b: &Site, out: &Utf8Path, since: Option<Digest>) -> Result<Exported> {
    export_with(a, b, out, since, false)
}

fn export_with(a: &Site, b: &Site, out: &Utf8Path, since: Option<Digest>, same_medium: bool) -> Result<Exported> {
    capsules::export((a, A), b, out, since, same_medium)
}

fn import(b: &Site, file: &Utf8Path, pin: &VerifyingKey) -> Result<Imported> {
    import_with(b, file, pin, true)
}

fn import_with(b: &Site, file: &Utf8Path, pin: &VerifyingKey, keep_place: bool) -> Result<Imported> {
    capsules::import((b, B), file, pin, keep_place)
}

fn key(site: &Site) -> VerifyingKey {
    site.keys().public().unwrap().site_key().unwrap()
}

fn mode(site: &Site) -> Mode {
    site.open_store().unwrap().read(Mode::of).unwrap()
}

fn epoch(site: &Site) -> String {
    site.open_store().unwrap().setting(setting::EPOCH).unwrap().unwrap()
}

fn refused<T>(result: Result<T>, word: &str) {
    let text = format!("{:#}", result.err().expect("it must be refused"));
    assert!(text.contains(word), "{word}: {text}");
}

/// Every plain file below, with its digest.
fn listing(dir: &Utf8Path) -> Vec<(Utf8PathBuf, Digest)> {
    let mut all = Vec::new();
    for entry in dir.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.is_dir() {
            all.extend(listing(&path));
        } else {
            all.push((path.clone(), Digest::of(&fs::read(&path).unwrap())));
        }
    }
    all.sort();
    all
}

/// Both sites serve the same files.
fn same_trees(a: &Site, b: &Site) {
    for tree in ["artifacts", "netboot", "snapshots"] {
        let strip = |s: &Site| {
            listing(&s.join(tree)).into_iter().map(|(p, d)| (p.strip_prefix(&s.data).unwrap().to_owned(), d)).collect::<Vec<_>>()
        };
        assert_eq!(strip(a), strip(b), "{tree}");
    }
}

#[test]
fn a_site_moves_with_its_names_addresses_and_keys() {
    let t = temp();
    let a = filled(&t.path.join("a"), "site-a", A, 3, 1000);
    let b = empty(&t.path.join("b"), "site-b", B);
    let own = b.keys().public().unwrap();
    let at_a = unsealed(&a, A);
    let n1 = Machine::new(1).install(&at_a, "n1", false);
    Machine::new(2).install(&at_a, "n2", false);
    let waiting = Machine::new(3);
    let (approved, code) = waiting.enroll(&at_a);
    waiting.approve(&at_a, approved, &form(&code, "n3", false)).unwrap();
    let addresses = at_a.view_of(n1).unwrap().addresses;
    let vault = |site: &Site| format!("{:?}", site.keys().public().unwrap().vault);

    let file = t.path.join("a.capsule");
    let made = export(&a, &b, &file, None).unwrap();
    assert!(!made.resumed && made.blobs >= 6);
    refused(export(&a, &b, &file, None), "already exists");
    // Nothing before the pin and the recipient are right.
    let before = listing(&b.data);
    refused(import(&b, &file, &key(&b)), "not signed by the expected site key");
    let other = empty(&t.path.join("other"), "site-c", B);
    refused(import(&other, &file, &key(&a)), "the capsule is for");
    assert_eq!(
        listing(&b.data.join("keys")),
        before.iter().filter(|f| f.0.as_str().contains("/keys/")).cloned().collect::<Vec<_>>()
    );

    let done = import(&b, &file, &key(&a)).unwrap();
    assert_eq!((done.site.as_str(), done.epoch, done.nodes, done.already), ("site-a", 1, 3, false));
    assert!(import(&b, &file, &key(&a)).unwrap().already);
    assert_eq!(mode(&b), Mode::Standby);
    // It has the other site's keys under its own passphrase, and its own are gone.
    let public = b.keys().public().unwrap();
    assert_eq!((&public.site, vault(&b)), (&at_a.public.site, vault(&a)));
    assert_eq!(public.operator, own.operator);
    assert!(b.keys().unseal(B).is_ok() && b.keys().unseal(A).is_err());
    assert!(!b.join("import.ready").exists());
    same_trees(&a, &b);

    let at_b = unsealed(&b, B);
    let blank = Machine::new(9);
    assert!(matches!(blank.hello(&at_b), Err(ApiError::Conflict { .. })), "a standby enrolls nobody");
    assert!(matches!(waiting.claim(&at_b, approved), Err(ApiError::Conflict { .. })), "and hands nothing out");
    let peers = |app: &seedd::app::App| app.signed_peers().unwrap().open(&app.site_key).unwrap();
    assert_eq!(peers(&at_b), peers(&at_a), "and signs no list");
    assert_eq!(at_b.view_overview().unwrap().mode, web::api::SeedMode::Standby);

    assert_eq!(at_b.promote("test").unwrap(), 2);
    assert!(matches!(at_b.promote("test"), Err(ApiError::Conflict { .. })));
    let at_b = at_b.reopened().unwrap();
    assert!(!at_b.is_sealed(), "it stays unsealed");
    assert_eq!((mode(&b), epoch(&b).as_str()), (Mode::Active, "2"));
    assert!(peers(&at_b).epoch == 2 && peers(&at_b).supersedes(&peers(&at_a)));
    assert!(!peers(&at_a).supersedes(&peers(&at_b)));
    assert_eq!(at_b.view_of(approved).unwrap().state, S::Expired, "what was under way is over");
    assert_eq!(peers(&at_b).nodes.len(), 3);

    // A replacement has the same name and addresses, with keys of its own.
    let (second, code) = blank.enroll(&at_b);
    let view = blank.approve(&at_b, second, &form(&code, "n1", true)).unwrap();
    assert_eq!(view.addresses, addresses);
    let issued = blank.claim(&at_b, second).unwrap().identity.open(&at_a.site_key).unwrap();
    assert_eq!((issued.epoch, issued.open(&blank.age).unwrap().info.epoch), (2, 2));
    assert_eq!(at_b.view_of(n1).unwrap().state, S::Revoked);
    assert_eq!(at_b.store.read(|tx| tx.broken_event()).unwrap(), None);
    refused(import(&b, &file, &key(&a)), "active seed of the same site");
}

#[test]
fn a_later_capsule_leaves_out_what_the_earlier_one_had() {
    let t = temp();
    let a = filled(&t.path.join("a"), "site-a", A, 3, 1000);
    let b = empty(&t.path.join("b"), "site-b", B);
    let (first, second) = (t.path.join("1.capsule"), t.path.join("2.capsule"));
    let one = export(&a, &b, &first, None).unwrap();
    Machine::new(1).install(&unsealed(&a, A), "n1", false);
    assert_eq!(since_id(first.as_str()).unwrap(), one.id);
    assert_eq!(since_id(a.join("capsules").join(format!("{}.json", one.id)).as_str()).unwrap(), one.id);
    let two = export(&a, &b, &second, Some(one.id)).unwrap();
    assert_eq!((two.blobs, two.left_out), (0, one.blobs));
    refused(export(&a, &b, &t.path.join("x"), Some(Digest([1; 32]))), "No such file");
    refused(import(&b, &second, &key(&a)), "is missing on this seed");
    assert_eq!(mode(&b), Mode::Active, "nothing was taken over");
    import(&b, &first, &key(&a)).unwrap();
    let done = import(&b, &second, &key(&a)).unwrap();
    assert_eq!((done.nodes, mode(&b)), (1, Mode::Standby));
    refused(import(&b, &first, &key(&a)), "older than this site's data");
    assert_eq!(unsealed(&b, B).artifact_of("base", Arch::Amd64).unwrap().unwrap().chunks.len(), 3);
}

#[test]
fn a_damaged_capsule_changes_nothing() {
    let t = temp();
    let a = filled(&t.path.join("a"), "site-a", A, 2, 100);
    let b = empty(&t.path.join("b"), "site-b", B);
    let file = t.path.join("a.capsule");
    export(&a, &b, &file, None).unwrap();
    let good = fs::read(&file).unwrap();
    let outside = listing(&t.path.join("a"));
    let keep = |s: &Site| (listing(&s.join("keys")), listing(&s.join("blobs")), mode(s), epoch(s));
    let before = keep(&b);
    let operator = b.keys().operator(B).unwrap();
    let pin = key(&a);
    let try_it = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        Import { site: &b, operator: &operator, pin: &pin, file: &file, keep_place: true, now_ms: NOW, actor: None }.run(&Quiet)
    };
    let step = good.len() / 150;
    for at in (0..good.len()).step_by(step.max(1)) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(try_it(&bad).is_err(), "byte {at} of {}", good.len());
        assert!(try_it(&good[..at]).is_err(), "cut at {at}");
    }
    assert!(try_it(&[&good[..], b"x"].concat()).is_err(), "bytes after the end");
    assert_eq!(keep(&b).0, before.0);
    assert_eq!((mode(&b), epoch(&b)), (before.2, before.3));
    assert_eq!(listing(&t.path.join("a")), outside);
    try_it(&good).unwrap();
    assert_eq!(mode(&b), Mode::Standby);
}

#[test]
fn a_blob_that_is_not_what_its_name_says_is_not_exported() {
    let t = temp();
    let a = filled(&t.path.join("a"), "site-a", A, 2, 100);
    let b = empty(&t.path.join("b"), "site-b", B);
    let chunk = unsealed(&a, A).artifact_of("base", Arch::Amd64).unwrap().unwrap();
    let cluster_seed::manifest::Chunk::Zstd { stored, .. } = chunk.chunks[0] else { panic!("no chunk") };
    let good = fs::read(a.blob(stored)).unwrap();
    let mut bad = good.clone();
    bad[5] ^= 1;
    fs::write(a.blob(stored), &bad).unwrap();
    let file = t.path.join("a.capsule");
    refused(export(&a, &b, &file, None), "no longer matches the manifest");
    assert!(!file.exists());
    fs::write(a.blob(stored), &good).unwrap();
    assert!(!export(&a, &b, &file, None).unwrap().resumed, "frames with wrong bytes are not gone on with");
    let operator = b.keys().operator(B).unwrap();
    let mut capsule = Clear::open(&file).unwrap().verified(&key(&a), &operator).unwrap();
    let manifest = capsule.manifest().unwrap();
    capsule.content(&manifest, 0, &mut Discard, &Quiet).unwrap();
}

#[test]
fn a_site_with_nodes_of_its_own_is_not_overwritten() {
    let t = temp();
    let a = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let b = filled(&t.path.join("b"), "site-b", B, 1, 100);
    Machine::new(1).install(&unsealed(&b, B), "n1", false);
    let file = t.path.join("a.capsule");
    export(&a, &b, &file, None).unwrap();
    refused(import(&b, &file, &key(&a)), "nodes of its own");
    refused(transfer::capsule::promote::promote(&b.open_store().unwrap(), NOW, None, false), "not a standby");
    assert_eq!(key(&b), unsealed(&b, B).site_key);
}
