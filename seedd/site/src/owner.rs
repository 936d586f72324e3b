//! What root made in the data directory of another user, who runs the seed.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use host::files::{Access, open_device};
use nix::fcntl::AtFlags;
use nix::libc::{ELOOP, O_DIRECTORY, O_NOFOLLOW, O_PATH};
use nix::unistd::{Gid, Uid, fchownat};

use crate::Site;

const ROOT: u32 = 0;
/// Whether users cannot make links to files of others: 1 on Debian (proc_sys_fs(5)).
const PROTECTED: &str = "/proc/sys/fs/protected_hardlinks";

/// Who gets the files.
#[derive(Clone, Copy)]
struct Heir {
    user: u32,
    group: u32,
    /// Users cannot make links to files of others.
    protected: bool,
    /// The file system of the folder.
    device: u64,
}

impl Heir {
    /// What is root's, but for devices. Where anybody can make links to any file, a file with several names may be one of the system.
    fn gets(self, meta: &Metadata) -> bool {
        let kind = meta.file_type();
        let is_device = kind.is_block_device() || kind.is_char_device();
        meta.uid() == ROOT && !is_device && (self.protected || has_one_name(meta))
    }

    /// Another file system that root has mounted for itself, perhaps one of the machine. Told by its folder: overlayfs has device numbers
    /// of its own for files.
    fn has_no_part_in(self, meta: &Metadata) -> bool {
        meta.is_dir() && meta.dev() != self.device && meta.uid() == ROOT
    }
}

fn has_one_name(meta: &Metadata) -> bool {
    meta.is_dir() || meta.nlink() == 1
}

impl Site {
    /// Gives the files and folders of root in the data directory to its owner; their number. Without effect if this process is
    /// not root's, if the data directory is, and if there is no site in it: it may be any directory, named by mistake.
    ///
    /// Root file systems that images are made from keep their owners: these become part of an image. So do devices, other file systems
    /// whose root belongs to root, and files with several names where the kernel lets every user make links to files of others
    /// (`fs.protected_hardlinks` is 0).
    ///
    /// # Errors
    /// If a folder cannot be read or an owner cannot be changed. Files that are removed meanwhile, and those on a medium that is
    /// mounted read-only, are no error.
    pub fn hand_over(&self) -> Result<u64> {
        if !nix::unistd::geteuid().is_root() || !self.exists() {
            return Ok(0);
        }
        let protected = fs::read_to_string(PROTECTED).is_ok_and(|text| text.trim() != "0");
        let given = || {
            let folder = open_device(&self.data, Access::Read, O_DIRECTORY)?;
            let held = folder.metadata()?;
            let heir = Heir { user: held.uid(), group: held.gid(), protected, device: held.dev() };
            if heir.user == ROOT { Ok(0) } else { give(&folder, Path::new(""), heir) }
        };
        given().with_context(|| format!("giving files of root in {} to the user of the seed", self.data))
    }
}

/// `path` is the folder's below the data directory. Names are looked up in the open folder only: its owner could replace a folder
/// of the path by a link, and get files of root's elsewhere.
fn give(folder: &File, path: &Path, heir: Heir) -> io::Result<u64> {
    let here = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let mut given = 0;
    for entry in fs::read_dir(here)? {
        let entry = entry?;
        let below = path.join(entry.file_name());
        if is_root_file_system(&below) {
            continue;
        }
        given += give_one(&entry.path(), &below, heir).or_else(|e| if is_no_failure(&e) { Ok(0) } else { Err(e) })?;
    }
    Ok(given)
}

/// A file, or a folder with its content. What was looked at is what is given, whatever has the name meanwhile.
fn give_one(at: &Path, path: &Path, heir: Heir) -> io::Result<u64> {
    // Of a link itself, and without opening what it is: a FIFO would wait, a device act.
    let held = open_device(at, Access::Read, O_PATH | O_NOFOLLOW)?;
    let meta = held.metadata()?;
    if heir.has_no_part_in(&meta) {
        return Ok(0);
    }
    let (heir, mut given) = (Heir { device: meta.dev(), ..heir }, 0);
    if meta.is_dir() {
        given += give(&open_device(at, Access::Read, O_DIRECTORY | O_NOFOLLOW)?, path, heir)?;
    }
    if heir.gets(&meta) {
        fchownat(&held, "", Some(Uid::from_raw(heir.user)), Some(Gid::from_raw(heir.group)), AtFlags::AT_EMPTY_PATH)?;
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
    fn a_file_with_several_names_is_given_only_where_users_cannot_link_to_files_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other, folder) = (dir.path().join("one"), dir.path().join("other"), dir.path().join("folder"));
        fs::write(&one, "").unwrap();
        fs::create_dir_all(folder.join("below")).unwrap();
        let has = |path: &Path| has_one_name(&fs::symlink_metadata(path).unwrap());
        assert!(has(&one) && has(&folder), "folders count their subfolders");
        fs::hard_link(&one, &other).unwrap();
        assert!(!has(&one) && !has(&other));
        let meta = fs::symlink_metadata(&one).unwrap();
        let gets = |protected| heir(protected, &meta).gets(&meta);
        assert_eq!((gets(true), gets(false)), (meta.uid() == ROOT, false));
    }

    fn heir(protected: bool, folder: &Metadata) -> Heir {
        Heir { user: 1, group: 1, protected, device: folder.dev() }
    }

    #[test]
    fn devices_and_file_systems_that_root_mounted_are_not_given() {
        let [null, proc, dir] = ["/dev/null", "/proc", "/"].map(|path| fs::symlink_metadata(path).unwrap());
        assert!(!heir(true, &null).gets(&null));
        assert!(heir(true, &dir).has_no_part_in(&proc) && !heir(true, &dir).has_no_part_in(&dir));
    }

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
