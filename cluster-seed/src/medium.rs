//! What a seed medium (CD or USB stick) holds, signed by the site that made it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::Digest;
use crate::manifest::BootFile;
use crate::seal::Sealable;

/// ISO 9660 volume id of every seed medium.
pub const VOLUME: &str = "KUBEDOS";
/// The sealed manifest, from the medium's root.
pub const MANIFEST: &str = "kubedos/medium.json";
/// The read-only root file system, from the medium's root.
pub const ROOT: &str = "kubedos/root.img";
/// What a seed adopts: `blobs snapshots artifacts netboot` as in a data directory, and the maker's public files.
pub const SITE: &str = "kubedos/site";
/// In [`SITE`]: the maker's cluster.yaml, the start of a new site's.
pub const CLUSTER: &str = "cluster.yaml";
/// In [`SITE`]: the OpenPGP certificate that the snapshot is signed with.
pub const RELEASE_KEYRING: &str = "release.pgp";
/// Kernel parameter that makes the agent boot a seed: the maker's site key in hex.
pub const PARAMETER: &str = "kubedos.medium";
/// Where the running seed sees the medium.
pub const MOUNTED: &str = "/run/kubedos/medium";

/// Signed by the site that made the medium; the verifying key stands on the kernel's command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MediumManifest {
    /// Digest of everything that is on it: same id, same bytes.
    pub id: Digest,
    /// Of the program that made it.
    pub version: String,
    pub arch: String,
    pub snapshot: Digest,
    pub netboot: Digest,
    /// Role to artifact.
    pub artifacts: BTreeMap<String, Digest>,
    /// Every file that is neither the manifest nor read by firmware, by its path from the medium's root.
    pub files: Vec<BootFile>,
}

impl Sealable for MediumManifest {
    const PURPOSE: &'static str = "medium-manifest";
}
