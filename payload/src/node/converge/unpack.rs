//! Unpacks the archive of a payload: directories and regular files, within the limits of the format.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use camino::Utf8Path;
use cluster_seed::converge::payload::{MAX_FILE, MAX_FILES, MAX_PATH, MAX_UNPACKED, is_safe_path};
use host::files::{FileError, Start, create_dirs, failed, open};
use tar::EntryType;

/// Bytes of an archive that are not content: per entry its header, a long name with a header of its own, and padding.
const OVERHEAD: u64 = (MAX_FILES as u64) * (4 * 512 + 2 * MAX_PATH as u64);
/// Most entries: directories may have entries of their own.
const MAX_ENTRIES: usize = 2 * MAX_FILES;
const PLAIN: u32 = 0o644;
const EXECUTABLE: u32 = 0o755;

/// Why an archive is not a payload.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("the archive of the payload is damaged")]
    Read(#[source] io::Error),
    #[error("the payload contains the path {0:?}, which is not allowed")]
    Path(String),
    #[error("the payload contains {path:?}, which is neither a file nor a directory")]
    Kind { path: String },
    #[error("the payload contains {path:?} twice")]
    Twice { path: String },
    #[error("the payload is larger than allowed: {0}")]
    TooLarge(&'static str),
    #[error(transparent)]
    File(#[from] FileError),
}

/// Unpacks the tar archive compressed by zstd from `archive` into the empty directory `into`. Returns the number of files.
///
/// # Errors
/// If the archive is not a payload; `into` then contains a part of it.
pub fn unpack(archive: impl Read, into: &Utf8Path) -> Result<usize, UnpackError> {
    let decoder = zstd::Decoder::new(archive).map_err(UnpackError::Read)?;
    let mut archive = tar::Archive::new(decoder.take(MAX_UNPACKED + OVERHEAD));
    let (mut files, mut left) = (0, MAX_UNPACKED);
    for (count, entry) in archive.entries().map_err(UnpackError::Read)?.enumerate() {
        if count >= MAX_ENTRIES {
            return Err(UnpackError::TooLarge("entries"));
        }
        let mut entry = entry.map_err(UnpackError::Read)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        let path = if kind == EntryType::Directory { name.strip_suffix('/').unwrap_or(&name) } else { &name };
        if !is_safe_path(path) {
            return Err(UnpackError::Path(path.chars().take(120).collect()));
        }
        match kind {
            EntryType::Directory => directory(into, path)?,
            EntryType::Regular => {
                files += 1;
                let size = entry.size();
                if files > MAX_FILES {
                    return Err(UnpackError::TooLarge("number of files"));
                }
                if size > MAX_FILE {
                    return Err(UnpackError::TooLarge("a file"));
                }
                left = left.checked_sub(size).ok_or(UnpackError::TooLarge("all files together"))?;
                let mode = entry.header().mode().map_err(UnpackError::Read)?;
                let mode = if mode & 0o111 == 0 { PLAIN } else { EXECUTABLE };
                file(into, path, mode, size, &mut entry)?;
            }
            _ => return Err(UnpackError::Kind { path: path.to_owned() }),
        }
    }
    // tar stops at two blocks of zeros; what follows would be unseen content.
    let mut rest = archive.into_inner();
    let mut block = [0; 4096];
    loop {
        match rest.read(&mut block).map_err(UnpackError::Read)? {
            0 => return Ok(files),
            n if block[..n].iter().all(|b| *b == 0) => {}
            _ => return Err(UnpackError::Read(io::Error::other("there is content after its end"))),
        }
    }
}

fn directory(into: &Utf8Path, path: &str) -> Result<(), UnpackError> {
    let full = into.join(path);
    create_dirs(&full)?;
    Ok(fs::set_permissions(&full, Permissions::from_mode(EXECUTABLE)).map_err(failed("setting the mode of", &full))?)
}

/// A directory in its place, or a file in the place of a directory above it, is an error too.
fn file(into: &Utf8Path, path: &str, mode: u32, size: u64, content: &mut impl Read) -> Result<(), UnpackError> {
    let full = into.join(path);
    create_dirs(full.parent().unwrap_or(into))?;
    let mut file: File = match open(&full, Start::New, mode) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(UnpackError::Twice { path: path.to_owned() }),
        Err(e) => return Err(failed("creating", &full)(e).into()),
    };
    let (mut left, mut buffer) = (size, vec![0; 64 << 10]);
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = content.read(&mut buffer[..most]).map_err(UnpackError::Read)?;
        if n == 0 {
            return Err(UnpackError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        file.write_all(&buffer[..n]).map_err(failed("writing", &full))?;
        left -= n as u64;
    }
    // The umask may have cleared bits.
    Ok(file.set_permissions(Permissions::from_mode(mode)).map_err(failed("setting the mode of", &full))?)
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
