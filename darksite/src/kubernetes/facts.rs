//! What kubeadm of each minor version of Kubernetes asks for, beyond its own version.
//!
//! Sources: `cmd/kubeadm/app/constants/constants.go` (CoreDNSVersion, PauseVersion) and `app/images/images.go` of kubernetes, as
//! minikube lists their values for every release (`pkg/minikube/constants/constants_kubeadm_images.go`, read on 2026-08-23). In
//! 1.34 to 1.36 the tags are the same from the first release of the minor version to the last that is listed (1.34.10, 1.35.7,
//! 1.36.3). For 1.37 that list ends with 1.37.0-rc.0; lists of images by kubeadm 1.37.0 that others published have the same
//! tags. A later release may change a tag: `kubeadm config images list` of that release decides.

use super::version::Version;

/// One minor version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minor {
    pub minor: u32,
    /// kubeadm's `imageRepository`.
    pub registry: &'static str,
    /// Below the registry: kubeadm 1.21 moved it into a folder of its own.
    pub coredns: &'static str,
    pub coredns_tag: &'static str,
    pub pause_tag: &'static str,
    /// The oldest containerd that works.
    pub containerd: Version,
    /// containerd of this version and later does not work.
    pub containerd_below: Option<Version>,
    /// Oldest cri-tools that kubeadm of this version works with; None if kubeadm does without.
    pub cri_tools: Option<Version>,
    /// True if it is only run in tests (docs/kubernetes-offline.md).
    pub fixture: bool,
}

const CONTAINERD_1_7: Version = Version::new(1, 7, 0);

/// A current minor version. containerd 1.7 works with all of them: kubelet 1.38 is the first that does not start without the
/// CRI's RuntimeConfig, which containerd has since 2.0 (kubernetes#139121, kubeadm#3229).
const fn current(minor: u32, coredns_tag: &'static str, pause_tag: &'static str) -> Minor {
    Minor {
        minor,
        registry: "registry.k8s.io",
        coredns: "coredns/coredns",
        coredns_tag,
        pause_tag,
        containerd: CONTAINERD_1_7,
        containerd_below: None,
        // The packages kubeadm of pkgs.k8s.io depend on cri-tools (>= 1.30.0).
        cri_tools: Some(Version::new(1, 30, 0)),
        fixture: false,
    }
}

/// Supported minor versions of Kubernetes 1, in order.
pub static MINORS: [Minor; 5] = [
    // Debian's source package; kubelet 1.20 speaks CRI v1alpha2, which containerd 2.0 no longer has.
    Minor {
        minor: 20,
        registry: "k8s.gcr.io",
        coredns: "coredns",
        coredns_tag: "1.7.0",
        pause_tag: "3.2",
        containerd: Version::new(1, 4, 0),
        containerd_below: Some(Version::new(2, 0, 0)),
        cri_tools: None,
        fixture: true,
    },
    current(34, "v1.12.1", "3.10.1"),
    current(35, "v1.13.1", "3.10.1"),
    current(36, "v1.14.2", "3.10.2"),
    current(37, "v1.14.6", "3.10.2"),
];

/// Packages that must have the version of the cluster.
pub const EXACT: [&str; 2] = ["kubeadm", "kubelet"];
/// May differ by one minor version from the API server (kubernetes.io, "Version Skew Policy").
pub const KUBECTL: &str = "kubectl";
pub const KUBECTL_SKEW: u32 = 1;
pub const CRI_TOOLS: &str = "cri-tools";
/// Either of them has the CNI plugins: Debian's in /usr/lib/cni, upstream's in /opt/cni/bin.
pub const CNI_PLUGINS: [&str; 2] = ["containernetworking-plugins", "kubernetes-cni"];
/// Debian's package, and that of Docker's repository.
pub const CONTAINERD: [&str; 2] = ["containerd", "containerd.io"];

/// The image of the operator in Cilium's charts is that of the repository with this ending, unless a cloud runs it.
pub const OPERATOR: &str = "-generic";

/// The facts of a version; None if it is not supported.
pub fn minor(version: &Version) -> Option<&'static Minor> {
    MINORS.iter().find(|m| version.major == 1 && m.minor == version.minor)
}

/// Supported versions for messages: `1.34 to 1.37`.
pub fn supported() -> String {
    let all: Vec<u32> = MINORS.iter().filter(|m| !m.fixture).map(|m| m.minor).collect();
    match (all.first(), all.last()) {
        (Some(first), Some(last)) => format!("1.{first} to 1.{last}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supported_minor_version_is_known() {
        assert!(MINORS.is_sorted_by(|a, b| a.minor < b.minor));
        assert_eq!(supported(), "1.34 to 1.37");
        for (version, known) in [("1.33.9", false), ("1.34.0", true), ("1.37.9", true), ("1.38.0", false), ("2.34.0", false)] {
            assert_eq!(minor(&version.parse().unwrap()).is_some(), known, "{version}");
        }
        assert!(minor(&Version::new(1, 20, 2)).is_some_and(|m| m.fixture && m.pause_tag == "3.2"));
    }
}
