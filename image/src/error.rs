//! Why something could not be built.

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::arch::Arch;
use cluster_seed::manifest::ManifestError;
use cluster_seed::seal::SealError;
use host::files::FileError;
use host::sealed::SealedError;
use host::tool::ToolError;

use crate::artifact::chunk::ChunkError;
use crate::disk::DiskError;
use crate::disk::grub::GrubError;
use crate::packages::unpack::UnpackError;
use crate::tree::TreeError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(FileError),
    #[error("the snapshot has no package {package}, needed by {needed_by}")]
    Missing { package: String, needed_by: String },
    #[error("the snapshot's index {path} is unusable: {why}")]
    Index { path: Utf8PathBuf, why: String },
    #[error("{path} does not match its digest in the snapshot's index")]
    Changed { path: Utf8PathBuf },
    #[error("unpacking {path}")]
    Unpack { path: Utf8PathBuf, source: UnpackError },
    #[error("processing files below {root}")]
    Tree { root: Utf8PathBuf, source: TreeError },
    #[error("{step}")]
    Tool { step: &'static str, source: ToolError },
    #[error("creating the disk image")]
    Disk(#[from] DiskError),
    #[error("installing the boot loader")]
    Grub(#[from] GrubError),
    #[error("splitting the disk image into chunks")]
    Chunk(#[from] ChunkError),
    #[error("writing the image")]
    Format(#[source] formats::Error),
    #[error("this host cannot run the programs of {arch} that packages' scripts need")]
    NoEmulator { arch: Arch },
    #[error("{0}")]
    Content(String),
    #[error(transparent)]
    Sealed(#[from] SealedError),
    #[error("checking {path}")]
    Manifest { path: Utf8PathBuf, source: ManifestError },
    #[error("signing the manifest")]
    Sign(#[from] SealError),
    #[error("writing the manifest as JSON")]
    Json(#[from] serde_json::Error),
    #[error("stopped on request; nothing was left behind")]
    Cancelled,
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Cancelled => Error::Cancelled,
            other => Error::File(other),
        }
    }
}

impl From<formats::Error> for Error {
    fn from(error: formats::Error) -> Self {
        match error {
            formats::Error::Cancelled => Error::Cancelled,
            other => Error::Format(other),
        }
    }
}

impl Error {
    /// What an operator can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Missing { .. } => Some("run `seedd darksite build` again, then repeat this command"),
            Error::Changed { .. } => Some("the snapshot on disk is damaged: run `seedd darksite verify`"),
            Error::Tool { source: ToolError::Start { .. }, .. } => {
                Some("run it as root on a host with util-linux (unshare, setpriv)")
            }
            Error::NoEmulator { .. } => {
                Some("install qemu-user-binfmt (Debian 13) or qemu-user-static (Debian 12); binfmt_misc has to be mounted")
            }
            Error::File(error) | Error::Tree { source: TreeError::File(error), .. } | Error::Disk(DiskError::File(error)) => {
                Some(error.hint())
            }
            Error::Chunk(error) => error.hint(),
            Error::Format(error) => error.hint(),
            _ => None,
        }
    }
}

/// `.map_err(in_tree(tree.root()))`
pub(crate) fn in_tree(root: &Utf8Path) -> impl Fn(TreeError) -> Error + use<> {
    let root = root.to_owned();
    move |source| Error::Tree { root: root.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failed_file_has_a_hint_wherever_it_failed() {
        let full = || FileError::Full { action: "writing", path: "/data".into() };
        for error in [
            Error::from(full()),
            Error::Tree { root: "/data".into(), source: TreeError::File(full()) },
            Error::Disk(DiskError::File(full())),
            Error::Chunk(ChunkError::File(full())),
        ] {
            assert_eq!(error.hint(), Some(full().hint()), "{error}");
        }
        assert!(matches!(Error::from(FileError::Cancelled), Error::Cancelled));
    }
}
