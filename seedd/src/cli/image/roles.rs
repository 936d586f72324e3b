//! The artifacts of the chosen roles.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use cluster_seed::arch::Arch;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::converge::role::resolve_all;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::ArtifactManifest;

use crate::terminal::Terminal;

/// Which roles are built, and what their nodes run first.
pub(super) struct Roles<'a> {
    pub spec: &'a ClusterSpec,
    /// If empty: all.
    pub chosen: &'a [String],
    /// Id and archive of the payload in use.
    pub payload: Option<&'a (Digest, Utf8PathBuf)>,
    /// False where the target needs no artifact.
    pub wanted: bool,
}

/// Builds them; by [`Arch::artifact_name`].
pub(super) fn artifacts(
    inputs: &image::Inputs<'_>,
    of: &Roles<'_>,
    arch: Arch,
    progress: &Terminal,
) -> Result<BTreeMap<String, ArtifactManifest>> {
    let mut built = BTreeMap::new();
    for (name, role) in resolve_all(&of.spec.spec.roles) {
        if !of.wanted || !of.chosen.is_empty() && !of.chosen.contains(&name) {
            continue;
        }
        let disabled: Vec<String> = role.platform().flat_map(|p| p.units).map(|u| (*u).to_owned()).collect();
        let payload = of.payload.filter(|_| !role.plays.is_empty()).map(|(id, path)| (*id, path.as_path()));
        let wanted = image::Wanted { packages: &role.packages, disabled: &disabled, payload };
        let manifest = image::build_artifact(inputs, (&name, arch), &wanted, progress)
            .with_context(|| format!("building role {name} for {arch}"))?;
        built.insert(arch.artifact_name(&name), manifest);
    }
    Ok(built)
}
