//! The disk image with the settings that a machine finds its seed by: the artifact's own, but for its state partition.

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::join::FILE;
use cluster_seed::manifest::ArtifactManifest;
use cluster_seed::progress::Progress;
use host::files::PRIVATE;

use crate::artifact::chunk::{self, ChunkError};
use crate::disk::ext4::Ext4;
use crate::disk::{Disk, Layout};
use crate::error::{Error, in_tree};
use crate::roots::system::STATE_LABEL;
use crate::roots::tools::ToolRoot;
use crate::spec::Names;
use crate::tree::{Meta, Tree};

/// What a disk image is made from.
pub struct Source<'a> {
    pub artifact: &'a ArtifactManifest,
    pub blobs: &'a Utf8Path,
    pub tools: &'a ToolRoot,
    pub work: &'a Utf8Path,
    /// Seconds since 1970 that files get.
    pub epoch: u64,
    pub join: &'a [u8],
}

impl Source<'_> {
    /// Creates `work/disk.img`, a sparse raw image.
    pub fn create(&self, progress: &dyn Progress) -> Result<(Utf8PathBuf, Layout), Error> {
        let layout = Layout::of(self.artifact).map_err(|e| Error::Content(e.to_string()))?;
        let image = self.work.join("disk.img");
        chunk::assemble(self.artifact, self.blobs, &image, progress).map_err(|e| match e {
            ChunkError::Cancelled => Error::Cancelled,
            other => other.into(),
        })?;
        let state = Tree::new(&self.work.join("state"));
        let meta = Meta { mode: 0o700, owner: Some((0, 0)), mtime: self.epoch };
        state.dir("", meta).map_err(in_tree(state.root()))?;
        // It can contain a token.
        state.write(FILE, PRIVATE, self.epoch, self.join).map_err(in_tree(state.root()))?;
        // The directory's own time changed with the file.
        state.dir("", Meta { mode: 0o700, owner: Some((0, 0)), mtime: self.epoch }).map_err(in_tree(state.root()))?;
        // The same identifiers as in the artifact: it is the same partition.
        let names = Names::of(self.artifact.id);
        let ext4 = Ext4 { tools: self.tools, work: self.work, names: &names };
        ext4.create("state", STATE_LABEL, layout.state.size, progress)?;
        let mut disk = Disk::open(&image)?;
        disk.replace(layout.state, &self.work.join("state.img"))?;
        disk.finish()?;
        Ok((image, layout))
    }
}
