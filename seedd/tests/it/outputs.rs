//! Outputs of artifacts: listed, verified and refused in the web interface, deleted when superseded; and the archive of OCI
//! images as an extra of a site.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::foundry::{Envelope, MANIFEST_ENDING, OutputManifest, OutputSpec, RECIPE, STATEMENT, Target};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::BootFile;
use cluster_seed::progress::Quiet;
use cluster_seed::seal::{Sealed, SigningKey};
use darksite::extras::oci::{Layout, Store as Blobs};
use image::foundry::oci::{About, CARRIER, pack};
use seedd::app::{App, Seed};
use site::{Site, gc};
use web::api::{ApiError, BuildWish, JobState, JobView, OperatorApi as _};

use crate::support::sites::{A, admin, app, filled, temp, unsealed};

const ROLE: &str = "base";

/// Writes an output of the role from this artifact; returns its name.
fn put(site: &Site, key: &SigningKey, artifact: Digest, day: u32) -> String {
    put_for(site, key, artifact, day, None)
}

/// The same; with the name of a node, an output that contains its token.
fn put_for(site: &Site, key: &SigningKey, artifact: Digest, day: u32, node: Option<&str>) -> String {
    let spec = OutputSpec {
        recipe: RECIPE,
        target: Target::Raw,
        site: "site-a".to_owned(),
        role: Some(ROLE.to_owned()),
        node: node.map(str::to_owned),
        contains_secret: node.is_some(),
        version: format!("202608{day:02}T000000Z"),
        arch: "amd64".to_owned(),
        artifact: Some(artifact),
        raw: Some(Digest([7; 32])),
        snapshot: Digest([5; 32]),
        join: Digest::of(b"join"),
        options: BTreeMap::new(),
    };
    let name = spec.name();
    let dir = site.join("outputs").join(&name);
    fs::create_dir_all(&dir).unwrap();
    let mut files = Vec::new();
    let mut file = |ending: &str, bytes: &[u8]| {
        let name = format!("{name}{ending}");
        fs::write(dir.join(&name), bytes).unwrap();
        let file = BootFile { name: name.clone(), size: bytes.len() as u64, sha256: Digest::of(bytes) };
        files.push(file.clone());
        file
    };
    let disk = file(".img", b"disk");
    let statement = serde_json::json!({"subject": [{"name": disk.name, "digest": {"sha256": disk.sha256}}]}).to_string();
    file(".provenance.json", &serde_json::to_vec(&Envelope::sign(STATEMENT, statement.as_bytes(), key)).unwrap());
    let manifest = OutputManifest { id: spec.id(), spec, files, primary: disk.name, tools: Vec::new() };
    let sealed = serde_json::to_vec(&Sealed::sign(&manifest, key).unwrap()).unwrap();
    fs::write(dir.join(format!("{name}{MANIFEST_ENDING}")), sealed).unwrap();
    name
}

/// A site whose role has an artifact in use, an output of it, and two older ones.
fn example(dir: &Utf8Path) -> (Site, [String; 3]) {
    let site = filled(dir, "site-a", A, 1, 100);
    let key = site.keys().unseal(A).unwrap().site;
    let store = site.open_store().unwrap();
    let artifact = site::layout::ids(&site.join("artifacts")).unwrap()[0];
    store.write(|tx| tx.set_artifact(ROLE, artifact)).unwrap();
    let old = [1, 2].map(|day| put(&site, &key, Digest([day; 32]), day.into()));
    let [a, b] = old;
    let c = put(&site, &key, artifact, 3);
    (site, [a, b, c])
}

fn ended(app: &App) -> JobView {
    loop {
        let view = app.jobs.view().unwrap();
        if view.state != JobState::Running {
            return view;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn outputs_are_listed_verified_and_downloaded_by_name() {
    let t = temp();
    let (site, [old, _, new]) = example(&t.path.join("a"));
    let app = app(&site);
    let seed = Seed(Arc::clone(&app));
    let view = || seed.outputs().unwrap();
    let of = |name: &str| view().outputs.into_iter().find(|o| o.name == name).unwrap();
    assert_eq!(view().outputs.len(), 3);
    assert_eq!((of(&old).current, of(&new).current, of(&new).check), (false, true, None));
    assert_eq!(of(&new).sha256, Some(Digest::of(b"disk")));
    let path = |name: &str| seed.output_path(&admin(), name).unwrap();
    assert!(path(&new).unwrap().as_str().ends_with(".img"));
    for other in ["", "..", "../keys", "seen.json"] {
        assert_eq!(path(other), None, "{other}");
        assert!(matches!(seed.verify_output(&admin(), other), Err(ApiError::NotFound { .. })), "{other}");
    }
    seed.verify_output(&admin(), &new).unwrap();
    assert_eq!((ended(&app).state, of(&new).check.unwrap().wrong), (JobState::Done, None));
    // The same size: only reading every byte finds it.
    fs::write(path(&new).unwrap(), b"DISK").unwrap();
    seed.verify_output(&admin(), &new).unwrap();
    let end = ended(&app);
    assert_eq!(end.state, JobState::Failed);
    assert!(end.hint.unwrap().contains("build it again") && of(&new).check.unwrap().wrong.unwrap().contains("was changed"));
}

#[test]
fn an_output_with_a_token_is_listed_as_such_never_downloaded_and_replaces_no_other() {
    let t = temp();
    let (site, [.., new]) = example(&t.path.join("a"));
    let key = site.keys().unseal(A).unwrap().site;
    // Of the same artifact, so of the same name but for its id: the newer one's token ended the older one's.
    let [older, edge] = [4, 5].map(|day| put_for(&site, &key, Digest([9; 32]), day, Some("edge")));
    // The example's snapshot has no lock.
    fs::remove_dir_all(site.snapshot(Digest([5; 32]))).unwrap();
    let waste = gc::survey(&site, &site.open_store().unwrap(), false, &site.alone_with_blobs().unwrap()).unwrap();
    assert!(!waste.iter().any(|w| w.path.as_str().contains(&edge) || w.path.as_str().contains(&new)), "{waste:?}");
    assert!(waste.iter().any(|w| w.path.as_str().contains(&older)), "{waste:?}");
    let app = app(&site);
    let seed = Seed(Arc::clone(&app));
    let secret = |name: &str| seed.outputs().unwrap().outputs.iter().find(|o| o.name == name).unwrap().secret;
    assert_eq!((secret(&edge), secret(&new)), (true, false));
    assert_eq!(seed.output_path(&admin(), &edge).unwrap(), None);
    assert!(seed.output_path(&admin(), &new).unwrap().is_some());
}

#[test]
fn a_build_is_refused_where_it_cannot_succeed() {
    let t = temp();
    let (site, _) = example(&t.path.join("a"));
    let wish = |target, role: Option<&str>| BuildWish { target, role: role.map(str::to_owned) };
    let sealed = Seed(app(&site));
    assert!(matches!(sealed.build_output(&admin(), &wish(Target::Qcow2, Some(ROLE))), Err(ApiError::Sealed)));
    assert!(sealed.outputs().unwrap().no_build.is_some());
    let open = unsealed(&site, A);
    let seed = Seed(Arc::clone(&open));
    for (target, role) in [(Target::Qcow2, None), (Target::Qcow2, Some("other")), (Target::NodeIso, Some(ROLE))] {
        assert!(
            matches!(seed.build_output(&admin(), &wish(target, role)), Err(ApiError::BadRequest { .. })),
            "{target} {role:?}"
        );
    }
    if !nix::unistd::geteuid().is_root() {
        return kubedos_skip::skip("root", "is needed to build images");
    }
    // Its snapshot is damaged: the job says so, and leaves nothing behind.
    seed.build_output(&admin(), &wish(Target::Qcow2, Some(ROLE))).unwrap();
    let end = ended(&open);
    assert!(end.state == JobState::Failed && end.hint.is_some(), "{:?}", end.text);
    assert!(end.text.unwrap().contains("opening the snapshot"));
    assert_eq!(seed.outputs().unwrap().outputs.len(), 3);
}

#[test]
fn gc_lists_superseded_outputs_and_deletes_them_only_when_told() {
    let t = temp();
    let (site, [oldest, old, new]) = example(&t.path.join("a"));
    fs::remove_dir_all(site.snapshot(Digest([5; 32]))).unwrap();
    let store = site.open_store().unwrap();
    let alone = site.alone_with_blobs().unwrap();
    let waste = gc::survey(&site, &store, false, &alone).unwrap();
    let outputs: Vec<Utf8PathBuf> = waste.iter().filter(|w| w.kind == "superseded output").map(|w| w.path.clone()).collect();
    assert_eq!(outputs, [&oldest, &old].map(|name| site.join("outputs").join(name)));
    assert!(outputs.iter().all(|path| path.is_dir()), "looking deletes nothing");
    gc::remove(&waste, &alone).unwrap();
    assert!(outputs.iter().all(|path| !path.exists()) && site.join("outputs").join(&new).is_dir());
    // Its artifact is no longer in use, but there is no newer one.
    store.write(|tx| tx.set_artifact(ROLE, Digest([9; 32]))).unwrap();
    let waste = gc::survey(&site, &store, false, &alone).unwrap();
    assert!(!waste.iter().any(|w| w.kind == "superseded output"), "{waste:?}");
}

#[test]
fn the_archive_of_oci_images_is_an_extra_of_a_site() {
    let t = temp();
    let tree = t.path.join("tree");
    for (name, content) in [("boot/vmlinuz-6.1", "kernel"), ("boot/initrd.img-6.1", "initramfs"), ("usr/lib/modules/6.1/x", "")] {
        let path = tree.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let (root, archive) = (t.path.join("root.ext4"), t.path.join("node.oci.tar"));
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let args = ["-q", "-F", "-t", "ext4", "-d", tree.as_str(), root.as_str(), "16M"];
    match Command::new("mke2fs").args(args).env("PATH", path).status() {
        Ok(status) => assert!(status.success()),
        Err(e) => return kubedos_skip::skip("mke2fs", e),
    }
    let about = About { site: "site-a", role: ROLE, version: "1", arch: "amd64", epoch: 1_788_012_345 };
    pack(&root, &t.path, &archive, &about, &Quiet).unwrap();
    let store = Blobs { blobs: &t.path.join("blobs"), tmp: &t.path.join("tmp"), progress: &Quiet };
    let take = |tag: &str| Layout::open(&archive, "node").unwrap().take(tag, &store).map(|image| image.digest);
    let (whole, carrier) = (take(ROLE).unwrap(), take(&format!("{ROLE}{CARRIER}")).unwrap());
    assert_ne!(whole, carrier);
    assert!(take("other").is_err());
}
