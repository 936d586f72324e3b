//! Why something could not be built.

use camino::{Utf8Path, Utf8PathBuf};
use host::tool::ToolError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {what} {path}")]
    Io { what: &'static str, path: Utf8PathBuf, source: std::io::Error },
    #[error("the snapshot has no package {package}, which {needed_by} needs")]
    Missing { package: String, needed_by: String },
    #[error("the snapshot's index {path} is not usable: {why}")]
    Index { path: Utf8PathBuf, why: String },
    #[error("{path} does not have the digest the snapshot's index gives")]
    Changed { path: Utf8PathBuf },
    #[error("unpacking {path}")]
    Deb { path: Utf8PathBuf, source: crate::deb::DebError },
    #[error("writing below {root}")]
    Tree { root: Utf8PathBuf, source: crate::tree::TreeError },
    #[error("{step}")]
    Tool { step: &'static str, source: ToolError },
    #[error("laying out the disk")]
    Disk(#[from] crate::disk::DiskError),
    #[error("making the boot loader")]
    Grub(#[from] crate::grub::GrubError),
    #[error("reading or writing chunks")]
    Chunk(#[from] crate::chunk::ChunkError),
    #[error("{0}")]
    Content(String),
    #[error("signing the manifest")]
    Seal(#[from] cluster_seed::seal::SealError),
    #[error("writing the manifest as JSON")]
    Json(#[from] serde_json::Error),
    #[error("stopped as asked; nothing was left behind")]
    Cancelled,
}

impl Error {
    /// What a person can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Missing { .. } => {
                Some("add image::BASE_PACKAGES and image::TOOL_PACKAGES to the snapshot's roots and build it again")
            }
            Error::Changed { .. } => Some("the snapshot on disk is damaged: run `seedd darksite verify`"),
            Error::Tool { source: ToolError::Start { .. }, .. } => {
                Some("this needs root and util-linux (unshare, setpriv) on the host")
            }
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Some("free some space or move the data directory")
            }
            _ => None,
        }
    }
}

/// `.map_err(io("open", path))`
pub(crate) fn io<'p>(what: &'static str, path: &'p Utf8Path) -> impl FnOnce(std::io::Error) -> Error + 'p {
    move |source| Error::Io { what, path: path.to_owned(), source }
}
