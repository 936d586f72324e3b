//! Plans on disk: a lock file with its folder (`FILE.d`), and the lock and indexes of a snapshot.

use std::collections::BTreeMap;
use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use host::files::{self, PUBLIC};

use crate::error::Error;
use crate::format::index::MAX_INDEX;
use crate::format::layout::flat;
use crate::format::lock::{LockedFile, MAX_LOCK, SnapshotLock};
use crate::format::texts::{Texts, index_of};
use crate::plan::companion::Companion;
use crate::plan::draft::Plan;
use crate::publish::pack;
use crate::upstream::suite::UpstreamFile;
use crate::upstream::trust::MAX_INRELEASE;

fn folder(lock: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{lock}.d"))
}

/// Writes the lock of a plan to `path`, and the folder beside it. The lock is written last: until then, the digests in an
/// older lock show that the folder is not its own.
pub fn write_lock(plan: &Plan, path: &Utf8Path) -> Result<(), Error> {
    let dir = folder(path);
    files::create_dirs(&dir)?;
    for file in &plan.upstream {
        files::write_atomic(&dir.join(format!("{}.InRelease", flat(&file.suite))), &file.bytes, PUBLIC)?;
    }
    for index in &plan.indexes {
        let packed =
            pack::pack(&index.named(&plan.texts), None).map_err(|source| Error::Pack { what: index.path.clone(), source })?;
        files::write_atomic(&dir.join(format!("{}.xz", flat(&index.path))), &packed.xz, PUBLIC)?;
    }
    files::write_atomic(path, plan.lock.render().as_bytes(), PUBLIC)?;
    Ok(())
}

/// Reads a lock file and the folder beside it.
pub fn read_lock(path: &Utf8Path) -> Result<(SnapshotLock, Companion), Error> {
    let lock = lock_at(path)?;
    let dir = folder(path);
    if !dir.is_dir() {
        return Ok((lock, Companion::default()));
    }
    let mut releases = BTreeMap::new();
    for upstream in &lock.upstream {
        let file = dir.join(format!("{}.InRelease", flat(&upstream.suite)));
        let bytes = files::read_limited(&file, MAX_INRELEASE as u64)?;
        if Digest::of(&bytes) != upstream.sha256 {
            return Err(Error::Companion { file });
        }
        releases.insert(upstream.suite.clone(), UpstreamFile { suite: upstream.suite.clone(), bytes });
    }
    let mut texts = Texts::default();
    let mut indexes = Vec::new();
    for index in &lock.indexes {
        let file = dir.join(format!("{}.xz", flat(&index.path)));
        let text = unpack(&file, index)?;
        indexes.push(index_of(&index.path, text, &mut texts));
    }
    Ok((lock, Companion { releases, indexes: Some((indexes, texts)) }))
}

/// Reads the lock and the indexes of a published snapshot. Nothing is verified: see [`crate::audit::verify`].
pub fn read_snapshot(dir: &Utf8Path) -> Result<(SnapshotLock, Companion), Error> {
    let lock = lock_at(&dir.join("snapshot.lock"))?;
    let mut texts = Texts::default();
    let mut indexes = Vec::new();
    for file in &lock.indexes {
        let path = dir.join("dists").join(&lock.suite).join(&file.path);
        indexes.push(index_of(&file.path, text(&path, MAX_INDEX)?, &mut texts));
    }
    Ok((lock, Companion { releases: BTreeMap::new(), indexes: Some((indexes, texts)) }))
}

fn text(path: &Utf8Path, limit: u64) -> Result<String, Error> {
    String::from_utf8(files::read_limited(path, limit)?).map_err(|_| Error::NotUtf8 { url: path.to_string() })
}

fn lock_at(path: &Utf8Path) -> Result<SnapshotLock, Error> {
    SnapshotLock::parse(&text(path, MAX_LOCK as u64)?).map_err(|source| Error::Lock { path: path.to_owned(), source })
}

fn unpack(file: &Utf8Path, index: &LockedFile) -> Result<String, Error> {
    let wrong = || Error::Companion { file: file.to_owned() };
    let packed = files::read_limited(file, MAX_INDEX)?;
    let mut bytes = Vec::new();
    let limit = index.size.min(MAX_INDEX) + 1;
    liblzma::read::XzDecoder::new(&packed[..]).take(limit).read_to_end(&mut bytes).map_err(|_| wrong())?;
    if bytes.len() as u64 != index.size || Digest::of(&bytes) != index.sha256 {
        return Err(wrong());
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}
