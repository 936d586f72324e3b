//! Two seeds from one medium: the capsule between them carries what is the site's own, and nothing else; and each stays
//! in its place.

use std::fs;

use anyhow::Result;
use camino::Utf8Path;
use cluster_seed::progress::Quiet;
use site::{Site, setting};
use transfer::capsule::export::Exported;
use transfer::capsule::import::Imported;
use transfer::medium::adopt::{Medium, Reading, adopt};

use crate::support::capsules;
use crate::support::medium::{PASSPHRASE, made_site, make_medium, new_site, utf8};

struct Bench {
    dir: tempfile::TempDir,
    a: Site,
    b: Site,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let base = utf8(dir.path());
    let root = base.join("medium");
    let maker = make_medium(&made_site(&base.join("maker")), PASSPHRASE, &root);
    let site = |name: &str| {
        let site = new_site(&base.join(name), name);
        let key = site.keys().unseal(PASSPHRASE).unwrap().site;
        adopt(&site, &Medium::open(&root, &maker).unwrap(), &key, Reading::Small, &Quiet).unwrap();
        site
    };
    let (a, b) = (site("site-a"), site("site-b"));
    Bench { dir, a, b }
}

fn export(a: &Site, b: &Site, out: &Utf8Path, same_medium: bool) -> Result<Exported> {
    capsules::export((a, PASSPHRASE), b, out, None, same_medium)
}

fn import(a: &Site, b: &Site, file: &Utf8Path, keep_place: bool) -> Result<Imported> {
    capsules::import((b, PASSPHRASE), file, &a.keys().public()?.site_key()?, keep_place)
}

fn move_to(site: &Site, text: &str) {
    assert!(!site.set_overlay_text("test", Some(text), false).unwrap().is_empty());
}

const PLACE_B: &str = "underlay:\n  subnet: 10.45.0.0/24\n  seed: 10.45.0.1\n  pool: {first: 10.45.0.100, last: 10.45.0.199}\n";

#[test]
fn what_the_medium_holds_is_left_out_and_found_again() {
    let Bench { dir, a, b } = bench();
    let base = utf8(dir.path());
    let (whole, small) = (base.join("whole"), base.join("small"));
    let all = export(&a, &b, &whole, false).unwrap();
    let own = export(&a, &b, &small, true).unwrap();
    assert!(own.left_out > 0 && own.blobs + own.left_out == all.blobs, "{own:?} {all:?}");
    assert!(own.blobs < all.blobs && own.stored < all.stored);
    let done = import(&a, &b, &small, true).unwrap();
    assert_eq!(done.copied + done.held, own.blobs);
    // Everything that A serves is at B, byte for byte: through the medium, or copied.
    let snapshot = a.open_store().unwrap().setting(setting::SNAPSHOT).unwrap().unwrap();
    let package = |site: &Site| fs::read(site.join("snapshots").join(&snapshot).join("pool/main/t/tree/tree_1_amd64.deb"));
    assert_eq!(package(&b).unwrap(), package(&a).unwrap());
    let artifact = a.open_store().unwrap().setting(&format!("{}base", setting::ARTIFACT)).unwrap().unwrap();
    let manifest = |site: &Site| fs::read(site.join("artifacts").join(&artifact).join("manifest.json"));
    assert_eq!(manifest(&b).unwrap(), manifest(&a).unwrap(), "signed by A, not by B");
}

#[test]
fn without_the_medium_it_is_refused_and_nothing_changed() {
    let Bench { dir, a, b: _ } = bench();
    let base = utf8(dir.path());
    let bare = new_site(&base.join("bare"), "bare");
    let file = base.join("small");
    export(&a, &bare, &file, true).unwrap();
    let before = fs::read(bare.cluster_file()).unwrap();
    let refused = import(&a, &bare, &file, true).unwrap_err();
    assert!(format!("{refused:#}").contains("is missing on this seed"), "{refused:#}");
    assert!(site::hint::of(&refused).unwrap().contains("medium"), "{refused:#}");
    assert_eq!(fs::read(bare.cluster_file()).unwrap(), before);
    let refused = export(&bare, &a, &base.join("none"), true).unwrap_err();
    assert!(format!("{refused:#}").contains("not created from a medium"), "{refused:#}");
}

#[test]
fn a_medium_that_changed_is_not_believed() {
    let Bench { dir, a, b } = bench();
    let base = utf8(dir.path());
    let file = base.join("small");
    export(&a, &b, &file, true).unwrap();
    let package = base.join("medium/kubedos/site/snapshots");
    let id = package.read_dir_utf8().unwrap().next().unwrap().unwrap().into_path();
    fs::write(id.join("pool/main/t/tree/tree_1_amd64.deb"), b"a pockage").unwrap();
    let refused = import(&a, &b, &file, true).unwrap_err();
    assert!(format!("{refused:#}").contains("is missing on this seed"), "{refused:#}");
}

#[test]
fn a_seed_stays_in_its_place_unless_it_is_told_to_move() {
    for (keep, subnet) in [(true, "10.45.0.0/24"), (false, "10.44.0.0/24")] {
        let Bench { dir, a, b } = bench();
        let file = utf8(dir.path()).join("small");
        export(&a, &b, &file, true).unwrap();
        // B was set up in another subnet: in its own cluster.yaml, as the set-up page writes it.
        let text = fs::read_to_string(b.cluster_file()).unwrap().replace("10.44.0.", "10.45.0.");
        fs::write(b.cluster_file(), text).unwrap();
        assert_eq!(b.spec().unwrap().spec.networking.underlay.subnet.to_string(), "10.45.0.0/24");
        import(&a, &b, &file, keep).unwrap();
        let spec = b.spec().unwrap();
        assert_eq!((spec.metadata.name.as_str(), spec.spec.networking.underlay.subnet.to_string().as_str()), ("site-a", subnet));
    }
}

#[test]
fn a_place_that_overlaps_the_other_sites_planes_is_refused_before_anything_changes() {
    let Bench { dir, a, b } = bench();
    let file = utf8(dir.path()).join("small");
    // A's planes lie where B's boot network is.
    let text = fs::read_to_string(a.cluster_file()).unwrap().replace("10.78.0.0/16", "10.45.0.0/16");
    fs::write(a.cluster_file(), text).unwrap();
    export(&a, &b, &file, true).unwrap();
    move_to(&b, PLACE_B);
    fs::rename(b.overlay_file(), b.join("kept")).unwrap();
    let text = fs::read_to_string(b.cluster_file()).unwrap().replace("10.44.0.", "10.45.0.");
    fs::write(b.cluster_file(), text).unwrap();
    let refused = import(&a, &b, &file, true).unwrap_err();
    assert!(format!("{refused:#}").contains("conflicts with the other site"), "{refused:#}");
    assert_eq!(b.spec().unwrap().metadata.name.as_str(), "site-b");
    assert!(!b.overlay_file().exists());
}
