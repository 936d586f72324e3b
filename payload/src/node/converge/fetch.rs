//! Payloads on this node: from the image or over the control plane, verified, then unpacked.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom};

use camino::Utf8PathBuf;
use cluster_seed::converge::payload::MAX_ARCHIVE;
use cluster_seed::ids::Digest;
use host::files::{FileError, PRIVATE, Start, create_dirs, digest_reader, failed, open, sync_dir, sync_file_system};

use super::places::Places;
use super::unpack::{UnpackError, unpack};
use crate::http::{Http, HttpError, chain};

/// Unpacked payloads that stay: the newest, and the one before it.
const KEEP: usize = 2;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the size of the payload, {0} bytes, is not allowed")]
    Size(u64),
    #[error("downloading the payload")]
    Http(#[from] HttpError),
    #[error("the control plane is not up, and the payload is not part of the image")]
    NoPlane,
    #[error("the downloaded payload has digest {found}, not {wanted}")]
    Digest { wanted: Digest, found: Digest },
    #[error("unpacking the payload")]
    Unpack(#[from] UnpackError),
    #[error(transparent)]
    File(#[from] FileError),
}

impl FetchError {
    /// True if the seed may have it later.
    pub fn is_temporary(&self) -> bool {
        match self {
            FetchError::Http(e) => e.is_temporary(),
            FetchError::NoPlane => true,
            _ => false,
        }
    }

    /// True if other bytes arrived or were stored than the seed has, as after a power failure: another download may be right.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            FetchError::Digest { .. } | FetchError::Http(HttpError::Short { .. } | HttpError::TooLarge(_)) | FetchError::File(_)
        )
    }
}

/// A payload that a run needs.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub digest: Digest,
    /// Bytes of the archive.
    pub size: u64,
}

/// The directory of the unpacked payload, if it is there.
pub fn unpacked(places: Places<'_>, payload: &Digest) -> Option<Utf8PathBuf> {
    Some(places.unpacked(payload)).filter(|dir| dir.is_dir())
}

/// Makes sure that the payload is unpacked; `fetched` is called with the bytes that were downloaded so far.
///
/// # Errors
/// If it cannot be downloaded, is not what the orders name, or cannot be unpacked.
pub fn ensure(places: Places<'_>, wanted: Wanted, seed: Option<&Http>, fetched: &dyn Fn(u64)) -> Result<Utf8PathBuf, FetchError> {
    if let Some(dir) = unpacked(places, &wanted.digest) {
        return Ok(dir);
    }
    if wanted.size > MAX_ARCHIVE {
        return Err(FetchError::Size(wanted.size));
    }
    create_dirs(&places.cache())?;
    match baked(places, wanted) {
        Ok(Some(archive)) => return place(places, &wanted.digest, archive),
        Ok(None) => {}
        Err(e) => tracing::warn!(error = %chain(&e), "the payload of the image is not used"),
    }
    let part = places.cache().join(format!("{}.part", wanted.digest));
    let archive = download(&part, wanted, seed.ok_or(FetchError::NoPlane)?, fetched)?;
    let dir = place(places, &wanted.digest, archive)?;
    fs::remove_file(&part).map_err(failed("deleting", &part))?;
    Ok(dir)
}

/// The archive that the image contains, if its digest is right.
fn baked(places: Places<'_>, wanted: Wanted) -> Result<Option<File>, FetchError> {
    let path = places.baked(&wanted.digest);
    match File::open(&path) {
        Ok(file) => verified(file, wanted.digest, &path).map(Some),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("opening", &path)(e).into()),
    }
}

/// Verifies the file's digest, and rewinds it. What is read later is the same open file, which only root can write.
fn verified(mut file: File, wanted: Digest, path: &camino::Utf8Path) -> Result<File, FetchError> {
    let failed = failed("reading", path);
    file.seek(SeekFrom::Start(0)).map_err(&failed)?;
    let (_, found) = digest_reader(&file).map_err(&failed)?;
    if found != wanted {
        return Err(FetchError::Digest { wanted, found });
    }
    file.seek(SeekFrom::Start(0)).map_err(&failed)?;
    Ok(file)
}

/// Continues a download that was interrupted. A file with the wrong content is deleted.
fn download(part: &camino::Utf8Path, wanted: Wanted, seed: &Http, fetched: &dyn Fn(u64)) -> Result<File, FetchError> {
    let mut file = open(part, Start::Keep, PRIVATE).map_err(failed("opening", part))?;
    seed.download(&format!("/payload/{}", wanted.digest), &mut file, wanted.size, fetched)?;
    verified(file, wanted.digest, part).inspect_err(|_| drop(fs::remove_file(part)))
}

/// Unpacks into a temporary directory, and renames that once everything is on the disk.
fn place(places: Places<'_>, digest: &Digest, archive: File) -> Result<Utf8PathBuf, FetchError> {
    let (dir, new) = (places.unpacked(digest), places.cache().join(format!("{digest}.new")));
    if fs::symlink_metadata(&new).is_ok() {
        fs::remove_dir_all(&new).map_err(failed("deleting", &new))?;
    }
    create_dirs(&new)?;
    let unpacked = unpack(archive, &new).inspect_err(|_| drop(fs::remove_dir_all(&new)))?;
    sync_file_system(&new)?;
    fs::rename(&new, &dir).map_err(failed("renaming", &new))?;
    sync_dir(&places.cache())?;
    tracing::info!(payload = %digest, files = unpacked, "payload unpacked");
    Ok(dir)
}

/// Deletes everything but the newest payloads and those in `used`. A failure is only logged.
pub fn prune(places: Places<'_>, used: &[Digest]) {
    let cache = places.cache();
    let Ok(entries) = cache.read_dir_utf8() else { return };
    let (mut others, mut gone) = (Vec::new(), Vec::new());
    for entry in entries.filter_map(Result::ok) {
        let (name, path) = (entry.file_name(), entry.path().to_owned());
        match name.parse::<Digest>() {
            Ok(digest) if used.contains(&digest) => {}
            Ok(_) => others.push((entry.metadata().and_then(|m| m.modified()).ok(), path)),
            // What an interrupted download or run left.
            Err(_) if used.iter().any(|digest| name.starts_with(&digest.to_string())) => {}
            Err(_) => gone.push(path),
        }
    }
    others.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    gone.extend(others.into_iter().skip(KEEP.saturating_sub(used.len())).map(|(_, path)| path));
    for path in gone {
        let done = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match done {
            Ok(()) => tracing::info!(%path, "old payload deleted"),
            Err(error) => tracing::warn!(%error, %path, "old payload not deleted"),
        }
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
