//! A complete bundle for the tests: Kubernetes 1.36.2 with Cilium 1.18.5, its chart in the form of upstream's.

use std::collections::{BTreeMap, BTreeSet};

use cluster_seed::ids::Digest;

use super::have::{Chart, Have, Image, Package, Pinned, Role};
use super::need::{Choice, Cilium};
use super::version::Version;

/// The digest that the chart has for an image.
pub fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// Images of the chart that are needed: name below quay.io/cilium, and tag.
pub const OF_CHART: [(&str, &str); 7] = [
    ("cilium", "v1.18.5"),
    ("operator-generic", "v1.18.5"),
    ("cilium-envoy", "v1.34.12-1765374555-6a93b0b"),
    ("hubble-relay", "v1.18.5"),
    ("hubble-ui", "v0.13.3"),
    ("hubble-ui-backend", "v0.13.3"),
    ("certgen", "v0.3.1"),
];

/// A block of values as in Cilium's values.yaml, indented.
fn block(indent: usize, name: &str, tag: &str, digest_key: &str, pinned: &str) -> String {
    let space = " ".repeat(indent);
    let lines = [
        "image:".to_owned(),
        "  override: ~".to_owned(),
        format!("  repository: \"quay.io/cilium/{name}\""),
        format!("  tag: \"{tag}\""),
        "  pullPolicy: \"IfNotPresent\"".to_owned(),
        format!("  {digest_key}: sha256:{}", digest(pinned)),
        "  useDigest: true".to_owned(),
    ];
    lines.map(|line| format!("{space}{line}\n")).concat()
}

/// A values.yaml with the keys that decide about images in Cilium 1.18.
pub fn values() -> String {
    let [agent, operator, envoy, relay, ui, backend, certgen] = OF_CHART;
    let plain = |indent, (name, tag): (&str, &str)| block(indent, name, tag, "digest", name);
    format!(
        "{}l7Proxy: true
certgen:
  generateCA: true
{}hubble:
  enabled: true
  tls: {{enabled: true, auto: {{enabled: true, method: helm, schedule: \"0 0 1 */4 *\"}}}}
  relay:
    enabled: false
{}  ui:
    enabled: false
    backend:
{}    frontend:
{}envoy:
  enabled: ~
{}operator:
  enabled: true
{}    suffix: \"\"
    awsDigest: sha256:00
nodeinit:
  enabled: false
{}preflight:
  enabled: false
{}  envoy:
{}clustermesh:
  useAPIServer: false
  apiserver:
{}    tls: {{auto: {{enabled: true, method: helm}}}}
authentication:
  mutual:
    spire:
      enabled: false
      install:
        enabled: true
        agent:
{}",
        plain(0, agent),
        plain(2, certgen),
        plain(4, relay),
        plain(6, backend),
        plain(6, ui),
        plain(2, envoy),
        block(2, "operator", operator.1, "genericDigest", operator.0),
        plain(2, ("startup-script", "1755531540-60ee83e")),
        plain(2, agent),
        plain(4, envoy),
        plain(4, ("clustermesh-apiserver", "v1.18.5")),
        plain(10, ("spire-agent", "1.12.4")),
    )
}

pub fn chart() -> Chart {
    Chart {
        name: "cilium".to_owned(),
        version: "1.18.5".to_owned(),
        app_version: "1.18.5".to_owned(),
        sha256: digest("chart"),
        values: values(),
    }
}

fn image(name: &str, tag: &str, digest: Digest) -> Image {
    Image {
        name: name.to_owned(),
        tag: tag.to_owned(),
        digest,
        manifests: BTreeSet::from([digest]),
        platforms: BTreeSet::from(["linux/amd64".to_owned()]),
    }
}

pub fn package(name: &str, version: &str, depends: &str, extra: bool) -> Package {
    Package {
        name: name.to_owned(),
        version: version.to_owned(),
        depends: vec![depends.to_owned()],
        provides: String::new(),
        extra,
    }
}

pub fn choice() -> Choice {
    let mut choice = Choice::new(Version::new(1, 36, 2));
    choice.cilium = Some(Cilium::new(Version::new(1, 18, 5)));
    choice
}

/// Everything that [`choice`] needs, and nothing else.
pub fn complete() -> Have {
    let kubernetes = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"].map(|name| (name, "v1.36.2"));
    let others = [("coredns/coredns", "v1.14.2"), ("pause", "3.10.2")];
    let of_kubeadm = kubernetes.into_iter().chain(others);
    let mut images: Vec<Image> =
        of_kubeadm.map(|(name, tag)| image(&format!("registry.k8s.io/{name}"), tag, digest(name))).collect();
    images.extend(OF_CHART.map(|(name, tag)| image(&format!("quay.io/cilium/{name}"), tag, digest(name))));
    let kubelet = "iptables (>= 1.4.21), kubernetes-cni (>= 1.2.0), mount, conntrack | conntrack-tools";
    let mut iptables = package("iptables-nft", "1.8.11-2", "", false);
    iptables.provides = "iptables (= 1.8.11-2)".to_owned();
    let pinned = Pinned { chart: Some(digest("chart").to_string()), helm: Some(digest("helm").to_string()) };
    Have {
        packages: vec![
            package("kubeadm", "1.36.2-1.1", "cri-tools (>= 1.30.0)", true),
            package("kubelet", "1.36.2-1.1", kubelet, true),
            package("kubectl", "1.36.2-1.1", "", true),
            package("cri-tools", "1.36.0-1.1", "", true),
            package("kubernetes-cni", "1.8.0-1.1", "", true),
            package("containerd", "1.7.24~ds1-6+b4", "runc", false),
            package("containernetworking-plugins", "1.1.1+ds1-3+b17", "", false),
            package("mount", "2.41-5", "", false),
            package("conntrack", "1:1.4.8-2", "", false),
            iptables,
        ],
        images,
        charts: vec![chart()],
        files: BTreeMap::from([("helm".to_owned(), digest("helm"))]),
        roles: vec![
            Role { name: "control-plane".to_owned(), sandbox: None, pinned: Some(pinned) },
            Role { name: "worker".to_owned(), sandbox: Some("registry.k8s.io/pause:3.10.2".to_owned()), pinned: None },
        ],
    }
}
