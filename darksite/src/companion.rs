//! The folder beside a lock file (`FILE.d`): upstream's Release files and the indexes to publish.
//!
//! With it a lock is enough to build the snapshot on any day, as long as the packages themselves can be fetched.

use std::collections::BTreeMap;
use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;

use crate::disk;
use crate::error::Error;
use crate::lock::{LockedFile, MAX_LOCK, SnapshotLock};
use crate::pack;
use crate::plan::{MAX_INDEX, Plan, UpstreamFile};
use crate::texts::{IndexText, Texts};
use crate::trust::MAX_INRELEASE;

/// What the folder holds, each checked against the lock.
#[derive(Debug, Default)]
pub struct Companion {
    /// By suite.
    pub(crate) releases: BTreeMap<String, UpstreamFile>,
    /// All of the lock's indexes, or none.
    pub(crate) indexes: Option<(Vec<IndexText>, Texts)>,
}

fn folder(lock: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{lock}.d"))
}

fn flat(name: &str) -> String {
    name.replace('/', "_")
}

/// Writes the lock of a plan to `path`, and the folder beside it. The lock comes last: it never stands beside another's folder
/// for longer than this takes, and then the digests in it tell.
pub fn write_lock(plan: &Plan, path: &Utf8Path) -> Result<(), Error> {
    let dir = folder(path);
    for file in &plan.upstream {
        disk::write_whole(&dir.join(format!("{}.InRelease", flat(&file.suite))), &file.bytes)?;
    }
    for index in &plan.indexes {
        let packed =
            pack::pack(&index.named(&plan.texts), None).map_err(|source| Error::Pack { what: index.path.clone(), source })?;
        disk::write_whole(&dir.join(format!("{}.xz", flat(&index.path))), &packed.xz)?;
    }
    disk::write_whole(path, plan.lock.render().as_bytes())?;
    Ok(())
}

/// Reads a lock file and what lies beside it.
pub fn read_lock(path: &Utf8Path) -> Result<(SnapshotLock, Companion), Error> {
    let failed = |source| Error::Lock { path: path.to_owned(), source };
    let bytes = disk::read_limited(path, MAX_LOCK as u64)?;
    let text = String::from_utf8(bytes).map_err(|_| Error::NotUtf8 { url: path.to_string() })?;
    let lock = SnapshotLock::parse(&text).map_err(failed)?;
    let dir = folder(path);
    if !dir.is_dir() {
        return Ok((lock, Companion::default()));
    }
    let mut releases = BTreeMap::new();
    for upstream in &lock.upstream {
        let file = dir.join(format!("{}.InRelease", flat(&upstream.suite)));
        let bytes = disk::read_limited(&file, MAX_INRELEASE as u64)?;
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

/// An index out of its plain text.
pub(crate) fn index_of(path: &str, text: String, texts: &mut Texts) -> IndexText {
    let stanzas = if is_list(path) {
        let number = texts.add(std::sync::Arc::new(text));
        texts.lines_of(number)
    } else {
        texts.add_paragraphs(text)
    };
    IndexText { path: path.to_owned(), stanzas }
}

/// True for indexes that are lines instead of paragraphs.
fn is_list(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with("Contents-"))
}

fn unpack(file: &Utf8Path, index: &LockedFile) -> Result<String, Error> {
    let wrong = || Error::Companion { file: file.to_owned() };
    let packed = disk::read_limited(file, MAX_INDEX)?;
    let mut bytes = Vec::new();
    let limit = index.size.min(MAX_INDEX) + 1;
    liblzma::read::XzDecoder::new(&packed[..]).take(limit).read_to_end(&mut bytes).map_err(|_| wrong())?;
    if bytes.len() as u64 != index.size || Digest::of(&bytes) != index.sha256 {
        return Err(wrong());
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}
