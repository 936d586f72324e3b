//! Extras: fetched, verified, searched for secrets and published; and everything that must be refused on the way.

use std::collections::BTreeMap;
use std::io::Write as _;

use crate::common::apt::Apt;
use crate::common::images::{Entry, ImageFiles, image, packed, tar_of};
use crate::common::{self, Archive, NOW, PACKAGES, Site, at, chain, deb, tool, tree, write};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::extras::{ExtrasManifest, ExtrasSpec, FILE};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use cluster_seed::seal::Sealed;
use darksite::extras::{ExtrasError, Job, build, oci};
use darksite::{Clock, DirFetch};

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// Upstream in a folder, and a site.
struct Bench {
    upstream: Archive,
    site: Site,
    image: ImageFiles,
}

fn bench() -> Bench {
    let upstream = Archive::new();
    let put = |name: &str, bytes: &[u8]| write(&upstream.root().join(name), bytes);
    let image = image(&gz(&tar_of(&[("hello", b"world", b'0', "")])));
    put("kubectl", b"a program");
    put("kubectl.asc", upstream.key.sign_detached(b"a program", at(NOW - 500)).unwrap().as_bytes());
    put("key.gpg", &upstream.key.public_keyring().unwrap());
    put("pause.tar", &packed(&image.files));
    put("chart.tgz", &gz(&tar_of(&[("cilium/Chart.yaml", b"apiVersion: v2\nname: cilium\nversion: 1.16.0\n", b'0', "")])));
    put("single.deb", &deb(&common::Package { name: "single", version: "1:2.0-1", fields: "" }));
    Bench { upstream, site: Site::new(), image }
}

impl Bench {
    fn sha(&self, name: &str) -> String {
        Digest::of(&std::fs::read(self.upstream.root().join(name)).unwrap()).to_string()
    }

    fn yaml(&self) -> String {
        let root = self.upstream.root();
        let hello = "pool/main/hello/hello_2.10-1_amd64.deb";
        format!(
            "keys: {{up: {{url: {root}/key.gpg, sha256: {}}}}}
files: [{{path: bin/kubectl, url: {root}/kubectl, sha256: {}, signature: {{url: {root}/kubectl.asc, key: up}}}}]
charts: [{{name: cilium, version: 1.16.0, url: {root}/chart.tgz, sha256: {}}}]
images: [{{name: registry.k8s.io/pause, tag: \"3.10\", url: {root}/pause.tar, sha256: {}}}]
repositories: {{up: {{url: {root}, suite: stable, component: main, key: up}}}}
packages: [{{repository: up, package: hello, version: 2.10-1, sha256: {}}}]
debs: [{{url: {root}/single.deb, sha256: {}}}]
",
            self.sha("key.gpg"),
            self.sha("kubectl"),
            self.sha("chart.tgz"),
            self.sha("pause.tar"),
            self.sha(hello),
            self.sha("single.deb"),
        )
    }

    fn build(&self, yaml: &str, previous: Option<&ExtrasManifest>) -> Result<(ExtrasManifest, bool), ExtrasError> {
        let spec: ExtrasSpec = serde_saphyr::from_str(yaml).unwrap();
        spec.check().unwrap();
        let sets = self.sets();
        build(&Job {
            spec: &spec,
            paths: &self.site.paths(),
            sets: &sets,
            fetch: &DirFetch,
            clock: Clock::At(at(NOW)),
            release_key: &self.site.release_key,
            site_key: &self.site.site_key,
            previous,
            progress: &Quiet,
        })
    }

    fn sets(&self) -> Utf8PathBuf {
        self.site.root().join("extras")
    }

    fn refused(&self, yaml: &str, word: &str) {
        let error = self.build(yaml, None).expect_err(word);
        assert!(chain(&error).contains(word), "{word}: {}", chain(&error));
        assert!(!self.sets().exists() || self.sets().read_dir_utf8().unwrap().next().is_none(), "something was published");
        let left: Vec<_> = self.site.paths().tmp.read_dir_utf8().into_iter().flatten().flatten().collect();
        assert!(!left.iter().any(|e| e.file_name().starts_with("extras-")), "left behind: {left:?}");
    }
}

#[test]
fn everything_is_fetched_checked_and_published() {
    let bench = bench();
    let (manifest, fresh) = bench.build(&bench.yaml(), None).unwrap();
    assert!(fresh);
    let dir = bench.sets().join(manifest.id.to_string());
    let sealed: Sealed<ExtrasManifest> = serde_json::from_slice(&std::fs::read(dir.join(FILE)).unwrap()).unwrap();
    assert_eq!(sealed.open(&bench.site.site_key.verifying_key()).unwrap(), manifest);
    let mut files = tree(&dir);
    files.remove(Utf8Path::new(FILE));
    assert_eq!(files.len(), manifest.files.len());
    for file in &manifest.files {
        assert_eq!(Digest::of(&files[Utf8Path::new(&file.name)]), file.sha256, "{}", file.name);
    }
    assert_eq!(files[Utf8Path::new("tree/files/bin/kubectl")], b"a program");
    assert!(String::from_utf8_lossy(&files[Utf8Path::new("tree/charts/index.yaml")]).contains("cilium-1.16.0.tgz"));
    assert_eq!((manifest.images[0].digest, manifest.manifests.len()), (bench.image.manifest, 1));
    assert!(manifest.blob(&bench.image.layer).is_some());
    let signers: BTreeMap<_, _> = manifest.origins.iter().map(|o| (o.name.as_str(), o.signed_by.is_some())).collect();
    let expected =
        [("bin/kubectl", true), ("cilium", false), ("hello", true), ("registry.k8s.io/pause", false), ("single", false)];
    assert_eq!(signers, expected.into_iter().collect());

    // Elsewhere: the same bytes. Here, with upstream and the image's archive gone: the same set.
    let other = Bench { site: Site::new(), ..self::bench() };
    let moved = other.build(&bench.yaml(), None).unwrap().0;
    assert_eq!((moved.id, tree(&other.sets())), (manifest.id, tree(&bench.sets())));
    let yaml = bench.yaml();
    let pause = bench.sha("pause.tar").parse().unwrap();
    std::fs::remove_file(host::blobs::blob_path(&bench.site.paths().blobs, &pause)).unwrap();
    for gone in ["pause.tar", "dists/stable/InRelease", "key.gpg", "kubectl", "kubectl.asc", "chart.tgz", "single.deb"] {
        std::fs::remove_file(bench.upstream.root().join(gone)).unwrap();
    }
    let (again, fresh) = bench.build(&yaml, Some(&manifest)).unwrap();
    assert_eq!((again, fresh), (manifest, false));
}

/// As `apt-ftparchive packages .` makes it: names begin with `./`, and a package is for all architectures.
#[test]
fn a_flat_repository() {
    let bench = bench();
    let root = bench.upstream.root();
    let deb = common::deb(&common::Package { name: "flat", version: "3", fields: "" });
    let packages = format!(
        "Package: flat\nVersion: 3\nArchitecture: all\nFilename: ./flat_3_all.deb\nSize: {}\nSHA256: {}\n\n",
        deb.len(),
        Digest::of(&deb)
    );
    let date = darksite::format::date::format_date(at(NOW - 1000));
    let release = format!("Date: {date}\nSHA256:\n {} {} Packages\n", Digest::of(packages.as_bytes()), packages.len());
    let signed = bench.upstream.key.sign_cleartext(&release, at(NOW - 1000)).unwrap();
    for (name, bytes) in [("InRelease", signed.as_bytes()), ("Packages", packages.as_bytes()), ("flat_3_all.deb", &deb[..])] {
        write(&root.join("flat").join(name), bytes);
    }
    let yaml = format!(
        "keys: {{up: {{url: {root}/key.gpg, sha256: {}}}}}\nrepositories: {{up: {{url: {root}/flat, suite: /, key: up}}}}\n\
         packages: [{{repository: up, package: flat, version: '3', sha256: {}}}]\n",
        bench.sha("key.gpg"),
        Digest::of(&deb)
    );
    let (manifest, _) = bench.build(&yaml, None).unwrap();
    assert!(manifest.origins.iter().any(|o| o.name == "flat" && o.signed_by.is_some()), "{:?}", manifest.origins);
}

#[test]
fn what_is_not_what_was_pinned_is_refused() {
    let bench = bench();
    let root = bench.upstream.root().to_owned();
    let yaml = bench.yaml();
    let zeros = "0".repeat(64);
    for file in ["key.gpg", "kubectl", "chart.tgz", "pause.tar", "single.deb"] {
        bench.refused(&yaml.replace(&bench.sha(file), &zeros), "cluster.yaml says 000");
    }
    let hello = bench.sha("pool/main/hello/hello_2.10-1_amd64.deb");
    bench.refused(&yaml.replace(&hello, &zeros), "cluster.yaml says 000");
    bench.refused(&yaml.replace("version: 2.10-1,", "version: 2.11-1,"), "newest versions: 2.10-1");
    bench.refused(&yaml.replace("package: hello", "package: nothing"), "it has no nothing 2.10-1 for amd64; no version found");
    bench.refused(&yaml.replace("version: 1.16.0", "version: 1.17.0"), "the archive contains cilium 1.16.0");
    bench.refused(&yaml.replace("kubectl.asc, key", "chart.tgz, key"), "not a detached OpenPGP signature");
    write(&root.join("kubectl.asc"), bench.upstream.key.sign_detached(b"another", at(NOW - 500)).unwrap().as_bytes());
    bench.refused(&yaml, "does not match");
    let stranger = darksite::ReleaseKey::from_seed(&[8; 32], "Other", at(0)).unwrap();
    write(&root.join("kubectl.asc"), stranger.sign_detached(b"a program", at(NOW - 500)).unwrap().as_bytes());
    bench.refused(&yaml, "not in the keyring");
    write(&root.join("kubectl.asc"), bench.upstream.key.sign_detached(b"a program", at(NOW - 500)).unwrap().as_bytes());
    write(&root.join("dists/stable/InRelease"), b"<html>welcome</html>");
    bench.refused(&yaml, "not a signed Release file");
}

/// A control file with a second paragraph once put a package of its own into the index that the site signs.
#[test]
fn a_package_adds_no_stanza_but_its_own_to_the_index() {
    let bench = bench();
    let good = "Package: single\nVersion: 1:2.0-1\nArchitecture: amd64\nDescription: test\n";
    let evil = "Package: openssh-server\nVersion: 9:99-1\nArchitecture: amd64\nFilename: pool/e.deb\nSHA256: 00\n";
    let cases = [
        (format!("{good}\n{evil}"), "more than one paragraph"),
        (format!("{good} \t\n{evil}"), "more than one paragraph"),
        (format!("{good}Filename: pool/e.deb\n"), "belongs to an index"),
        (format!("{good}SHA512: 00\n"), "belongs to an index"),
        (format!("{good}package: openssh-server\n"), "twice"),
    ];
    for (control, word) in cases {
        write(&bench.upstream.root().join("single.deb"), &common::packed_deb("single", &control));
        bench.refused(&bench.yaml(), word);
    }
}

#[test]
fn the_suites_date_counts_up_and_does_not_expire() {
    let bench = bench();
    let release = |manifest: &ExtrasManifest| {
        let path = bench.sets().join(manifest.id.to_string()).join("tree/apt/dists/extras/Release");
        let text = std::fs::read_to_string(path).unwrap();
        let release = darksite::trust::read_release(&text).unwrap();
        (release.date, release.valid_until.unwrap())
    };
    let (first, _) = bench.build(&bench.yaml(), None).unwrap();
    // Another file, the same packages: the suite stays as it is.
    write(&bench.upstream.root().join("more"), b"more");
    let sha = bench.sha("more");
    let extra = format!("files: [{{path: more, url: {}/more, sha256: {sha}}}, ", bench.upstream.root());
    let (second, _) = bench.build(&bench.yaml().replace("files: [", &extra), Some(&first)).unwrap();
    assert_eq!((second.serial, release(&second)), (0, release(&first)));
    write(&bench.upstream.root().join("single.deb"), &deb(&common::Package { name: "single", version: "1:2.0-2", fields: "" }));
    let (third, _) = bench.build(&bench.yaml(), Some(&second)).unwrap();
    assert_eq!(third.serial, 1);
    assert!(release(&third).0 > release(&first).0, "apt refuses the earlier suite after the later one");
    // Back to fewer packages: an old list, but a new suite.
    let without = bench.yaml().lines().filter(|l| !l.starts_with("debs")).map(|l| format!("{l}\n")).collect::<String>();
    let (fourth, _) = bench.build(&without, Some(&third)).unwrap();
    assert_eq!(fourth.serial, 2);
    let last = jiff::Timestamp::from_second(253_370_764_800).unwrap();
    assert!([&first, &third, &fourth].iter().all(|m| release(m).1 == last));
}

#[test]
fn secrets_are_not_published_unless_known() {
    let bench = bench();
    let key = format!("-----BEGIN {}-----\n{}\n-----END -----\n", "PRIVATE KEY", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU".repeat(3));
    let layer = gz(&tar_of(&[("etc/key.pem", key.as_bytes(), b'0', "")]));
    for (name, bytes, place) in [
        ("kubectl", key.clone().into_bytes(), "file bin/kubectl (a private key)"),
        ("pause.tar", packed(&image(&layer).files), "etc/key.pem (a private key)"),
        (
            "chart.tgz",
            gz(&tar_of(&[
                ("cilium/Chart.yaml", b"apiVersion: v2\nname: cilium\nversion: 1.16.0\n", b'0', ""),
                ("cilium/values.yaml", key.as_bytes(), b'0', ""),
            ])),
            "cilium/values.yaml (a private key)",
        ),
    ] {
        let path = bench.upstream.root().join(name);
        let good = std::fs::read(&path).unwrap();
        write(&path, &bytes);
        write(
            &bench.upstream.root().join("kubectl.asc"),
            bench
                .upstream
                .key
                .sign_detached(&std::fs::read(bench.upstream.root().join("kubectl")).unwrap(), at(NOW))
                .unwrap()
                .as_bytes(),
        );
        bench.refused(&bench.yaml(), place);
        let allowed = format!("{}lintAllow: [{{sha256: {}, why: a test key}}]\n", bench.yaml(), bench.sha(name));
        assert!(bench.build(&allowed, None).is_ok(), "{name}");
        std::fs::remove_dir_all(bench.sets()).unwrap();
        write(&path, &good);
    }
}

/// Takes an archive into an empty blob store; what was stored is returned.
fn take(bytes: &[u8], tag: &str) -> (Result<oci::Image, ExtrasError>, usize) {
    let temp = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(temp.path()).unwrap();
    let file = root.join("archive");
    std::fs::write(&file, bytes).unwrap();
    let (blobs, tmp) = (root.join("blobs"), root.join("tmp"));
    let store = oci::Store { blobs: &blobs, tmp: &tmp, progress: &Quiet };
    let result = oci::Layout::open(&file, "x").and_then(|mut layout| layout.take(tag, &store));
    let stored = if blobs.exists() { tree(&blobs).len() } else { 0 };
    let outside: Vec<_> = tree(root).into_keys().filter(|p| !p.starts_with("blobs") && p != "archive").collect();
    assert!(outside.is_empty(), "{outside:?}");
    (result, stored)
}

#[test]
fn hostile_archives_are_refused() {
    let good = image(b"layer");
    let (result, stored) = take(&packed(&good.files), "3.10");
    assert_eq!((result.unwrap().digest, stored), (good.manifest, 3));
    let entries: Vec<Entry<'_>> = good.files.iter().map(|(n, c)| (n.as_str(), c.as_slice(), b'0', "")).collect();
    let blob = format!("blobs/sha256/{}", good.layer);
    for (what, extra) in [
        ("out", ("../evil", &b"x"[..], b'0', "")),
        ("out", ("blobs/../../evil", b"x", b'0', "")),
        ("absolute", ("/etc/evil", b"x", b'0', "")),
        ("a symbolic link", ("blobs/link", b"", b'2', "/etc/passwd")),
        ("a hard link", ("blobs/link", b"", b'1', "/etc/passwd")),
        ("a character device", ("dev", b"", b'3', "")),
        ("a block device", ("dev", b"", b'4', "")),
        ("a pipe", ("fifo", b"", b'6', "")),
        ("a duplicate", ("index.json", b"{}", b'0', "")),
        ("a duplicate", (&blob, b"other", b'0', "")),
    ] {
        for at in [0, entries.len()] {
            let mut list = entries.clone();
            list.insert(at, extra);
            let (result, stored) = take(&tar_of(&list), "3.10");
            assert!(result.is_err() && stored == 0, "{what}: {}", extra.0);
        }
    }
    let without = |name: &str| packed(&good.files.iter().filter(|(n, _)| !n.contains(name)).cloned().collect::<Vec<_>>());
    for name in ["oci-layout", "index.json", &good.layer.to_string(), &good.manifest.to_string()] {
        assert!(take(&without(name), "3.10").0.is_err(), "without {name}");
    }
    // A blob that is not what its name says: nothing of that name is stored.
    let mut lie = good.files.clone();
    lie.iter_mut().find(|(n, _)| n.contains(&good.layer.to_string())).unwrap().1 = b"LAYER".to_vec();
    assert!(chain(&take(&packed(&lie), "3.10").0.unwrap_err()).contains("does not match its digest"));
    // A size in the header that goes past the end, and one in a PAX header that lies.
    let whole = packed(&good.files);
    for cut in [600, 1600, whole.len() / 2] {
        assert!(take(&whole[..cut], "3.10").0.is_err(), "cut at {cut}");
    }
    let mut list = entries.clone();
    list.insert(1, ("pax", b"23 size=99999999999999\n", b'x', ""));
    assert!(take(&tar_of(&list), "3.10").0.is_err());
    for bad in [&b""[..], b"not a tar at all", &[0u8; 1024], &gz(&whole)] {
        assert!(take(bad, "3.10").0.is_err());
    }
    for at in (0..whole.len()).step_by(3) {
        let mut bad = whole.clone();
        bad[at] ^= 0x41;
        // Whatever it says, no blob gets a name that is not its digest, and nothing lies outside (see `take`).
        if let (Ok(image), _) = take(&bad, "3.10") {
            assert_eq!(image.digest, good.manifest, "byte {at}");
        }
    }
}

#[test]
fn tags_platforms_and_types() {
    let (one, two) = (image(b"one"), image(b"two"));
    let describe = |i: &ImageFiles, name: &str| {
        let size = i.files.iter().find(|(n, _)| n.ends_with(&i.manifest.to_string())).unwrap().1.len();
        serde_json::json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": format!("sha256:{}", i.manifest),
            "size": size, "annotations": {"org.opencontainers.image.ref.name": name}})
    };
    let mut files: BTreeMap<String, Vec<u8>> = one.files.iter().chain(&two.files).cloned().collect();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [describe(&one, "1"), describe(&two, "registry.io/x:2")]});
    files.insert("index.json".into(), index.to_string().into_bytes());
    let both: Vec<_> = files.clone().into_iter().collect();
    assert_eq!(take(&packed(&both), "1").0.unwrap().digest, one.manifest);
    assert_eq!(take(&packed(&both), "2").0.unwrap().digest, two.manifest);
    assert!(take(&packed(&both), "3").0.is_err(), "not one alone");
    // An index of two platforms, one of them absent.
    let mut absent = describe(&two, "");
    absent["digest"] = format!("sha256:{}", Digest::of(b"arm")).into();
    let list = serde_json::json!({"schemaVersion": 2, "manifests": [describe(&one, ""), absent]}).to_string();
    let digest = Digest::of(list.as_bytes());
    let top = serde_json::json!({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": format!("sha256:{digest}"), "size": list.len()}]});
    let mut sparse: Vec<_> = one.files.iter().filter(|(n, _)| n != "index.json").cloned().collect();
    sparse.push((format!("blobs/sha256/{digest}"), list.into_bytes()));
    sparse.push(("index.json".into(), top.to_string().into_bytes()));
    let image = take(&packed(&sparse), "any").0.unwrap();
    assert_eq!((image.digest, image.manifests.len(), image.blobs.len()), (digest, 2, 4));
    for (body, said, good) in [
        (r#"{"schemaVersion":2,"manifests":[]}"#, "", true),
        (r#"{"schemaVersion":1,"manifests":[]}"#, "", false),
        (r#"{"schemaVersion":2}"#, "", false),
        (r#"{"schemaVersion":2,"mediaType":"a/b","manifests":[]}"#, "a/b", true),
        (r#"{"schemaVersion":2,"mediaType":"a/b","manifests":[]}"#, "a/c", false),
        (r#"{"schemaVersion":2,"mediaType":"a/b\r\nX: y","manifests":[]}"#, "", false),
        ("[]", "", false),
    ] {
        assert_eq!(oci::document(body.as_bytes(), said).is_ok(), good, "{body}");
    }
}

#[test]
fn apt_takes_the_suite_of_extras() {
    let apt_get = match tool::find("apt-get") {
        Ok(path) => path,
        Err(why) => {
            kubedos_skip::skip("apt-get", why);
            return;
        }
    };
    assert!(PACKAGES.iter().any(|p| p.name == "hello"));
    let bench = bench();
    let (manifest, _) = bench.build(&bench.yaml(), None).unwrap();
    let apt = bench.sets().join(manifest.id.to_string()).join("tree/apt");
    let apt = Apt::new(apt_get, &format!("file://{apt}"), "extras", &apt.join("keyring.gpg"));
    let (ok, text) = apt.update();
    assert!(ok && !text.contains("W:") && !text.contains("E:"), "{text}");
    let (ok, text) = apt.run(&["download", "hello", "single"]);
    assert!(ok, "{text}");
    let hello = std::fs::read(bench.upstream.root().join("pool/main/hello/hello_2.10-1_amd64.deb")).unwrap();
    assert_eq!(std::fs::read(apt.temp.path().join("out/hello_2.10-1_amd64.deb")).unwrap(), hello);
}
