//! Writes files of the root only if they differ.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use host::files::{failed, read_limited, write_atomic};

use super::context::{Base, BaseError, Change};
use crate::assets::Asset;

const MODE_BITS: u32 = 0o7777;

impl Base<'_> {
    /// An absolute path on the node, below the root.
    pub(super) fn path(&self, absolute: &str) -> Utf8PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// Ensures that a file has this content and mode. Creates missing directories.
    pub(super) fn file(&self, absolute: &str, bytes: &[u8], mode: u32) -> Result<Change, BaseError> {
        let path = self.path(absolute);
        if is_same(&path, bytes, mode) {
            return Ok(Change::None);
        }
        if let Some(folder) = path.parent() {
            host::files::create_dirs(folder)?;
        }
        write_atomic(&path, bytes, mode)?;
        // The umask may have cleared bits.
        set_mode(&path, mode)?;
        Ok(Change::Made)
    }

    /// Restores a file to its content in the artifact.
    pub(super) fn asset(&self, asset: &Asset) -> Result<Change, BaseError> {
        self.file(asset.path, asset.bytes, asset.mode)
    }

    /// Ensures that a directory exists with this mode.
    pub(super) fn folder(&self, absolute: &str, mode: u32) -> Result<Change, BaseError> {
        let path = self.path(absolute);
        if fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir() && m.permissions().mode() & MODE_BITS == mode) {
            return Ok(Change::None);
        }
        host::files::create_dirs(&path)?;
        set_mode(&path, mode)?;
        Ok(Change::Made)
    }
}

fn set_mode(path: &Utf8Path, mode: u32) -> Result<(), BaseError> {
    Ok(fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed("setting the mode of", path))?)
}

/// True for a regular file with this content and mode; false for a link to one.
fn is_same(path: &Utf8Path, bytes: &[u8], mode: u32) -> bool {
    let size = bytes.len() as u64;
    fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.len() == size && m.permissions().mode() & MODE_BITS == mode)
        && read_limited(path, size).is_ok_and(|held| held == bytes)
}
