//! A seed medium as a plain directory, made from a site.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{ArtifactManifest, ArtifactSpec, BootFile, Chunk, NetbootManifest, SnapshotManifest};
use cluster_seed::medium::{CLUSTER, MANIFEST, MediumManifest, RELEASE_KEYRING, SITE};
use cluster_seed::seal::{Sealable, Sealed, SigningKey, VerifyingKey};
use site::create::{NewSite, create};
use site::store::Store;
use site::{Site, default_cluster_yaml, setting};

use super::sites::WORK;

pub const PASSPHRASE: &str = "correct horse battery";

pub fn utf8(path: &std::path::Path) -> Utf8PathBuf {
    Utf8PathBuf::from_path_buf(path.to_owned()).unwrap()
}

fn put(path: &Utf8Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn put_sealed<T: Sealable>(path: &Utf8Path, document: &T, key: &SigningKey) {
    put(path, &serde_json::to_vec(&Sealed::sign(document, key).unwrap()).unwrap());
}

pub fn new_site(data: &Utf8Path, name: &str) -> Site {
    let site = Site::new(data);
    let text = default_cluster_yaml(name);
    let spec = ClusterSpec::parse(&text).unwrap();
    let new = NewSite { text: &text, spec: &spec, passphrase: PASSPHRASE, now: 1_760_000_000, work: WORK };
    create(&site, &new, |_, _| Ok(())).unwrap();
    site
}

/// A site with a snapshot, a netboot set and an artifact that only look like the real ones.
pub fn made_site(data: &Utf8Path) -> Site {
    let site = new_site(data, "maker");
    let key = site.keys().unseal(PASSPHRASE).unwrap().site;
    let snapshot = Digest::of(b"lock");
    let dir = site.join("snapshots").join(snapshot.to_string());
    put(&dir.join("dists/trixie/Release"), b"Suite: trixie\n");
    put(&dir.join("pool/main/t/tree/tree_1_amd64.deb"), b"a package");
    let manifest = SnapshotManifest {
        id: snapshot,
        suite: "trixie".into(),
        components: vec!["main".into()],
        architectures: vec!["amd64".into()],
        roots: BTreeMap::new(),
        packages: 1,
        bytes: 9,
        release: Digest::of(b"Suite: trixie\n"),
    };
    put_sealed(&dir.join("snapshot.json"), &manifest, &key);

    let netboot = Digest::of(b"netboot");
    let dir = site.join("netboot").join(netboot.to_string());
    let file = |name: &str| {
        put(&dir.join(name), name.as_bytes());
        BootFile { name: name.into(), size: name.len() as u64, sha256: Digest::of(name.as_bytes()) }
    };
    let files = ["initrd.img", "ipxe.efi", "snponly.efi", "undionly.kpxe", "vmlinuz"].map(file).to_vec();
    let manifest = NetbootManifest { id: netboot, snapshot, arch: "amd64".into(), kernel: "6.12".into(), files };
    put_sealed(&dir.join("netboot.json"), &manifest, &key);

    let chunk = b"not really zstd";
    let stored = Digest::of(chunk);
    put(&site.blob(stored), chunk);
    let spec = ArtifactSpec {
        recipe: 1,
        role: "base".into(),
        arch: "amd64".into(),
        snapshot,
        packages: vec![],
        payload: Digest::of(b"payload"),
    };
    let manifest = ArtifactManifest {
        id: spec.id(),
        spec,
        disk_size: 4 << 20,
        min_disk: 4 << 30,
        raw: Digest::of(b"raw"),
        state_offset: 0,
        state_size: 4096,
        chunks: vec![Chunk::Zstd { stored, stored_size: chunk.len() as u32, raw: Digest::of(b"raw") }],
    };
    put_sealed(&site.join("artifacts").join(manifest.id.to_string()).join("manifest.json"), &manifest, &key);
    let store = Store::open(&site.database()).unwrap();
    store.set(setting::SNAPSHOT, &snapshot.to_string()).unwrap();
    store.set(setting::NETBOOT, &netboot.to_string()).unwrap();
    store.set(&format!("{}base", setting::ARTIFACT), &manifest.id.to_string()).unwrap();
    site
}

fn copy(from: &Utf8Path, to: &Utf8Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in from.read_dir_utf8().unwrap() {
            let entry = entry.unwrap();
            copy(entry.path(), &to.join(entry.file_name()));
        }
    } else {
        // The same inode where that is possible: nothing changes a medium.
        fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(|_| ())).unwrap();
    }
}

fn list(root: &Utf8Path, dir: &Utf8Path, files: &mut Vec<BootFile>) {
    for entry in dir.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.is_dir() {
            list(root, &path, files);
        } else {
            let bytes = fs::read(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_string();
            files.push(BootFile { name, size: bytes.len() as u64, sha256: Digest::of(&bytes) });
        }
    }
}

/// Writes what a medium of `site` holds (without what firmware reads) to `root`; the maker's key.
pub fn make_medium(site: &Site, passphrase: &str, root: &Utf8Path) -> VerifyingKey {
    let key = site.keys().unseal(passphrase).unwrap().site;
    let store = Store::open(&site.database()).unwrap();
    let id = |name: &str| -> Digest { store.setting(name).unwrap().unwrap().parse().unwrap() };
    let (snapshot, netboot) = (id(setting::SNAPSHOT), id(setting::NETBOOT));
    let artifacts: BTreeMap<String, Digest> =
        site.spec().unwrap().spec.roles.keys().map(|r| (r.clone(), id(&format!("{}{r}", setting::ARTIFACT)))).collect();
    let to = root.join(SITE);
    let mut folders = vec![format!("snapshots/{snapshot}"), format!("netboot/{netboot}"), "blobs".to_owned()];
    folders.extend(artifacts.values().map(|a| format!("artifacts/{a}")));
    for folder in folders {
        copy(&site.join(&folder), &to.join(&folder));
    }
    copy(&site.cluster_file(), &to.join(CLUSTER));
    copy(&site.keys().release_keyring_path(), &to.join(RELEASE_KEYRING));
    let mut files = Vec::new();
    list(root, root, &mut files);
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let text = serde_json::to_vec(&files).unwrap();
    let manifest =
        MediumManifest { id: Digest::of(&text), version: "0".into(), arch: "amd64".into(), snapshot, netboot, artifacts, files };
    put_sealed(&root.join(MANIFEST), &manifest, &key);
    key.verifying_key()
}

/// Replaces a file of the medium; the site that it was linked from keeps its own.
pub fn tamper(path: &Utf8Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}
