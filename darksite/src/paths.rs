//! Where snapshots, blobs and caches are kept.

use camino::Utf8PathBuf;

/// Directories of the seed. All of them should be on one file system.
#[derive(Debug, Clone)]
pub struct Paths {
    pub blobs: Utf8PathBuf,
    pub snapshots: Utf8PathBuf,
    pub tmp: Utf8PathBuf,
    /// Only saves time; may be removed while nothing runs.
    pub cache: Utf8PathBuf,
}
