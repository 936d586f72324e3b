//! A bundle of Kubernetes is fetched from servers that imitate those on the internet, becomes extras, and the lint is content.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::extras::{ExtrasManifest, ExtrasSpec};
use cluster_seed::ids::Digest;
use cluster_seed::progress::{Progress, Quiet};
use darksite::audit::kubernetes::of_extras;
use darksite::extras::bundle::{Addon, Bundle, Order, bundle};
use darksite::extras::{ExtrasError, Job, build};
use darksite::kubernetes::have::{Have, Package};
use darksite::kubernetes::lint::lint;
use darksite::kubernetes::need::{Choice, Cilium};
use darksite::kubernetes::section;
use darksite::kubernetes::version::Version;
use darksite::{AnyFetch, Clock, HttpLimits};
use serde_json::json;

use crate::common::images::tar_of;
use crate::common::registry::Registry;
use crate::common::server::{Lie, Server};
use crate::common::{NOW, Site, at, chain, packed_deb, tree, write};
use crate::extras::gz;
use crate::odd::key;

const KUBERNETES: Version = Version::new(1, 36, 2);
/// Images of kubeadm 1.36.2, below the registry, and their tags.
const OF_KUBEADM: [(&str, &str); 5] = [
    ("kube-apiserver", "v1.36.2"),
    ("kube-controller-manager", "v1.36.2"),
    ("kube-scheduler", "v1.36.2"),
    ("coredns/coredns", "v1.14.2"),
    ("pause", "3.10.2"),
];
const PACKAGES: [(&str, &str, &str); 8] = [
    ("kubeadm", "1.36.1-1.1", ""),
    ("kubeadm", "1.36.2-1.1", "cri-tools (>= 1.30.0)"),
    ("kubeadm", "1.36.2-1.2", "cri-tools (>= 1.30.0)"),
    ("kubelet", "1.36.2-1.1", "kubernetes-cni (>= 1.2.0), iptables"),
    ("kubectl", "1.36.2-1.1", ""),
    ("cri-tools", "1.35.0-1.1", ""),
    ("cri-tools", "1.36.0-1.1", ""),
    ("kubernetes-cni", "1.8.0-1.1", ""),
];

/// The internet, and a machine that is connected to it.
struct Bench {
    web: Server,
    registry: Registry,
    site: Site,
    fetch: AnyFetch,
}

fn bench() -> Bench {
    let (site, registry) = (Site::new(), Registry::start());
    let root = site.root().join("web");
    for (name, tag) in OF_KUBEADM {
        registry.image(name, tag);
    }
    let digests = ["cilium", "operator-generic", "hubble-relay"].map(|n| registry.image(&format!("cilium/{n}"), "v1.18.5"));
    registry.image("metrics/server", "v9");
    packages(&root);
    charts(&root, digests);
    write(&site.root().join("helm"), b"a program");
    Bench { web: Server::start(root, Lie::None, "", 0), registry, site, fetch: AnyFetch::new(HttpLimits::default()) }
}

/// A flat repository as at pkgs.k8s.io.
fn packages(root: &Utf8Path) {
    let mut index = String::new();
    for (name, version, depends) in PACKAGES {
        let depends = if depends.is_empty() { String::new() } else { format!("Depends: {depends}\n") };
        let fields =
            format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: K <k@example.org>\n{depends}");
        let deb = packed_deb(name, &format!("{fields}Description: x\n"));
        let file = format!("amd64/{name}_{version}_amd64.deb");
        index += &format!("{fields}Filename: {file}\nSize: {}\nSHA256: {}\nDescription: x\n\n", deb.len(), Digest::of(&deb));
        write(&root.join("deb").join(file), &deb);
    }
    let date = darksite::format::date::format_date(at(NOW - 1000));
    let release = format!("Date: {date}\nSHA256:\n {} {} Packages\n", Digest::of(index.as_bytes()), index.len());
    let signed = key(9).sign_cleartext(&release, at(NOW - 1000)).unwrap();
    write(&root.join("deb/Packages"), index.as_bytes());
    write(&root.join("deb/InRelease"), signed.as_bytes());
    write(&root.join("deb/Release.key"), &key(9).public_keyring().unwrap());
}

/// Chart repositories: Cilium's with a relative address and a digest, another one without a digest.
fn charts(root: &Utf8Path, [cilium, operator, relay]: [Digest; 3]) {
    let image = |name: &str, key: &str, digest: Digest| {
        json!({"override": null, "repository": format!("quay.io/cilium/{name}"), "tag": "v1.18.5",
            key: format!("sha256:{digest}"), "useDigest": true})
    };
    let values = json!({
        "image": image("cilium", "digest", cilium),
        "operator": {"enabled": true, "image": image("operator", "genericDigest", operator)},
        "hubble": {"relay": {"enabled": false, "image": image("hubble-relay", "digest", relay)}},
        "preflight": {"enabled": false, "image": image("preflight", "digest", Digest([1; 32]))},
    });
    let chart = |name: &str, version: &str, values: &str| {
        let yaml = format!("apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: v9\n");
        let (first, second) = (format!("{name}/Chart.yaml"), format!("{name}/values.yaml"));
        gz(&tar_of(&[(&first, yaml.as_bytes(), b'0', ""), (&second, values.as_bytes(), b'0', "")]))
    };
    let archive = chart("cilium", "1.18.5", &values.to_string());
    let digest = Digest::of(&archive);
    let index = format!(
        "apiVersion: v1\nentries:\n  cilium:\n  - version: 1.18.4\n    urls: [x.tgz]\n  - version: 1.18.5\n    digest: {digest}\n    urls: [cilium-1.18.5.tgz]\n"
    );
    write(&root.join("charts/cilium-1.18.5.tgz"), &archive);
    write(&root.join("charts/index.yaml"), index.as_bytes());
    let other = chart("metrics-server", "3.13.0", "image: {repository: r.example/metrics/server, tag: \"\"}\nargs: []\n");
    write(&root.join("more/m.tgz"), &other);
    write(
        &root.join("more/index.yaml"),
        b"entries: {metrics-server: [{version: v3.13.0, urls: [m.tgz]}, {version: 3.13.0, urls: [m.tgz]}]}\n",
    );
}

/// What a test changes of an order.
struct Change<'a> {
    kubernetes: Version,
    fingerprint: Option<String>,
    progress: &'a dyn Progress,
}

impl Default for Change<'_> {
    fn default() -> Self {
        let fingerprint = key(9).keyring().unwrap().fingerprints().remove(0);
        Change { kubernetes: KUBERNETES, fingerprint: Some(fingerprint), progress: &Quiet }
    }
}

impl Bench {
    fn out(&self) -> Utf8PathBuf {
        self.site.root().join("out")
    }

    fn choice(&self) -> Choice {
        Choice { cilium: Some(Cilium::new(Version::new(1, 18, 5))), ..Choice::new(KUBERNETES) }
    }

    fn run(&self, change: &Change<'_>) -> Result<Bundle, ExtrasError> {
        let mirrors: BTreeMap<String, String> =
            ["registry.k8s.io", "quay.io", "r.example"].map(|host| (host.to_owned(), self.registry.url.clone())).into();
        let addon = Addon {
            name: "metrics-server".to_owned(),
            version: "3.13.0".to_owned(),
            repository: format!("{}/more/", self.web.url),
        };
        let helm = self.site.root().join("helm");
        let order = Order {
            choice: &Choice { kubernetes: change.kubernetes, ..self.choice() },
            addons: &[addon],
            packages: &format!("{}/deb/", self.web.url),
            fingerprint: change.fingerprint.as_deref(),
            charts: &format!("{}/charts", self.web.url),
            helm: Some(&helm),
            mirrors: &mirrors,
            out: &self.out(),
            fetch: &self.fetch,
            clock: Clock::At(at(NOW)),
            progress: change.progress,
        };
        bundle(&order)
    }

    fn refused(&self, change: &Change<'_>, word: &str) {
        let error = self.run(change).err().unwrap_or_else(|| panic!("{word}: a bundle was made"));
        assert!(chain(&error).contains(word), "{word}: {}", chain(&error));
    }

    /// The next step of the operator: the section in cluster.yaml, and `seedd darksite extras fetch`.
    fn publish(&self, spec: &ExtrasSpec) -> ExtrasManifest {
        let (sets, paths) = (self.site.root().join("extras"), self.site.paths());
        let job = Job {
            spec,
            paths: &paths,
            sets: &sets,
            fetch: &self.fetch,
            clock: Clock::At(at(NOW)),
            release_key: &self.site.release_key,
            site_key: &self.site.site_key,
            previous: None,
            progress: &Quiet,
        };
        build(&job).unwrap_or_else(|e| panic!("{}", chain(&e))).0
    }
}

fn read_back(bundle: &Bundle) -> ExtrasSpec {
    #[derive(serde::Deserialize)]
    struct Whole {
        extras: ExtrasSpec,
    }
    let text = section::render(&bundle.spec, &["a bundle".to_owned()]);
    serde_saphyr::from_str::<Whole>(&text).unwrap().extras
}

#[test]
fn a_bundle_becomes_extras_with_which_the_lint_is_content() {
    let bench = bench();
    let made = bench.run(&Change::default()).unwrap_or_else(|e| panic!("{}", chain(&e)));
    assert_eq!(made.notes, [] as [String; 0]);
    let spec = read_back(&made);
    assert_eq!(spec, made.spec);
    let packages: Vec<_> = spec.packages.iter().map(|p| (p.package.as_str(), p.version.as_str())).collect();
    let newest = [
        ("kubeadm", "1.36.2-1.2"),
        ("kubelet", "1.36.2-1.1"),
        ("kubectl", "1.36.2-1.1"),
        ("cri-tools", "1.36.0-1.1"),
        ("kubernetes-cni", "1.8.0-1.1"),
    ];
    assert_eq!(packages, newest);
    assert_eq!((spec.charts.len(), spec.images.len(), spec.files.len()), (2, 9, 1));
    assert!(!bench.out().join(".work").exists());

    let manifest = bench.publish(&spec);
    let set = bench.site.root().join("extras").join(manifest.id.to_string());
    let mut have = Have::default();
    of_extras(&set, &manifest, &mut have).unwrap();
    for (name, version) in [("containerd", "1.7.24~ds1-6"), ("containernetworking-plugins", "1.1.1"), ("iptables", "1.8.11")] {
        let (name, version) = (name.to_owned(), version.to_owned());
        have.packages.push(Package { name, version, depends: Vec::new(), provides: String::new(), extra: false });
    }
    assert_eq!(lint(&bench.choice(), &have).unwrap().findings, []);
    // The lint does read the set: each image that is left out is missed.
    let images = have.images.clone();
    for image in images.iter().filter(|i| !i.name.starts_with("r.example/")) {
        assert_eq!(image.platforms, ["linux/amd64".to_owned()].into());
        let have = Have { images: images.iter().filter(|i| *i != image).cloned().collect(), ..have.clone() };
        let found = lint(&bench.choice(), &have).unwrap().findings;
        assert!(found.len() == 1 && found[0].message.contains(&image.name), "{}: {found:?}", image.name);
    }
    // Again: the same archives, and nothing of the images is fetched a second time.
    let blobs = bench.registry.served("/blobs/");
    let before = tree(&bench.out());
    assert_eq!(bench.run(&Change::default()).unwrap().spec, made.spec);
    assert_eq!((bench.registry.served("/blobs/"), tree(&bench.out())), (blobs, before));
}

/// A connection that breaks, and tokens that expire after each use.
#[test]
fn a_broken_download_is_resumed() {
    let bench = bench();
    bench.registry.state.cuts.store(1, Ordering::SeqCst);
    bench.registry.state.uses.store(1, Ordering::SeqCst);
    bench.run(&Change::default()).unwrap_or_else(|e| panic!("{}", chain(&e)));
    let served = bench.registry.state.served.lock().unwrap();
    assert!(served.iter().any(|(path, first)| path.contains("/blobs/") && *first > 0), "{served:?}");
}

/// Stops after so many bytes.
struct Stops {
    left: AtomicU64,
}

impl Progress for Stops {
    fn begin(&self, _step: &str, _total: Option<u64>) {}
    fn advance(&self, n: u64) {
        let take = |left: u64| Some(left.saturating_sub(n));
        let _ = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
    }
    fn end(&self) {}
    fn say(&self, _line: &str) {}
    fn cancelled(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

#[test]
fn a_stopped_run_leaves_whole_files_only_and_is_resumed() {
    let bench = bench();
    let mut stopped = 0;
    for bytes in [1, 10_000, 60_000, 120_000, 200_000, 100_000_000] {
        let progress = Stops { left: AtomicU64::new(bytes) };
        let result = bench.run(&Change { progress: &progress, ..Change::default() });
        let images = bench.out().join("images");
        for file in images.read_dir_utf8().unwrap() {
            let file = file.unwrap();
            assert!(file.file_name().ends_with(".tar"), "{}", file.path());
            assert!(darksite::extras::oci::Layout::open(file.path(), "left").is_ok(), "{}", file.path());
        }
        match result {
            Err(error) => {
                assert!(chain(&error).contains("stopped"), "{}", chain(&error));
                stopped += 1;
            }
            Ok(made) => assert_eq!(made.spec.images.len(), 9),
        }
    }
    assert!((2..6).contains(&stopped), "{stopped}");
    // What a stopped run had fetched whole is not fetched again.
    let served = bench.registry.state.served.lock().unwrap();
    let mut whole: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, first) in served.iter().filter(|(path, _)| path.contains("/kube-apiserver/blobs/")) {
        *whole.entry(path).or_default() += usize::from(*first == 0);
    }
    assert!(whole.values().all(|n| *n <= 2), "{whole:?}");
}

#[test]
fn what_upstream_did_not_sign_or_does_not_have_is_refused() {
    let bench = bench();
    let with = |kubernetes: (u32, u32, u32)| Change {
        kubernetes: Version::new(kubernetes.0, kubernetes.1, kubernetes.2),
        ..Change::default()
    };
    bench.refused(&with((1, 36, 3)), "it has no kubeadm 1.36.3 for amd64");
    bench.refused(&with((1, 20, 2)), "supported are 1.34 to 1.37");
    bench.refused(&with((1, 33, 0)), "supported are 1.34 to 1.37");
    bench.refused(&Change { fingerprint: Some("AB".repeat(20)), ..Change::default() }, "not by ABAB");
    let web = bench.site.root().join("web");
    let spoil = |file: &str, bytes: &[u8], word: &str| {
        let good = std::fs::read(web.join(file)).unwrap();
        write(&web.join(file), bytes);
        bench.refused(&Change::default(), word);
        write(&web.join(file), &good);
    };
    spoil("deb/Release.key", &key(8).public_keyring().unwrap(), "verifying");
    spoil("deb/Release.key", b"not a key", "reading key kubernetes");
    spoil("deb/Packages", b"Package: other\n", "signed Release file says");
    spoil("charts/cilium-1.18.5.tgz", b"other", "lists");
    spoil("charts/index.yaml", b"entries: {cilium: [{version: 1.18.4, urls: [x]}]}", "does not list it");
    spoil("charts/index.yaml", b"a: [", "cannot be read");
    // Nothing was left half-done: with everything in place again, the bundle is made.
    assert!(bench.run(&Change::default()).is_ok());
}

#[test]
fn images_that_are_not_what_was_asked_for_are_refused() {
    let kind = "application/vnd.oci.image.index.v1+json";
    let none = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [{"mediaType": "m", "digest": format!("sha256:{}", Digest([1; 32])),
        "size": 3, "platform": {"os": "linux", "architecture": "arm64"}}]});
    let bench = bench();
    bench.registry.document("pause", Some("3.10.2"), kind, none.to_string().as_bytes());
    bench.refused(&Change::default(), "it has no manifest for linux/amd64");
    bench.registry.document("pause", Some("3.10.2"), kind, b"{}");
    bench.refused(&Change::default(), "schemaVersion");
    let good = bench.registry.image("pause", "3.10.2");
    // A registry that answers another manifest than that of the digest.
    let cilium = bench.registry.image("cilium/cilium", "v1.18.5");
    bench.registry.put(&format!("/v2/cilium/cilium/manifests/sha256:{cilium}"), kind, none.to_string().as_bytes());
    bench.refused(&Change::default(), "the registry's manifest has digest");
    bench.registry.image("cilium/cilium", "v1.18.5");
    let made = bench.run(&Change::default()).unwrap();
    assert!(made.spec.images.iter().any(|i| i.name == "registry.k8s.io/pause" && i.url.contains(&good.to_string()[..12])));
}
