//! Atomic file operations that survive a power failure.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use sha2::{Digest as _, Sha256};

use crate::random;

/// Permission bits of files that all users of this machine may read.
pub const PUBLIC: u32 = 0o644;
/// Permission bits of files that only their owner may read.
pub const PRIVATE: u32 = 0o600;

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("the disk is full while {action} {path}")]
    Full { action: &'static str, path: Utf8PathBuf },
    #[error("{path} is larger than {limit} bytes")]
    TooLarge { path: Utf8PathBuf, limit: u64 },
    #[error("{action} {path}")]
    Io {
        action: &'static str,
        path: Utf8PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("stopped on request")]
    Cancelled,
}

impl FileError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            FileError::Full { .. } => "free some disk space and run it again; completed work is kept",
            FileError::TooLarge { .. } => "replace the file; Kubedos never writes one of this size",
            FileError::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                "the data directory is on a file system mounted read-only"
            }
            FileError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "this user may not access the data directory; check its owner and mode"
            }
            FileError::Io { .. } => "check the data directory and its disk",
            FileError::Cancelled => "run it again to resume",
        }
    }

    /// True if the file does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Turns an `io::Error` into a [`FileError`] that names the action (a gerund) and the path.
pub fn failed(action: &'static str, path: &Utf8Path) -> impl Fn(io::Error) -> FileError + use<> {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FileError::Full { action, path: path.clone() },
        _ => FileError::Io { action, path: path.clone(), source },
    }
}

/// The folder of a file; `.` for a bare name.
fn parent(path: &Utf8Path) -> &Utf8Path {
    path.parent().filter(|p| !p.as_str().is_empty()).unwrap_or(Utf8Path::new("."))
}

pub fn create_dirs(path: &Utf8Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(failed("creating directory", path))
}

/// Writes a new file and flushes it to the disk; an existing file is overwritten in place, a link is refused. For folders that
/// get their final name later.
pub fn write_synced(path: &Utf8Path, bytes: &[u8]) -> Result<(), FileError> {
    let failed = failed("writing", path);
    create_dirs(parent(path))?;
    let mut file = open(path, Start::Empty, PUBLIC).map_err(&failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(&failed)
}

/// What happens to the content of a file that is opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The file must not exist yet, not even as a link (open(2): O_EXCL).
    New,
    /// Its content is dropped.
    Empty,
    /// Its content stays, to be continued or used as a lock.
    Keep,
    /// Everything is written at its end (O_APPEND).
    End,
}

/// Opens a file for reading and writing; creates it with the permission bits `mode` if it does not exist. A symbolic link is
/// refused (O_NOFOLLOW): whoever may write in the folder could otherwise choose the file that a privileged process overwrites.
#[allow(clippy::disallowed_methods, reason = "this is where files are opened for writing")]
pub fn open(path: &Utf8Path, start: Start, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).mode(mode).custom_flags(nix::libc::O_NOFOLLOW);
    match start {
        Start::New => options.write(true).create_new(true),
        Start::Empty => options.write(true).create(true).truncate(true),
        Start::Keep => options.write(true).create(true).truncate(false),
        Start::End => options.append(true).create(true),
    };
    options.open(path).map_err(explained)
}

/// The error of an open(2) with O_NOFOLLOW, in words.
fn explained(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(nix::libc::ELOOP) => io::Error::other("it is a symbolic link, which is not followed"),
        _ => error,
    }
}

/// Copies a file's content to `to`, which is created or overwritten, but not if it is a link ([`open`]). Not flushed.
pub fn copy(from: &Utf8Path, to: &Utf8Path) -> io::Result<File> {
    copy_as(from, to, PUBLIC)
}

/// The same; a file that is created gets the permission bits `mode` before it has any content.
pub fn copy_as(from: &Utf8Path, to: &Utf8Path, mode: u32) -> io::Result<File> {
    let mut file = open(to, Start::Empty, mode)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    Ok(file)
}

/// What an existing file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Both,
}

/// Opens an existing device or terminal; `flags` are those of open(2), such as `O_EXCL`. Links are followed: the names below
/// /dev/disk are links.
#[allow(clippy::disallowed_methods, reason = "this is where devices are opened")]
pub fn open_device(path: impl AsRef<Path>, access: Access, flags: i32) -> io::Result<File> {
    let (read, write) = (access != Access::Write, access != Access::Read);
    OpenOptions::new().read(read).write(write).custom_flags(flags).open(path)
}

/// Opens a folder, but no link to one: see [`open`].
pub fn open_dir(path: impl AsRef<Path>) -> io::Result<File> {
    open_device(path, Access::Read, nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW)
}

/// Sets the permission bits of a folder. A link is refused: whoever may write in the folder above it could otherwise choose what a
/// privileged process closes or opens.
pub fn set_dir_mode(path: &Utf8Path, mode: u32) -> io::Result<()> {
    open_dir(path)?.set_permissions(fs::Permissions::from_mode(mode))
}

/// Attempts to find an unused temporary name. With 64 random bits, a collision means that another process guessed the name.
const DRAWS: usize = 4;

/// An unpredictable temporary name in the folder of `path`: otherwise, a process with write access to the folder could place a
/// link with this name.
fn temporary(path: &Utf8Path) -> io::Result<Utf8PathBuf> {
    let drawn = u64::from_le_bytes(random::bytes().map_err(io::Error::other)?);
    Ok(path.with_file_name(format!(".{}.{drawn:016x}.part", path.file_name().unwrap_or("file"))))
}

/// Writes a file that must not exist yet.
fn write_new(path: &Utf8Path, bytes: &[u8], mode: u32, sync: bool) -> io::Result<()> {
    let mut file = open(path, Start::New, mode)?;
    let written = file.write_all(bytes).and_then(|()| if sync { file.sync_all() } else { Ok(()) });
    written.inspect_err(|_| drop(fs::remove_file(path)))
}

/// Writes a temporary file and renames it to `path`.
fn replace(path: &Utf8Path, bytes: &[u8], mode: u32, sync: bool) -> io::Result<()> {
    let mut tmp = temporary(path)?;
    let mut written = write_new(&tmp, bytes, mode, sync);
    for _ in 1..DRAWS {
        if !written.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::AlreadyExists) {
            break;
        }
        tmp = temporary(path)?;
        written = write_new(&tmp, bytes, mode, sync);
    }
    written?;
    fs::rename(&tmp, path).inspect_err(|_| drop(fs::remove_file(&tmp)))
}

/// Replaces or creates a file: temporary name, flush, rename, flush of the folder. Readers see either the old or the new
/// content. `mode` are the permission bits.
pub fn write_atomic(path: &Utf8Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let write = || {
        replace(path, bytes, mode, true)?;
        File::open(parent(path))?.sync_all()
    };
    write().map_err(failed("writing", path))
}

/// As [`write_atomic`], with the owner and the mode of another file: root may write what another user's program reads.
pub fn write_like(path: &Utf8Path, bytes: &[u8], like: &fs::Metadata) -> Result<(), FileError> {
    let write = || {
        let tmp = temporary(path)?;
        let written = write_new_like(&tmp, bytes, like).and_then(|()| fs::rename(&tmp, path));
        written.inspect_err(|_| drop(fs::remove_file(&tmp)))?;
        File::open(parent(path))?.sync_all()
    };
    write().map_err(failed("writing", path))
}

/// The open file gets owner and mode, not its name: the owner of the folder can put a link in its place at any time.
fn write_new_like(path: &Utf8Path, bytes: &[u8], like: &fs::Metadata) -> io::Result<()> {
    let mut file = open(path, Start::New, PRIVATE)?;
    file.write_all(bytes)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(&file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(like.permissions())?;
    file.sync_all()
}

/// As [`write_atomic`] with mode 0644, without flushing: for caches, which are checked whenever they are read. Creates the
/// folder.
pub fn replace_unsynced(path: &Utf8Path, bytes: &[u8]) -> Result<(), FileError> {
    create_dirs(parent(path))?;
    replace(path, bytes, PUBLIC, false).map_err(failed("writing", path))
}

/// Writes a kernel setting: a file below /proc or /sys takes its value in one write and is never replaced.
#[allow(clippy::disallowed_methods, reason = "such a file cannot be half-written, and cannot be replaced")]
pub fn write_kernel(path: &Utf8Path, value: &str) -> Result<(), FileError> {
    fs::write(path, value).map_err(failed("writing", path))
}

/// Creates a hard link to a file in an existing folder; copies it if the file system cannot link.
pub fn link(from: &Utf8Path, to: &Utf8Path) -> Result<(), FileError> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e)
            if matches!(e.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::TooManyLinks | io::ErrorKind::Unsupported) =>
        {
            let failed = failed("copying to", to);
            copy(from, to).and_then(|file| file.sync_all()).map_err(failed)
        }
        Err(e) => Err(failed("linking", to)(e)),
    }
}

/// As [`link`], and creates the folder of `to`.
pub fn link_creating(from: &Utf8Path, to: &Utf8Path) -> Result<(), FileError> {
    create_dirs(parent(to))?;
    link(from, to)
}

/// Exchanges two files or folders of one file system: at every moment both names exist (renameat2(2), RENAME_EXCHANGE).
pub fn exchange(a: &Utf8Path, b: &Utf8Path) -> Result<(), FileError> {
    let here = nix::fcntl::AT_FDCWD;
    nix::fcntl::renameat2(here, a.as_std_path(), here, b.as_std_path(), nix::fcntl::RenameFlags::RENAME_EXCHANGE)
        .map_err(|errno| failed("exchanging", b)(errno.into()))
}

/// Flushes a directory's entries to the disk.
pub fn sync_dir(path: &Utf8Path) -> Result<(), FileError> {
    File::open(path).and_then(|d| d.sync_all()).map_err(failed("flushing directory", path))
}

/// Flushes everything that was written to the file system of `path`: for a tree of thousands of directories, one wait instead
/// of thousands. Since Linux 5.8 it also reports failed writes (syncfs(2)).
pub fn sync_file_system(path: &Utf8Path) -> Result<(), FileError> {
    let dir = File::open(path).map_err(failed("flushing", path))?;
    nix::unistd::syncfs(&dir).map_err(|errno| failed("flushing", path)(errno.into()))
}

/// Reads a file of at most `limit` bytes.
pub fn read_limited(path: &Utf8Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let failed = failed("reading", path);
    let mut bytes = Vec::new();
    File::open(path).and_then(|f| f.take(limit.saturating_add(1)).read_to_end(&mut bytes)).map_err(&failed)?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// Reads a file of at most `limit` bytes, with its owner and mode. A symbolic link is refused (O_NOFOLLOW): root would read for the owner
/// of the folder what that user may not read.
pub fn read_with_owner(path: &Utf8Path, limit: u64) -> Result<(Vec<u8>, fs::Metadata), FileError> {
    let read = || {
        // Not waiting for whoever would write to a FIFO.
        let file = open_device(path, Access::Read, nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).map_err(explained)?;
        let (held, mut bytes) = (file.metadata()?, Vec::new());
        if !held.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        io::Result::Ok((bytes, held))
    };
    let (bytes, held) = read().map_err(failed("reading", path))?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok((bytes, held))
}

/// Length and sha256 of the remaining data.
pub fn digest_reader(mut reader: impl Read) -> io::Result<(u64, Digest)> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((size, Digest(hash.finalize().into()))),
            Ok(n) => {
                hash.update(&buffer[..n]);
                size += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Reports each read, and ends the file with an error once the work was cancelled.
struct Watched<'a> {
    file: File,
    progress: &'a dyn Progress,
}

impl Read for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buf)?;
        if n > 0 && self.progress.cancelled() {
            // Not `Interrupted`, which readers repeat.
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
        }
        self.progress.advance(n as u64);
        Ok(n)
    }
}

/// Length and sha256 of a file; `progress` is advanced by the bytes as they are read.
pub fn digest_file(path: &Utf8Path, progress: &dyn Progress) -> Result<(u64, Digest), FileError> {
    let file = File::open(path).map_err(failed("reading", path))?;
    digest_reader(Watched { file, progress }).map_err(|e| match e.kind() {
        io::ErrorKind::ConnectionAborted => FileError::Cancelled,
        _ => failed("reading", path)(e),
    })
}

/// Bytes that an ordinary user can still write to the file system of `path`.
pub fn free_space(path: &Utf8Path) -> Result<u64, FileError> {
    let stat = nix::sys::statvfs::statvfs(path.as_std_path());
    let stat = stat.map_err(|errno| failed("reading the free space of", path)(errno.into()))?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
