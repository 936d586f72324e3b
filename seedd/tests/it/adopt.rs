//! Taking over a medium, good and bad ones.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::arch::Arch;
use cluster_seed::manifest::{ArtifactManifest, NetbootManifest};
use cluster_seed::medium::{MANIFEST, MediumManifest, SITE};
use cluster_seed::progress::Quiet;
use cluster_seed::seal::{Sealed, VerifyingKey, key_text};
use seedd::app::App;
use site::{Site, setting};
use transfer::medium::adopt::{Medium, Reading, adopt};

use crate::support::medium::{PASSPHRASE, made_site, make_medium, new_site, tamper, utf8};

struct Bench {
    _dir: tempfile::TempDir,
    root: Utf8PathBuf,
    maker: VerifyingKey,
    made: Site,
    site: Site,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let base = utf8(dir.path());
    let made = made_site(&base.join("maker"));
    let root = base.join("medium");
    let maker = make_medium(&made, PASSPHRASE, &root);
    let site = new_site(&base.join("site"), "site-b");
    Bench { _dir: dir, root, maker, made, site }
}

impl Bench {
    fn adopt(&self, how: Reading) -> anyhow::Result<()> {
        let medium = Medium::open(&self.root, &self.maker)?;
        adopt(&self.site, &medium, &self.site.keys().unseal(PASSPHRASE).unwrap().site, how, &Quiet)
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.site.open_store().unwrap().setting(name).unwrap()
    }
}

fn manifest<T: cluster_seed::seal::Sealable>(path: &Utf8Path, key: &VerifyingKey) -> T {
    serde_json::from_slice::<Sealed<T>>(&fs::read(path).unwrap()).unwrap().open(key).unwrap()
}

#[test]
fn what_is_on_the_medium_is_in_use_afterwards() {
    let b = bench();
    b.adopt(Reading::All).unwrap();
    let own = b.site.keys().public().unwrap().site_key().unwrap();
    let netboot = b.site.join("netboot").join(b.setting(setting::NETBOOT).unwrap());
    assert_eq!(manifest::<NetbootManifest>(&netboot.join("netboot.json"), &own).files.len(), 5);
    assert_eq!(fs::read(netboot.join("vmlinuz")).unwrap(), b"vmlinuz");
    assert!(netboot.join("vmlinuz").is_symlink(), "linked, not copied");
    let snapshot = b.setting(setting::SNAPSHOT).unwrap();
    let package = format!("snapshots/{snapshot}/pool/main/t/tree/tree_1_amd64.deb");
    assert_eq!(fs::read(b.site.join(&package)).unwrap(), b"a package");
    let (keyring, key) = b.site.snapshot_keys(&b.site.open_store().unwrap(), snapshot.parse().unwrap()).unwrap();
    assert_eq!(key_text(&key), key_text(&b.maker));
    assert_eq!(keyring, b.made.keys().release_keyring().unwrap());
    assert_ne!(keyring, b.site.keys().release_keyring().unwrap());

    let app = App::open(b.site.clone(), "10.44.0.1:80".parse().unwrap()).unwrap();
    let artifact: ArtifactManifest = app.artifact_of("base", Arch::Amd64).unwrap().unwrap();
    let view = app.view_overview().unwrap();
    assert!(!view.warnings.iter().any(|w| w.contains("artifact") || w.contains("snapshot")), "{:?}", view.warnings);
    assert_eq!(view.roles[0].artifact, Some(artifact.id));
    drop(app);
    // Again, as after a power cut, and after another medium.
    b.adopt(Reading::Small).unwrap();
    let moved = b.root.with_file_name("moved");
    fs::rename(&b.root, &moved).unwrap();
    assert!(!netboot.join("vmlinuz").exists());
    let b = Bench { root: moved, ..b };
    b.adopt(Reading::Small).unwrap();
    assert_eq!(fs::read(netboot.join("vmlinuz")).unwrap(), b"vmlinuz");
}

#[test]
fn a_medium_of_somebody_else_is_refused() {
    let b = bench();
    let stranger = b.site.keys().public().unwrap().site_key().unwrap();
    let error = Medium::open(&b.root, &stranger).err().unwrap();
    assert!(format!("{error:#}").contains("signed by key"), "{error:#}");
    assert!(site::hint::of(&error).is_some());
    tamper(&b.root.join(MANIFEST), |bytes| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    });
    assert!(Medium::open(&b.root, &b.maker).is_err());
}

#[test]
fn nothing_of_a_changed_medium_is_in_use() {
    let b = bench();
    let of = |m: &MediumManifest, id: &str| match id {
        "snapshot" => m.snapshot.to_string(),
        "netboot" => m.netboot.to_string(),
        _ => m.artifacts["base"].to_string(),
    };
    for (folder, id, file) in [
        ("netboot", "netboot", "vmlinuz"),
        ("netboot", "netboot", "netboot.json"),
        ("artifacts", "artifact", "manifest.json"),
        ("snapshots", "snapshot", "snapshot.json"),
        ("snapshots", "snapshot", "dists/trixie/Release"),
    ] {
        let m = manifest::<MediumManifest>(&b.root.join(MANIFEST), &b.maker);
        let path = b.root.join(SITE).join(folder).join(of(&m, id)).join(file);
        let good = fs::read(&path).unwrap();
        for grow in [false, true] {
            tamper(&path, |bytes| if grow { bytes.push(0) } else { bytes[3] ^= 1 });
            let error = b.adopt(Reading::Small).unwrap_err();
            assert!(format!("{error:#}").contains(file), "{file}: {error:#}");
            for name in [setting::SNAPSHOT, setting::NETBOOT, setting::MEDIUM, "artifact:base"] {
                assert_eq!(b.setting(name), None, "{file}");
            }
            tamper(&path, |bytes| bytes.clone_from(&good));
        }
    }
    b.adopt(Reading::Small).unwrap();
}

#[test]
fn packages_and_chunks_are_read_on_request() {
    let b = bench();
    let blobs = b.root.join(SITE).join("blobs/sha256");
    let folder = blobs.read_dir_utf8().unwrap().next().unwrap().unwrap().into_path();
    let blob = folder.read_dir_utf8().unwrap().next().unwrap().unwrap().into_path();
    tamper(&blob, |bytes| bytes[0] ^= 1);
    assert!(format!("{:#}", b.adopt(Reading::All).unwrap_err()).contains("does not match the signed manifest"));
    b.adopt(Reading::Small).unwrap();
}

#[test]
fn links_and_devices_on_a_medium_are_not_followed() {
    let b = bench();
    let path = b.root.join(SITE).join("cluster.yaml");
    let size = fs::metadata(&path).unwrap().len();
    fs::rename(&path, b.root.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(b.root.join("elsewhere"), &path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), size);
    let error = Medium::open(&b.root, &b.maker).err().unwrap();
    assert!(error.to_string().contains("is not a regular file"), "{error:#}");
}
