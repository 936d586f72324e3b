//! The root file system as OCI images: read back by independent tools, and by what reads layers here.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use image::foundry::oci::{About, pack};

/// 2026-08-29 14:05:45 UTC.
const EPOCH: u64 = 1_788_012_345;
const KERNEL: &str = "6.12.48+deb13-amd64";
/// What only the state partition of a node has.
const SECRET: &str = "kubedos-token-1:nobody-may-see-this";

struct Example {
    _guard: tempfile::TempDir,
    dir: Utf8PathBuf,
}

fn run(program: &str, args: &[&str]) -> Option<std::process::Output> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    match Command::new(program).args(args).env("PATH", path).output() {
        Ok(output) => {
            assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            Some(output)
        }
        Err(e) => {
            kubedos_skip::skip(program, format!("is needed for images of file systems: {e}"));
            None
        }
    }
}

impl Example {
    /// An ext4 image with everything that a root file system can have. None if it cannot be created here.
    fn new() -> Option<Self> {
        let guard = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(guard.path()).unwrap().to_owned();
        let tree = dir.join("tree");
        let put = |name: &str, mode: u32, content: &[u8]| {
            let path = tree.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        put(&format!("boot/vmlinuz-{KERNEL}"), 0o644, b"kernel");
        put(&format!("boot/initrd.img-{KERNEL}"), 0o644, b"initramfs");
        put("boot/grub/grub.cfg", 0o644, b"menuentry");
        put(&format!("usr/lib/modules/{KERNEL}/modules.dep"), 0o644, b"");
        put("usr/bin/su", 0o4755, b"setuid");
        put("usr/bin/ping", 0o755, b"with a capability");
        put("var/lib/kubedos/join.json", 0o600, SECRET.as_bytes());
        put("etc/ssl/certs/Főtanúsítvány.pem", 0o644, b"not ASCII");
        put(&format!("usr/share/{}/{}", "d".repeat(90), "f".repeat(90)), 0o640, b"a long name");
        symlink(format!("../{}", "t".repeat(150)), tree.join("usr/share/long-link")).unwrap();
        symlink("bash", tree.join("usr/bin/sh")).unwrap();
        fs::hard_link(tree.join("usr/bin/su"), tree.join("usr/bin/su-too")).unwrap();
        // A hole between data, and a directory of several blocks.
        let mut holes = vec![0u8; 300_000];
        holes[0] = 1;
        holes[299_999] = 2;
        put("usr/lib/holes", 0o644, &holes);
        for n in 0..600 {
            put(&format!("var/lib/dpkg/info/package-with-a-name-{n:03}.list"), 0o644, format!("{n}").as_bytes());
        }
        for name in ["dev", "run"] {
            fs::create_dir_all(tree.join(name)).unwrap();
        }
        put("dev/not-a-device", 0o644, b"");
        let image = dir.join("root.ext4");
        run("mke2fs", &["-q", "-F", "-t", "ext4", "-b", "4096", "-d", tree.as_str(), image.as_str(), "16384"])?;
        // cap_net_raw+ep, as setcap(8) writes it.
        fs::write(dir.join("capability"), hex::decode("0100000200200000000000000000000000000000").unwrap()).unwrap();
        let value = format!("ea_set -f {dir}/capability /usr/bin/ping security.capability");
        run("debugfs", &["-w", "-R", &value, image.as_str()])?;
        Some(Example { _guard: guard, dir })
    }

    fn pack(&self, name: &str) -> Utf8PathBuf {
        let to = self.dir.join(name);
        let about = About { site: "north", role: "base", version: "20260829T140545Z", arch: "amd64", epoch: EPOCH };
        pack(&self.dir.join("root.ext4"), &self.dir, &to, &about, &Quiet).unwrap();
        to
    }
}

/// The blobs of an archive, by file name, and its index.
fn blobs(archive: &Utf8Path) -> (BTreeMap<String, Vec<u8>>, serde_json::Value) {
    let mut files = BTreeMap::new();
    let mut tar = tar::Archive::new(fs::File::open(archive).unwrap());
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        assert_eq!(entry.header().mtime().unwrap(), EPOCH);
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if let Some(digest) = name.strip_prefix("blobs/sha256/").filter(|d| !d.is_empty()) {
            assert_eq!(Digest::of(&bytes).to_string(), digest);
        }
        files.insert(name.trim_start_matches("blobs/sha256/").to_owned(), bytes);
    }
    let index = serde_json::from_slice(&files["index.json"]).unwrap();
    (files, index)
}

/// What a layer's entry is: type, mode, link, content.
type Seen = (tar::EntryType, u32, Option<String>, Vec<u8>, BTreeMap<String, Vec<u8>>);

/// The entries of all layers of an image.
fn image(archive: &Utf8Path, tag: &str) -> (BTreeMap<String, Seen>, serde_json::Value) {
    let (files, index) = blobs(archive);
    let document = |descriptor: &serde_json::Value| -> serde_json::Value {
        let digest = descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:");
        serde_json::from_slice(&files[digest]).unwrap()
    };
    let all = index["manifests"].as_array().unwrap();
    let named = |d: &&serde_json::Value| d["annotations"]["org.opencontainers.image.ref.name"] == tag;
    let manifest = document(all.iter().find(named).unwrap());
    let config = document(&manifest["config"]);
    let mut found = BTreeMap::new();
    for (at, layer) in manifest["layers"].as_array().unwrap().iter().enumerate() {
        let digest = layer["digest"].as_str().unwrap().trim_start_matches("sha256:");
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(files[digest].as_slice()).read_to_end(&mut bytes).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][at], format!("sha256:{}", Digest::of(&bytes)));
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            assert!(entry.header().mtime().unwrap() <= EPOCH);
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap().trim_end_matches('/').to_owned();
            let link = entry.link_name_bytes().map(|l| String::from_utf8(l.into_owned()).unwrap());
            let extensions = entry.pax_extensions().unwrap();
            let attributes = extensions
                .into_iter()
                .flatten()
                .map(|e| e.unwrap())
                .map(|e| (e.key().unwrap().to_owned(), e.value_bytes().to_vec()))
                .filter(|(key, _)| key.starts_with("SCHILY"))
                .collect();
            let (kind, mode) = (entry.header().entry_type(), entry.header().mode().unwrap());
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            found.insert(name, (kind, mode, link, content, attributes));
        }
    }
    (found, config)
}

#[test]
fn a_layer_has_every_kind_of_entry_with_its_mode_links_holes_and_attributes() {
    let Some(example) = Example::new() else { return };
    let (found, config) = image(&example.pack("a.tar"), "base");
    let content = |name: &str| found[name].3.clone();
    assert_eq!((found["usr/bin/su"].1, content("usr/bin/su")), (0o4755, b"setuid".to_vec()));
    assert_eq!((found["usr/bin/su-too"].0, found["usr/bin/su-too"].2.as_deref()), (tar::EntryType::Link, Some("usr/bin/su")));
    assert_eq!(found["usr/bin/sh"].2.as_deref(), Some("bash"));
    assert_eq!(found["usr/share/long-link"].2.as_deref(), Some(format!("../{}", "t".repeat(150)).as_str()));
    assert_eq!(content(&format!("usr/share/{}/{}", "d".repeat(90), "f".repeat(90))), b"a long name");
    assert_eq!(content("etc/ssl/certs/Főtanúsítvány.pem"), b"not ASCII");
    let holes = content("usr/lib/holes");
    assert_eq!((holes.len(), holes[0], holes[299_999], holes.iter().filter(|b| **b != 0).count()), (300_000, 1, 2, 2));
    assert_eq!(content("var/lib/dpkg/info/package-with-a-name-599.list"), b"599");
    assert_eq!(found.keys().filter(|n| n.ends_with(".list")).count(), 600);
    let capability = &found["usr/bin/ping"].4["SCHILY.xattr.security.capability"];
    assert_eq!(hex::encode(capability), "0100000200200000000000000000000000000000");
    assert_eq!(content(&format!("boot/vmlinuz-{KERNEL}")), b"kernel");
    assert_eq!((&config["architecture"], &config["created"]), (&"amd64".into(), &"2026-08-29T14:05:45Z".into()));
    assert!(config["config"]["Labels"].get("containers.bootc").is_none());
}

#[test]
fn the_carrier_has_the_label_and_the_places_of_bootc() {
    let Some(example) = Example::new() else { return };
    let (found, config) = image(&example.pack("a.tar"), "base-carrier");
    assert_eq!(config["config"]["Labels"]["containers.bootc"], "1");
    assert_eq!(found[&format!("usr/lib/modules/{KERNEL}/vmlinuz")].3, b"kernel");
    assert_eq!(found[&format!("usr/lib/modules/{KERNEL}/initramfs.img")].3, b"initramfs");
    assert_eq!(found["ostree"].2.as_deref(), Some("sysroot/ostree"));
    assert_eq!(found["sysroot"].0, tar::EntryType::Directory);
    let boot: Vec<&String> = found.keys().filter(|n| n.starts_with("boot/")).collect();
    assert!(boot.is_empty(), "{boot:?}");
}

#[test]
fn nothing_of_the_state_of_a_node_is_in_any_blob() {
    let Some(example) = Example::new() else { return };
    let (files, _) = blobs(&example.pack("a.tar"));
    let holds = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|w| w == SECRET.as_bytes());
    assert!(holds(&fs::read(example.dir.join("root.ext4")).unwrap()), "the file system has it");
    for (name, bytes) in files {
        let mut plain = Vec::new();
        if flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).is_err() {
            plain = bytes;
        }
        assert!(!holds(&plain), "{name}");
    }
}

#[test]
fn the_same_file_system_gives_the_same_bytes() {
    let Some(example) = Example::new() else { return };
    let digest = |path: Utf8PathBuf| Digest::of(&fs::read(path).unwrap());
    assert_eq!(digest(example.pack("a.tar")), digest(example.pack("b.tar")));
}

#[test]
fn skopeo_names_both_images() {
    let Some(example) = Example::new() else { return };
    let archive = example.pack("a.tar");
    for (tag, layers) in [("base", 2), ("base-carrier", 2)] {
        let image = format!("oci-archive:{archive}:{tag}");
        let Some(output) = run("skopeo", &["inspect", &image]) else { return };
        let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&seen["Architecture"], &seen["Os"]), (&"amd64".into(), &"linux".into()));
        assert_eq!(seen["Layers"].as_array().unwrap().len(), layers);
        assert_eq!(seen["Labels"]["org.kubedos.role"], "base");
    }
}

#[test]
fn umoci_unpacks_the_tree_that_went_in() {
    let Some(example) = Example::new() else { return };
    let archive = example.pack("a.tar");
    let (layout, bundle) = (example.dir.join("layout"), example.dir.join("bundle"));
    tar::Archive::new(fs::File::open(&archive).unwrap()).unpack(&layout).unwrap();
    let image = format!("{layout}:base");
    let mut args = vec!["unpack", "--image", &image];
    if !nix::unistd::geteuid().is_root() {
        args.push("--rootless");
    }
    args.push(bundle.as_str());
    if run("umoci", &args).is_none() {
        return;
    }
    let (tree, root) = (example.dir.join("tree"), bundle.join("rootfs"));
    let mut compared = 0;
    let mut waiting = vec![Utf8PathBuf::new()];
    while let Some(dir) = waiting.pop() {
        for entry in tree.join(&dir).read_dir_utf8().unwrap() {
            let below = dir.join(entry.unwrap().file_name());
            if below == "dev/not-a-device" || below == "var/lib/kubedos/join.json" {
                assert!(!root.join(&below).exists(), "{below}");
                continue;
            }
            let (a, b) = (fs::symlink_metadata(tree.join(&below)).unwrap(), fs::symlink_metadata(root.join(&below)).unwrap());
            assert_eq!(a.mode(), b.mode(), "{below}");
            assert!(a.is_dir() || a.nlink() == b.nlink(), "{below}");
            assert!(b.mtime() <= EPOCH as i64, "{below}");
            if a.is_dir() {
                waiting.push(below);
            } else if a.is_symlink() {
                assert_eq!(fs::read_link(tree.join(&below)).unwrap(), fs::read_link(root.join(&below)).unwrap());
            } else {
                assert!(fs::read(tree.join(&below)).unwrap() == fs::read(root.join(&below)).unwrap(), "{below}");
                compared += 1;
            }
        }
    }
    assert!(compared > 600, "{compared}");
}
