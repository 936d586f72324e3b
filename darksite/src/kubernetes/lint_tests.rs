use cluster_seed::ids::Digest;

use super::*;
use crate::kubernetes::have::{Package, Pinned, Role};
use crate::kubernetes::testing::{OF_CHART, chart, choice, complete, package};

fn found(have: &Have) -> Vec<Finding> {
    lint(&choice(), have).unwrap().findings
}

#[test]
fn a_complete_bundle_is_silent() {
    let report = lint(&choice(), &complete()).unwrap();
    assert_eq!((report.findings.as_slice(), report.notes.as_slice()), (&[][..], &[][..]));
    assert_eq!(report.what(), "Kubernetes 1.36.2 with Cilium 1.18.5");
}

fn without_image(name: &str) -> Have {
    let mut have = complete();
    let before = have.images.len();
    have.images.retain(|i| i.name != name);
    assert_eq!(have.images.len() + 1, before, "{name}");
    have
}

fn without_package(name: &str) -> Have {
    let mut have = complete();
    let before = have.packages.len();
    have.packages.retain(|p| p.name != name);
    assert_eq!(have.packages.len() + 1, before, "{name}");
    have
}

fn package_of(have: &mut Have, name: &str) -> usize {
    have.packages.iter().position(|p| p.name == name).unwrap()
}

fn with_version(name: &str, version: &str) -> Have {
    let mut have = complete();
    let at = package_of(&mut have, name);
    version.clone_into(&mut have.packages[at].version);
    have
}

fn pinned(have: &mut Have) -> &mut Pinned {
    have.roles[0].pinned.as_mut().unwrap()
}

fn changed(change: impl Fn(&mut Have)) -> Have {
    let mut have = complete();
    change(&mut have);
    have
}

fn image_of<'a>(have: &'a mut Have, name: &str) -> &'a mut Image {
    have.images.iter_mut().find(|i| i.name == name).unwrap()
}

/// Removes or alters one thing at a time: the lint has exactly one line, about that thing.
#[test]
fn every_seeded_omission_is_found_and_named() {
    let mut seeded: Vec<(Kind, String, Have)> = Vec::new();
    let of_kubeadm = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "coredns/coredns", "pause"]
        .map(|n| format!("registry.k8s.io/{n}"));
    for name in of_kubeadm.into_iter().chain(OF_CHART.map(|(name, _)| format!("quay.io/cilium/{name}"))) {
        seeded.push((Kind::MissingImage, format!("{name}:"), without_image(&name)));
    }
    for name in ["kubeadm", "kubelet", "kubectl", "cri-tools", "containerd", "containernetworking-plugins"] {
        seeded.push((Kind::MissingPackage, name.to_owned(), without_package(name)));
    }
    for (name, version) in [
        ("kubeadm", "1.36.1-1.1"),
        ("kubelet", "1.37.2-1.1"),
        ("kubectl", "1.38.0-1.1"),
        ("kubectl", "1.34.9-1.1"),
        ("cri-tools", "1.29.0-1.1"),
        ("containerd", "1.6.20~ds1-1"),
    ] {
        seeded.push((Kind::WrongVersion, name.to_owned(), with_version(name, version)));
    }
    for name in ["kubernetes-cni", "mount", "conntrack", "iptables-nft"] {
        seeded.push((Kind::UnmetDependency, "kubelet".to_owned(), without_package(name)));
    }
    let mut one = |kind, item: &str, change: &dyn Fn(&mut Have)| seeded.push((kind, item.to_owned(), changed(change)));
    one(Kind::MissingChart, "cilium", &|h| h.charts.clear());
    one(Kind::MissingChart, "cilium", &|h| h.charts[0].version = "1.18.4".to_owned());
    one(Kind::MissingFile, "helm", &|h| h.files.clear());
    one(Kind::Sandbox, "worker", &|h| h.roles[1].sandbox = Some("registry.k8s.io/pause:3.8".to_owned()));
    one(Kind::Sandbox, "control-plane", &|h| h.roles[0].sandbox = Some("k8s.gcr.io/pause:3.10.2".to_owned()));
    one(Kind::Unpinned, "cilium-1.18.5.tgz", &|h| pinned(h).chart = None);
    one(Kind::Unpinned, "cilium-1.18.5.tgz", &|h| h.charts[0].sha256 = Digest([7; 32]));
    one(Kind::Unpinned, "helm", &|h| pinned(h).helm = Some("ab".to_owned()));
    one(Kind::Unpinned, "helm", &|h| _ = h.files.insert("helm".to_owned(), Digest([7; 32])));
    // An archive that was made again, or of one platform: the tag is right, the digest is not.
    one(Kind::OtherDigest, "quay.io/cilium/cilium-envoy:", &|h| {
        let image = image_of(h, "quay.io/cilium/cilium-envoy");
        image.digest = Digest([7; 32]);
        image.manifests = [Digest([7; 32])].into();
    });
    one(Kind::OtherPlatform, "registry.k8s.io/kube-scheduler:", &|h| {
        image_of(h, "registry.k8s.io/kube-scheduler").platforms = ["linux/arm64".to_owned()].into();
    });
    one(Kind::MissingImage, "registry.k8s.io/pause:3.10.2", &|h| {
        "3.10".clone_into(&mut image_of(h, "registry.k8s.io/pause").tag)
    });
    one(Kind::MissingImage, "registry.k8s.io/kube-apiserver:v1.36.2", &|h| {
        "v1.36.1".clone_into(&mut image_of(h, "registry.k8s.io/kube-apiserver").tag);
    });
    assert!(seeded.len() >= 20);
    for (kind, item, have) in &seeded {
        let lines = found(have);
        let [line] = &lines[..] else { panic!("{kind:?} {item}: {lines:#?}") };
        assert_eq!(line.kind, *kind, "{line:?}");
        assert!(line.item.starts_with(item.as_str()) && line.message.contains(item.trim_end_matches(':')), "{item}: {line:?}");
    }
}

/// The words, once for each kind.
#[test]
fn a_line_says_what_to_get() {
    let message = |have: &Have| found(have).remove(0).message;
    assert_eq!(
        message(&changed(|h| "3.10".clone_into(&mut image_of(h, "registry.k8s.io/pause").tag))),
        "image registry.k8s.io/pause:3.10.2 is missing (kubeadm 1.36.2); the extras have 3.10"
    );
    let hidden = message(&without_image("quay.io/cilium/hubble-ui-backend"));
    assert!(hidden.starts_with("image quay.io/cilium/hubble-ui-backend:v0.13.3@sha256:"), "{hidden}");
    assert!(hidden.ends_with(" is missing (hubble.ui.backend.image of chart cilium 1.18.5)"), "{hidden}");
    assert_eq!(message(&without_package("kubelet")), "package kubelet 1.36.2 is missing");
    assert_eq!(
        message(&with_version("kubeadm", "1.36.1-1.1")),
        "package kubeadm has version 1.36.1-1.1, but it must be 1.36.2, as the cluster"
    );
    assert_eq!(
        message(&without_package("kubernetes-cni")),
        "package kubelet 1.36.2-1.1 needs kubernetes-cni (>= 1.2.0), which is missing"
    );
    assert_eq!(
        message(&without_package("containernetworking-plugins")),
        "package containernetworking-plugins is missing; kubernetes-cni has the plugins in /opt/cni/bin, but the play containers looks in \
         /usr/lib/cni"
    );
    assert_eq!(
        message(&changed(|h| h.roles[1].sandbox = Some("registry.k8s.io/pause:3.8".to_owned()))),
        "role worker: containers_sandbox_image is registry.k8s.io/pause:3.8, but kubeadm 1.36.2 has registry.k8s.io/pause:3.10.2; remove \
         the variable, or change it"
    );
}

#[test]
fn two_versions_side_by_side_are_fine() {
    let have = changed(|h| {
        for name in ["kubeadm", "kubelet", "kubectl"] {
            h.packages.push(package(name, "1.37.0-1.1", "", true));
        }
        h.images.push(Image { tag: "v1.37.0".to_owned(), ..h.images[0].clone() });
        h.charts.push(chart_of("1.19.0"));
    });
    assert_eq!(found(&have), []);
}

fn chart_of(version: &str) -> crate::kubernetes::have::Chart {
    crate::kubernetes::have::Chart { version: version.to_owned(), ..chart() }
}

/// Without Cilium, its images are not asked for, but kube-proxy is.
#[test]
fn without_cilium_kube_proxy_is_needed() {
    let choice = Choice { cilium: None, ..choice() };
    let report = lint(&choice, &complete()).unwrap();
    let items: Vec<&str> = report.findings.iter().map(|f| f.item.as_str()).collect();
    assert_eq!(items, ["registry.k8s.io/kube-proxy:v1.36.2"]);
    assert_eq!(report.what(), "Kubernetes 1.36.2");
    let without = Choice { proxy: false, ..choice };
    assert_eq!(lint(&without, &Have { charts: Vec::new(), ..complete() }).unwrap().findings, []);
}

#[test]
fn a_missing_chart_leaves_a_note() {
    let report = lint(&choice(), &changed(|h| h.charts.clear())).unwrap();
    assert_eq!(report.notes.len(), 1);
}

#[test]
fn an_image_can_be_asked_for_by_any_of_its_manifests() {
    // The chart may have the digest of the platform's manifest instead of that of the index.
    let have = changed(|h| image_of(h, "quay.io/cilium/certgen").digest = Digest([9; 32]));
    assert_eq!(found(&have), []);
}

#[test]
fn nothing_at_all_is_a_finding_for_each_thing() {
    let roles = vec![Role { name: "worker".to_owned(), sandbox: None, pinned: None }];
    let findings = found(&Have { roles, charts: vec![chart()], ..Have::default() });
    let images = findings.iter().filter(|f| f.kind == Kind::MissingImage).count();
    let packages = findings.iter().filter(|f| f.kind == Kind::MissingPackage).count();
    assert_eq!((images, packages, findings.len()), (12, 6, 19));
}

#[test]
fn versions_that_are_not_known_are_refused() {
    for version in ["1.33.0", "1.38.0", "2.36.0"] {
        let choice = Choice { kubernetes: version.parse().unwrap(), ..choice() };
        let error = lint(&choice, &complete()).unwrap_err();
        assert_eq!(error.to_string(), format!("Kubernetes {version} is not supported (supported: 1.34 to 1.37)"));
    }
}

/// kubelet 1.20 speaks a CRI that containerd 2 no longer has, and kubeadm 1.20 needs no cri-tools here.
#[test]
fn the_fixture_needs_an_old_containerd() {
    let choice = Choice::new(Version::new(1, 20, 2));
    let image = |(name, tag): (&str, &str)| Image {
        name: format!("k8s.gcr.io/{name}"),
        tag: tag.to_owned(),
        digest: Digest::of(name.as_bytes()),
        manifests: [].into(),
        platforms: [].into(),
    };
    let tag = "v1.20.2";
    let names = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"].map(|n| (n, tag));
    let images: Vec<Image> = names.into_iter().chain([("coredns", "1.7.0"), ("pause", "3.2")]).map(image).collect();
    let fixture = |name: &str| package(name, "1.20.2-0fixture1", "", true);
    let containerd = |version: &str| -> Vec<Package> {
        let debian = |name: &str, version: &str| package(name, version, "", false);
        let mut all = vec![debian("containerd", version), debian("containernetworking-plugins", "1.1.1")];
        all.extend(["kubeadm", "kubelet", "kubectl"].map(fixture));
        all
    };
    let with = |version: &str| Have { images: images.clone(), packages: containerd(version), ..Have::default() };
    assert_eq!(lint(&choice, &with("1.7.24~ds1-6")).unwrap().findings, []);
    let line = lint(&choice, &with("2.1.9~ds1-1")).unwrap().findings.remove(0);
    assert_eq!(
        line.message,
        "package containerd has version 2.1.9~ds1-1, but the kubelet of 1.20.2 needs 1.4.0 or later, and earlier than 2.0.0"
    );
}
