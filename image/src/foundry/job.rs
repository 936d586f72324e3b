//! One output being made, and what the makers of several targets have in common.

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::ArtifactManifest;
use cluster_seed::progress::Progress;
use host::files::{failed, write_synced};

use super::image::Source;
use super::order::Order;
use crate::Inputs;
use crate::disk::Layout;
use crate::error::Error;
use crate::packages::index::Index;
use crate::roots::tools::ToolRoot;
use crate::spec::Names;

/// One output being made.
pub(crate) struct Job<'a> {
    pub inputs: &'a Inputs<'a>,
    pub order: &'a Order<'a>,
    pub index: &'a Index,
    pub tools: &'a ToolRoot,
    pub work: &'a Utf8Path,
    pub out: &'a Utf8Path,
    /// Name of the output.
    pub name: &'a str,
    pub id: Digest,
    pub progress: &'a dyn Progress,
}

impl Job<'_> {
    pub fn artifact(&self) -> Result<&ArtifactManifest, Error> {
        self.order.artifact.ok_or_else(|| Error::Content("this target is made from the artifact of a role".to_owned()))
    }

    /// The raw disk image in the working directory.
    pub fn disk(&self) -> Result<(Utf8PathBuf, Layout), Error> {
        let (artifact, blobs, epoch) = (self.artifact()?, &self.inputs.dirs.blobs, self.index.epoch);
        let (tools, work, join) = (self.tools, self.work, self.order.join);
        Source { artifact, blobs, tools, work, epoch, join }.create(self.progress)
    }

    pub fn run(&self, step: &'static str, argv: &[&str]) -> Result<(), Error> {
        self.tools.run(step, self.work, argv, self.progress).map(|_| ())
    }

    /// Identifiers that would normally be random.
    pub fn names(&self) -> Names {
        Names::of(self.id)
    }

    /// Writes an executable file.
    pub fn script(&self, name: &str, text: &str) -> Result<(), Error> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.out.join(name);
        write_synced(&path, text.as_bytes())?;
        let mode = std::fs::Permissions::from_mode(0o755);
        Ok(std::fs::set_permissions(&path, mode).map_err(failed("setting the mode of", &path))?)
    }

    /// Packages whose programs took part, `name version`.
    pub fn tools_used(&self) -> Vec<String> {
        // They create the state partition's file system.
        let names: &[&str] = if self.order.target.of_role() && self.order.target.has_settings() { &["e2fsprogs"] } else { &[] };
        let version = |name: &&str| self.index.get(name, "outputs").ok().map(|p| format!("{name} {}", p.version()));
        names.iter().filter_map(version).chain([format!("kubedos {}", self.order.version)]).collect()
    }
}
