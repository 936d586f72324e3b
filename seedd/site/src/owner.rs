//! What root made in the data directory of another user, who runs the seed.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;

use anyhow::{Context as _, Result};
use host::files::{Access, open_device};
use nix::libc::{ELOOP, O_DIRECTORY, O_NOFOLLOW};

use crate::Site;

const ROOT: u32 = 0;

/// User and group.
type Owner = (u32, u32);

impl Site {
    /// Gives the files and folders of root in the data directory to its owner; their number. Without effect if this process is
    /// not root's, if the data directory is, and if there is no site in it: it may be any directory, named by mistake.
    ///
    /// Root file systems that images are made from keep their owners: these become part of an image.
    ///
    /// # Errors
    /// If a folder cannot be read or an owner cannot be changed. Files that are removed meanwhile, and those on a medium that is
    /// mounted read-only, are no error.
    pub fn hand_over(&self) -> Result<u64> {
        if !nix::unistd::geteuid().is_root() || !self.exists() {
            return Ok(0);
        }
        let given = || {
            let folder = open_device(&self.data, Access::Read, O_DIRECTORY)?;
            let held = folder.metadata()?;
            if held.uid() == ROOT { Ok(0) } else { give(&folder, Path::new(""), (held.uid(), held.gid())) }
        };
        given().with_context(|| format!("giving files of root in {} to the user of the seed", self.data))
    }
}

/// `path` is the folder's below the data directory. Names are looked up in the open folder only: its owner could replace a folder
/// of the path by a link, and get files of root's elsewhere.
fn give(folder: &File, path: &Path, to: Owner) -> io::Result<u64> {
    let here = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let mut given = 0;
    for entry in fs::read_dir(here)? {
        let entry = entry?;
        let below = path.join(entry.file_name());
        if is_root_file_system(&below) {
            continue;
        }
        given += give_one(&entry.path(), &below, to).or_else(|e| if is_no_failure(&e) { Ok(0) } else { Err(e) })?;
    }
    Ok(given)
}

/// A file, or a folder with its content.
fn give_one(at: &Path, path: &Path, to: Owner) -> io::Result<u64> {
    let meta = fs::symlink_metadata(at)?;
    let mut given = 0;
    if meta.is_dir() {
        given += give(&open_device(at, Access::Read, O_DIRECTORY | O_NOFOLLOW)?, path, to)?;
    }
    if meta.uid() == ROOT {
        lchown(at, Some(to.0), Some(to.1))?;
        given += 1;
    }
    Ok(given)
}

/// The folder of a build, or the tools that builds run in.
fn is_root_file_system(path: &Path) -> bool {
    let (parent, name) = (path.parent(), path.file_name().and_then(|name| name.to_str()).unwrap_or_default());
    [Some(Path::new("tmp")), Some(Path::new("cache"))].contains(&parent) && image::WORKDIRS.iter().any(|p| name.starts_with(p))
}

/// It is gone or no longer a folder, or its file system is read-only.
fn is_no_failure(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory, io::ErrorKind::ReadOnlyFilesystem];
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(ELOOP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_file_systems_of_builds_and_their_tools_are_known_by_place_and_name() {
        for kept in ["tmp/artifact-x1", "tmp/toolroot-x1", "tmp/seedroot-x1", "cache/toolroot-0123-4567"] {
            assert!(is_root_file_system(Path::new(kept)), "{kept}");
        }
        for given in ["tmp", "tmp/importing.lock", "tmp/import-x1", "cache/packages", "artifact-x1", "blobs/artifact-x1", ""] {
            assert!(!is_root_file_system(Path::new(given)), "{given}");
        }
    }
}
