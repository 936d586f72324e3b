//! What the version before wrote still opens: a site that was killed, its leases, and a capsule (tests/fixtures).

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::events::EventKind;
use cluster_seed::ids::Mac;
use cluster_seed::progress::Quiet;
use pxe::Journal;
use site::Site;
use site::mode::Mode;
use transfer::capsule::import::Import;

use crate::support::sites::{Temp, temp, unsealed};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/f38c67a");
const ONE: &str = "fixture passphrase one";
const TWO: &str = "fixture passphrase two";
const MAC: Mac = Mac([0x52, 0x54, 0, 0xab, 0, 1]);

fn copy(from: &Utf8Path, to: &Utf8Path) {
    fs::create_dir_all(to).unwrap();
    for entry in from.read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy(from, &to);
        } else {
            fs::copy(from, &to).unwrap();
        }
    }
}

/// A copy of a fixture's site; git keeps no empty folders, so they are made again.
fn fixture(temp: &Temp, name: &str) -> Site {
    let data = temp.path.join(name);
    copy(&Utf8PathBuf::from(FIXTURES).join(name), &data);
    let site = Site::new(&data);
    site.make_folders().unwrap();
    site
}

#[test]
fn a_killed_site_of_the_version_before_opens_with_its_events() {
    let temp = temp();
    let app = unsealed(&fixture(&temp, "site-a"), ONE);
    assert_eq!(app.store.read(|tx| tx.broken_event()).unwrap(), None);
    let machine = app.store.read(|tx| tx.machine_by_mac(MAC)).unwrap().unwrap();
    let timeline = app.store.read(|tx| tx.timeline(machine.id, 100)).unwrap();
    let kinds: Vec<&str> = timeline.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["dhcp.discover", "dhcp.offer", "dhcp.request", "dhcp.ack"].map(|k| k.parse::<EventKind>().unwrap().as_str())
    );
    let facts = timeline[0].facts.as_ref().unwrap();
    assert!(facts.cause.is_none() && facts.hostname.as_deref() == Some("fixture"), "{facts:?}");
    assert!(app.view_machine(machine.id).unwrap().timeline.len() == timeline.len());
}

#[test]
fn a_lease_journal_of_the_version_before_is_read() {
    let temp = temp();
    let site = fixture(&temp, "site-a");
    let (_journal, leases) = Journal::open(site.join("leases").as_std_path()).unwrap();
    assert_eq!(leases.len(), 1);
    assert_eq!(
        (leases[0].mac, leases[0].ip.to_string(), leases[0].hostname.as_deref()),
        (MAC, "10.44.0.100".to_owned(), Some("fixture"))
    );
}

#[test]
fn a_capsule_of_the_version_before_is_imported() {
    let temp = temp();
    let (a, b) = (fixture(&temp, "site-a"), fixture(&temp, "site-b"));
    let pin = a.keys().public().unwrap().site_key().unwrap();
    let operator = b.keys().operator(TWO).unwrap();
    let file = Utf8PathBuf::from(FIXTURES).join("site-a.capsule");
    let job = Import {
        site: &b,
        operator: &operator,
        pin: &pin,
        file: &file,
        keep_place: true,
        now_ms: 1_800_000_000_000,
        actor: None,
    };
    assert_eq!(job.run(&Quiet).unwrap().site, "site-a");
    let app = unsealed(&b, TWO);
    assert_eq!((app.public.site.clone(), app.mode().unwrap()), (a.keys().public().unwrap().site, Mode::Standby));
    assert!(app.store.read(|tx| tx.machine_by_mac(MAC)).unwrap().is_some());
}
