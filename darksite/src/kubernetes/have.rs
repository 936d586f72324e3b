//! What a snapshot and its extras have, as far as Kubernetes needs it.

use std::collections::{BTreeMap, BTreeSet};

use cluster_seed::ids::Digest;

/// A Debian package of the extras or of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// Pre-Depends and Depends, each as in the index.
    pub depends: Vec<String>,
    pub provides: String,
    /// False for one of the Debian snapshot, whose dependencies its resolver checked.
    pub extra: bool,
}

/// An image of the extras.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub name: String,
    pub tag: String,
    /// Of the manifest or index that the tag means.
    pub digest: Digest,
    /// Every manifest of the image, by which it can be pulled too.
    pub manifests: BTreeSet<Digest>,
    /// `linux/amd64`; empty if its configuration does not say.
    pub platforms: BTreeSet<String>,
}

/// A Helm chart of the extras.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    pub name: String,
    pub version: String,
    pub app_version: String,
    /// Of the archive.
    pub sha256: Digest,
    /// Text of its values.yaml.
    pub values: String,
}

/// A role of cluster.yaml whose nodes are nodes of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    /// `containers_sandbox_image`; None: the image that kubeadm names.
    pub sandbox: Option<String>,
    /// Of a control plane, which renders Cilium's chart; None for other nodes.
    pub pinned: Option<Pinned>,
}

/// What a control plane uses only with the digest that its variables name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pinned {
    /// `cilium_sha256`, in hexadecimal.
    pub chart: Option<String>,
    /// `cilium_helm_sha256`, in hexadecimal.
    pub helm: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Have {
    pub packages: Vec<Package>,
    pub images: Vec<Image>,
    pub charts: Vec<Chart>,
    /// Paths of the extras' files.
    pub files: BTreeMap<String, Digest>,
    pub roles: Vec<Role>,
}
