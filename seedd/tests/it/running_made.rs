//! What commands make on the seed: a running daemon checks it, puts it in use and says so in its log; without a daemon the command does.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use appliance::control::Client;
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::seal::{VerifyingKey, key_text};
use cluster_seed::secret::AgeKey;
use site::mode::Mode;
use site::putting::InUse;
use site::store::{Store, StoreError};
use site::{Site, setting};

use crate::running::Bench;
use crate::support::front::{Front, Said};
use crate::support::sites::{A, B, Temp, app, empty, filled, temp};
use crate::support::{capsules, life, medium};

/// The command line on a site without a daemon.
pub fn seedd(site: &Site, words: &[&str]) -> Said {
    run(Utf8Path::new(env!("CARGO_BIN_EXE_seedd")), site, words)
}

fn run(program: &Utf8Path, site: &Site, words: &[&str]) -> Said {
    Said::of(Command::new(program).args(words).args(["--data", site.data.as_str()]).stdin(Stdio::null()).output().unwrap())
}

/// Without a daemon: succeeds, and the last event is of this kind and by the command line.
pub fn writes(site: &Site, words: &[&str], kind: &str) -> String {
    let said = seedd(site, words);
    assert_eq!(said.code, 0, "{words:?}: {}{}", said.out, said.err);
    let read = |store: &Store| store.read(|tx| Ok::<_, StoreError>((tx.newest_of(kind, 1)?.remove(0), tx.last_event()?)));
    let (event, last) = read(&site.open_store().unwrap()).unwrap();
    assert_eq!((event.id, event.actor.as_deref()), (last, Some("command line")), "{words:?}: {event:?}");
    said.out
}

/// A file with the passphrase of a site.
pub fn passphrase(dir: &Utf8Path, text: &str) -> String {
    let file = dir.join("passphrase");
    std::fs::write(&file, text).unwrap();
    file.into_string()
}

fn told(store: &Store) -> Vec<String> {
    store.read(|tx| tx.newest_of("site.in_use", 9)).unwrap().into_iter().map(|e| e.text).collect()
}

#[test]
fn a_running_daemon_puts_a_snapshot_in_use_itself_and_only_one_that_is_there_and_signed() {
    let life::Bench { t, a, one, two, .. } = life::bench(0);
    let mut b = Bench::of(Front::of(t, a));
    let (first, second) = (one.to_string(), two.to_string());
    assert!(b.writes(&["darksite", "use", &second], "site.in_use").contains("is in use"));
    assert_eq!(b.front.app.store.snapshot().unwrap(), Some(two));
    assert_eq!(told(&b.front.app.store), [format!("in use: snapshot {}", two.short())]);
    let before = b.last();
    b.front.here(&["darksite", "use", &second]);
    assert_eq!(b.last(), before, "it is in use already");
    b.refuses(&["darksite", "use", &Digest([7; 32]).to_string()], &["there is no snapshot"]);
    let manifest = b.front.site.snapshot(one).join("snapshot.json");
    std::fs::remove_file(&manifest).unwrap();
    std::fs::write(&manifest, "{}").unwrap();
    b.refuses(&["darksite", "use", &first], &["putting it in use"]);
    assert_eq!(b.front.app.store.snapshot().unwrap(), Some(two));
}

#[test]
fn a_snapshot_is_put_in_use_without_a_daemon_too() {
    let bench = life::bench(0);
    let two = bench.two.to_string();
    writes(&bench.a, &["darksite", "use", &two], "site.in_use");
    assert_eq!(bench.a.open_store().unwrap().snapshot().unwrap(), Some(bench.two));
    let refused = seedd(&bench.a, &["darksite", "use", &Digest([7; 32]).to_string()]);
    assert!(refused.code == 1 && refused.err.contains("there is no snapshot"), "{}", refused.err);
    assert_eq!(told(&bench.a.open_store().unwrap()).len(), 1);
}

fn imported(store: &Store, one: Digest, maker: &VerifyingKey) {
    assert_eq!((store.snapshot().unwrap(), store.maker(one).unwrap()), (Some(one), Some(*maker)));
    // The maker first: without its key nobody could verify the snapshot.
    let signed = format!("{} is signed by the site key {}", one.short(), key_text(maker));
    assert_eq!(told(store), [format!("in use: snapshot {}", one.short()), signed]);
}

#[test]
fn a_running_daemon_is_told_who_made_an_imported_snapshot_and_puts_it_in_use() {
    let bench = life::bench(0);
    let (file, _) = bench.export(bench.one, None, "one").unwrap();
    let life::Bench { t, b: site, key, one, .. } = bench;
    let mut b = Bench::of(Front::of(t, site));
    let maker = key.verifying_key();
    b.writes(&["darksite", "import", file.as_str(), "--pin", &key_text(&maker)], "site.in_use");
    imported(&b.front.app.store, one, &maker);
}

#[test]
fn an_imported_snapshot_is_put_in_use_without_a_daemon_too() {
    let bench = life::bench(0);
    let (file, _) = bench.export(bench.one, None, "one").unwrap();
    let maker = bench.key.verifying_key();
    writes(&bench.b, &["darksite", "import", file.as_str(), "--pin", &key_text(&maker)], "site.in_use");
    imported(&bench.b.open_store().unwrap(), bench.one, &maker);
}

#[test]
fn a_running_daemon_puts_images_in_use_that_the_site_has_signed_and_no_others() {
    let b = Bench::new();
    let (store, daemon) = (&b.front.app.store, Client::new(&b.front.site.control_socket()));
    let (netboot, artifact) = (store.netboot().unwrap(), store.artifact("base").unwrap());
    assert!(netboot.is_some() && artifact.is_some());
    let forget: Result<bool, StoreError> = store.write(|tx| {
        tx.unset(setting::NETBOOT)?;
        tx.unset(&format!("{}base", setting::ARTIFACT))
    });
    assert!(forget.unwrap());
    let of = |id: Digest| BTreeMap::from([("base".to_owned(), id)]);
    let images = InUse { netboot, artifacts: of(artifact.unwrap()), ..InUse::default() };
    for bad in [
        InUse { netboot: Some(Digest([9; 32])), ..images.clone() },
        InUse { artifacts: of(Digest([9; 32])), ..images.clone() },
        InUse { extras: Some(Digest([9; 32])), ..images.clone() },
        InUse { makers: [(Digest([9; 32]), "no key".to_owned())].into(), ..images.clone() },
    ] {
        assert!(daemon.put_in_use(&bad).is_err(), "{bad:?}");
        assert_eq!((store.netboot().unwrap(), store.artifact("base").unwrap()), (None, None), "{bad:?}");
    }
    assert!(told(store).is_empty());
    daemon.put_in_use(&images).unwrap();
    assert_eq!((store.netboot().unwrap(), store.artifact("base").unwrap()), (netboot, artifact));
    assert_eq!(told(store), [images.text()]);
    assert!(b.newest.has_changed().unwrap(), "its pages know");
}

/// A medium and a site that may adopt it.
fn with_medium(t: &Temp) -> (Site, Utf8PathBuf, VerifyingKey) {
    let root = t.path.join("medium");
    let maker = medium::make_medium(&medium::made_site(&t.path.join("maker")), medium::PASSPHRASE, &root);
    (medium::new_site(&t.path.join("site"), "site-b"), root, maker)
}

fn adopted(store: &Store, maker: &VerifyingKey) {
    let snapshot = store.snapshot().unwrap().unwrap();
    assert_eq!(store.maker(snapshot).unwrap(), Some(*maker));
    assert!(store.netboot().unwrap().is_some() && store.artifact("base").unwrap().is_some());
    assert!(store.read(|tx| tx.medium()).unwrap().is_some());
    assert_eq!(told(store).len(), 1, "in one transaction");
}

#[test]
fn a_running_daemon_puts_in_use_what_is_on_an_adopted_medium() {
    let t = temp();
    let (site, root, maker) = with_medium(&t);
    let pass = passphrase(&t.path, medium::PASSPHRASE);
    let mut b = Bench::of(Front::of(t, site));
    b.writes(&["adopt", root.as_str(), "--pin", &key_text(&maker), "--passphrase-file", &pass], "site.in_use");
    adopted(&b.front.app.store, &maker);
}

#[test]
fn what_is_on_a_medium_is_put_in_use_without_a_daemon_too() {
    let t = temp();
    let (site, root, maker) = with_medium(&t);
    let pass = passphrase(&t.path, medium::PASSPHRASE);
    writes(&site, &["adopt", root.as_str(), "--pin", &key_text(&maker), "--passphrase-file", &pass], "site.in_use");
    adopted(&site.open_store().unwrap(), &maker);
}

#[test]
fn a_running_daemon_notes_an_export_itself() {
    let mut b = Bench::new();
    let (pass, out) = (passphrase(&b.front.path(""), A), b.front.path("a.capsule"));
    let recipient = AgeKey::generate().recipient();
    b.writes(&["export", "--recipient", &recipient, "--out", out.as_str(), "--passphrase-file", &pass], "site.exported");
    assert!(out.exists());
}

#[test]
fn an_export_is_noted_without_a_daemon_too() {
    let t = temp();
    let (site, pass) = (filled(&t.path.join("a"), "site-a", A, 1, 100), passphrase(&t.path, A));
    let (recipient, out) = (AgeKey::generate().recipient(), t.path.join("a.capsule"));
    writes(&site, &["export", "--recipient", &recipient, "--out", out.as_str(), "--passphrase-file", &pass], "site.exported");
    assert!(out.exists());
}

/// A copy of the program with a lab beside it that does this after it has read the passphrase; `$out` is its report.
fn with_lab(dir: &Utf8Path, does: &str) -> Utf8PathBuf {
    std::fs::create_dir_all(dir).unwrap();
    let (program, lab) = (dir.join("seedd"), dir.join("kubedos-lab"));
    // By another program: what a test itself has open for writing cannot be started while it starts others.
    let copied = Command::new("cp").args([env!("CARGO_BIN_EXE_seedd"), program.as_str()]).status().unwrap();
    assert!(copied.success());
    let options = "while [ $# -gt 1 ]; do [ \"$1\" = --report ] && out=$2; shift; done\nwhile read -r secret; do :; done\n";
    std::fs::write(&lab, format!("#!/bin/sh\n{options}{does}\n")).unwrap();
    std::fs::set_permissions(&lab, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    program
}

const REPORTS: &str = "printf '%s' '{\"node\":\"n-1\",\"seconds\":61.0,\"targetSeconds\":1800.0,\"passed\":true}' > \"$out\"";
const RESTORED: &str = "drill: node n-1 was restored 1 min 01 s after the loss of the site, within the target of 30 min 00 s";

/// Holds a drill that is measured and one whose lab fails; gives the newest event of drills after each.
fn drills(dir: &Utf8Path, site: &Site, store: &Store) -> [(String, String, Option<String>); 2] {
    let pass = passphrase(dir, A);
    [(REPORTS, 0), ("exit 3", 1)].map(|(does, code)| {
        let program = with_lab(&dir.join(format!("lab-{code}")), does);
        let said = run(&program, site, &["drill", "--json", "--passphrase-file", &pass]);
        assert_eq!(said.code, code, "{}{}", said.out, said.err);
        assert_eq!(said.out.contains("\"n-1\""), code == 0, "{}", said.out);
        let event = store.read(|tx| tx.newest_of("drill.", 1)).unwrap().remove(0);
        (event.kind, event.text, event.actor)
    })
}

fn drilled(events: &[(String, String, Option<String>); 2]) {
    let [good, bad] = events;
    assert_eq!(*good, ("drill.passed".to_owned(), RESTORED.to_owned(), Some("command line".to_owned())));
    assert_eq!((bad.0.as_str(), bad.2.as_deref()), ("drill.failed", Some("command line")));
    assert!(bad.1.starts_with("the drill failed: running "), "{}", bad.1);
}

#[test]
fn a_running_daemon_notes_drills_itself() {
    let b = Bench::new();
    drilled(&drills(&b.front.path(""), &b.front.site, &b.front.app.store));
    assert!(b.newest.has_changed().unwrap(), "its pages know");
}

#[test]
fn drills_are_noted_without_a_daemon_too() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    drilled(&drills(&t.path, &site, &site.open_store().unwrap()));
}

/// A site that was imported from another seed.
fn standby(t: &Temp) -> Site {
    let (a, b) = (filled(&t.path.join("a"), "site-a", A, 1, 100), empty(&t.path.join("b"), "site-b", B));
    let file = t.path.join("a.capsule");
    capsules::export((&a, A), &b, &file, None, false).unwrap();
    capsules::import((&b, B), &file, &a.keys().public().unwrap().site_key().unwrap(), true).unwrap();
    b
}

#[test]
fn a_running_standby_promotes_itself_in_a_drill_and_an_active_seed_stays_what_it_is() {
    let t = temp();
    let site = standby(&t);
    let b = Bench::of(Front::of(t, site));
    let drill = |b: &Bench| b.front.app.store.setting(setting::DRILL).unwrap();
    b.front.here(&["promote", "--drill", "--yes"]);
    assert_eq!((drill(&b).as_deref(), b.front.app.mode().unwrap()), (Some("1"), Mode::Active));
    assert_eq!(b.front.app.store.read(|tx| tx.epoch()).unwrap(), 2);
    let active = Bench::new();
    active.refuses(&["promote", "--drill", "--yes"], &["not a standby"]);
    assert_eq!(drill(&active), None);
}

#[test]
fn a_standby_is_promoted_in_a_drill_without_a_daemon_too() {
    let t = temp();
    let site = standby(&t);
    writes(&site, &["promote", "--drill", "--yes"], "site.promoted");
    assert_eq!(site.open_store().unwrap().setting(setting::DRILL).unwrap().as_deref(), Some("1"));
    assert_eq!(app(&site).mode().unwrap(), Mode::Active);
    let active = filled(&t.path.join("c"), "site-c", A, 1, 100);
    let refused = seedd(&active, &["promote", "--drill", "--yes"]);
    assert!(refused.code == 1 && refused.err.contains("not a standby"), "{}", refused.err);
    assert_eq!(active.open_store().unwrap().setting(setting::DRILL).unwrap(), None);
}

/// A site whose cluster.yaml lists a file that is there, and the file with its passphrase.
fn with_extras(t: &Temp) -> (Site, String) {
    let site = empty(&t.path.join("e"), "site-e", A);
    let file = t.path.join("file");
    std::fs::write(&file, "content").unwrap();
    let listed = format!("  extras:\n    files: [{{path: a/b, url: {file}, sha256: {}}}]\n", Digest::of(b"content"));
    let text = std::fs::read_to_string(site.cluster_file()).unwrap() + &listed;
    std::fs::write(site.cluster_file(), text).unwrap();
    (site, passphrase(&t.path, A))
}

fn fetched(store: &Store) {
    let id = store.extras().unwrap().unwrap();
    assert_eq!(told(store), [format!("in use: extras {}", id.short())]);
}

#[test]
fn a_running_daemon_puts_fetched_extras_in_use() {
    let t = temp();
    let (site, pass) = with_extras(&t);
    let mut b = Bench::of(Front::of(t, site));
    b.writes(&["darksite", "extras", "fetch", "--passphrase-file", &pass], "site.in_use");
    fetched(&b.front.app.store);
}

#[test]
fn fetched_extras_are_put_in_use_without_a_daemon_too() {
    let t = temp();
    let (site, pass) = with_extras(&t);
    writes(&site, &["darksite", "extras", "fetch", "--passphrase-file", &pass], "site.in_use");
    fetched(&site.open_store().unwrap());
}
