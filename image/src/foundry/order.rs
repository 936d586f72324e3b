//! What to make.

use std::collections::BTreeMap;

use camino::Utf8Path;
use cluster_seed::foundry::Target;
use cluster_seed::manifest::{ArtifactManifest, NetbootManifest};

/// Everything that an output is made from, beside the snapshot.
pub struct Order<'a> {
    /// The role's artifact, for a target that is made from one.
    pub artifact: Option<&'a ArtifactManifest>,
    /// The artifacts of all roles, for a target that is for all of them.
    pub artifacts: &'a BTreeMap<String, ArtifactManifest>,
    pub netboot: &'a NetbootManifest,
    /// Kernel parameters, checked and escaped: consoles and the operator's own.
    pub parameters: &'a str,
    pub target: Target,
    /// The only node that it is for, a label; its role is the artifact's.
    pub node: Option<&'a str>,
    /// Name of the site, a label of a-z, 0-9 and -.
    pub site: &'a str,
    /// Base URL of the seed, `http://ADDRESS[:PORT]`.
    pub seed: &'a str,
    /// The file with the settings that a machine finds its seed by.
    pub join: &'a [u8],
    /// They contain a token: only the owner may read the files.
    pub private: bool,
    /// Bill of materials of the artifact.
    pub sbom: &'a str,
    /// Settings of the target, checked.
    pub options: BTreeMap<String, String>,
    /// Files that the target needs from elsewhere, by path below the output's directory.
    pub extra: Vec<(String, Vec<u8>)>,
    /// Version of the program.
    pub version: &'a str,
    /// Directory of all outputs.
    pub outputs: &'a Utf8Path,
}
