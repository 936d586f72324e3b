//! Writing files so that a power cut leaves either the old state or the new one.

use std::fs::{self, File};
use std::io::{self, Read, Write};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use sha2::{Digest as _, Sha256};

#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("the disk is full while {action} {path}")]
    Full { action: &'static str, path: Utf8PathBuf },
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

impl DiskError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            DiskError::Full { .. } => "free some space and run it again; what is complete is kept",
            DiskError::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                "the data directory is on a file system mounted read-only"
            }
            DiskError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "the data directory does not belong to this user"
            }
            DiskError::Io { .. } => "check the data directory and its disk",
            DiskError::Cancelled => "run it again to go on from here",
        }
    }
}

/// Gives an `io::Error` its place; a full disk is told apart.
pub fn failed(action: &'static str, path: &Utf8Path) -> impl Fn(io::Error) -> DiskError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskError::Full { action, path: path.clone() },
        _ => DiskError::Io { action, path: path.clone(), source },
    }
}

pub fn create_dirs(path: &Utf8Path) -> Result<(), DiskError> {
    fs::create_dir_all(path).map_err(failed("creating directory", path))
}

/// Writes a new file and flushes it to the disk.
pub fn write_file(path: &Utf8Path, bytes: &[u8]) -> Result<(), DiskError> {
    let failed = failed("writing", path);
    if let Some(parent) = path.parent() {
        create_dirs(parent)?;
    }
    let mut file = File::create(path).map_err(&failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(&failed)
}

/// As [`replace_file`], flushed to the disk before it gets its name.
pub fn write_whole(path: &Utf8Path, bytes: &[u8]) -> Result<(), DiskError> {
    let tmp = Utf8PathBuf::from(format!("{path}.{}.new", std::process::id()));
    write_file(&tmp, bytes).inspect_err(|_| _ = fs::remove_file(&tmp))?;
    fs::rename(&tmp, path).map_err(failed("naming", path))?;
    path.parent().map_or(Ok(()), |parent| sync_dir(if parent.as_str().is_empty() { Utf8Path::new(".") } else { parent }))
}

/// Puts a file in the place of another, or makes it; readers see the old one or the new one, whole. It is not flushed to
/// the disk: for what is checked whenever it is read.
pub fn replace_file(path: &Utf8Path, bytes: &[u8]) -> Result<(), DiskError> {
    let failed = failed("writing", path);
    if let Some(parent) = path.parent() {
        create_dirs(parent)?;
    }
    let tmp = Utf8PathBuf::from(format!("{path}.{}.new", std::process::id()));
    let written = fs::write(&tmp, bytes).and_then(|()| fs::rename(&tmp, path));
    written.inspect_err(|_| _ = fs::remove_file(&tmp)).map_err(&failed)
}

/// Gives an existing file a second name; copies it where the file system cannot.
pub fn link(from: &Utf8Path, to: &Utf8Path) -> Result<(), DiskError> {
    if let Some(parent) = to.parent() {
        create_dirs(parent)?;
    }
    link_into(from, to)
}

/// As [`link`], into a folder that is there.
pub fn link_into(from: &Utf8Path, to: &Utf8Path) -> Result<(), DiskError> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e)
            if matches!(e.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::TooManyLinks | io::ErrorKind::Unsupported) =>
        {
            let failed = failed("copying to", to);
            fs::copy(from, to).map_err(&failed)?;
            File::open(to).and_then(|f| f.sync_all()).map_err(failed)
        }
        Err(e) => Err(failed("linking", to)(e)),
    }
}

/// Flushes a directory's entries to the disk.
pub fn sync_dir(path: &Utf8Path) -> Result<(), DiskError> {
    File::open(path).and_then(|d| d.sync_all()).map_err(failed("flushing directory", path))
}

/// Flushes everything that was written to the file system `path` lies on: for a tree of thousands of directories one wait
/// instead of one for each. Since Linux 5.8 it tells of a failed write too (syncfs(2)).
pub fn sync_file_system(path: &Utf8Path) -> Result<(), DiskError> {
    let dir = File::open(path).map_err(failed("flushing", path))?;
    nix::unistd::syncfs(&dir).map_err(|errno| failed("flushing", path)(errno.into()))
}

/// Reads a small file, at most `limit` bytes.
pub fn read_limited(path: &Utf8Path, limit: u64) -> Result<Vec<u8>, DiskError> {
    let failed = failed("reading", path);
    let mut bytes = Vec::new();
    File::open(path).and_then(|f| f.take(limit + 1).read_to_end(&mut bytes)).map_err(&failed)?;
    if bytes.len() as u64 > limit {
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes"))));
    }
    Ok(bytes)
}

/// Size and sha256 of a file; tells `progress` the bytes as they are read.
pub fn digest_file(path: &Utf8Path, progress: &dyn Progress) -> Result<(u64, Digest), DiskError> {
    let failed = failed("reading", path);
    let mut file = File::open(path).map_err(&failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 256 << 10];
    let mut size = 0;
    loop {
        let n = file.read(&mut buffer).map_err(&failed)?;
        if n == 0 {
            return Ok((size, Digest(hasher.finalize().into())));
        }
        if progress.cancelled() {
            return Err(DiskError::Cancelled);
        }
        hasher.update(&buffer[..n]);
        size += n as u64;
        progress.advance(n as u64);
    }
}
