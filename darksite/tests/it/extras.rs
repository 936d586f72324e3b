//! Extras: fetched, verified, searched for secrets and published; and everything that must be refused on the way.

use std::collections::BTreeMap;
use std::io::Write as _;

use crate::common::apt::Apt;
use crate::common::images::{ImageFiles, image, packed, tar_of};
use crate::common::{self, Archive, NOW, PACKAGES, Site, at, chain, deb, tool, tree, write};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::extras::{ExtrasManifest, ExtrasSpec, FILE};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use cluster_seed::seal::Sealed;
use darksite::extras::{ExtrasError, Job, build};
use darksite::{Clock, DirFetch};

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
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
