//! Downloads into the blob store: every package once, named by its sha256, shared by all snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8Path;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::blobs::blob_path;
use host::files::{self, FileError, PUBLIC, Start, failed, open};
use host::parallel::{cores, each, try_each};
use sha2::{Digest as _, Sha256};

use crate::upstream::fetch::{self, Fetch, FetchError, MAX_TRIES};

/// Concurrent downloads.
pub const THREADS: usize = 6;

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{url} has sha256 {found}, the signed index says {expected}")]
    Mismatch { url: String, found: Digest, expected: Digest },
}

impl PoolError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            PoolError::Fetch(e) => e.hint(),
            PoolError::File(e) => e.hint(),
            PoolError::Mismatch { .. } => {
                "the mirror's file differs from the one that Debian signed, and nothing was kept; use another mirror"
            }
        }
    }
}

/// A file to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub url: String,
    pub size: u64,
    pub sha256: Digest,
}

/// Size of a blob, if it exists.
pub fn size_of(blobs: &Utf8Path, digest: &Digest) -> Option<u64> {
    fs::metadata(blob_path(blobs, digest)).ok().filter(fs::Metadata::is_file).map(|m| m.len())
}

/// True if the blob exists with its full size. A blob gets its name only after its digest was checked.
pub fn has(blobs: &Utf8Path, wanted: &Wanted) -> bool {
    size_of(blobs, &wanted.sha256) == Some(wanted.size)
}

/// Stores bytes whose digest was checked.
pub fn keep(blobs: &Utf8Path, tmp: &Utf8Path, bytes: &[u8], digest: &Digest) -> Result<(), FileError> {
    let part = tmp.join(format!("{digest}.whole"));
    files::write_synced(&part, bytes)?;
    place(&part, blobs, digest)
}

/// Renames a complete, flushed file to its name in the blob store.
pub(crate) fn place(part: &Utf8Path, blobs: &Utf8Path, digest: &Digest) -> Result<(), FileError> {
    let blob = blob_path(blobs, digest);
    let dir = blob.parent().unwrap_or(blobs);
    files::create_dirs(dir)?;
    fs::rename(part, &blob).map_err(failed("naming", &blob))?;
    files::sync_dir(dir)
}

/// Fetches what is missing and returns its digests. The first error stops all downloads; incomplete files are kept for the
/// next run.
pub fn fetch_all(
    wanted: &[Wanted],
    blobs: &Utf8Path,
    tmp: &Utf8Path,
    fetch: &dyn Fetch,
    progress: &dyn Progress,
) -> Result<BTreeSet<Digest>, PoolError> {
    files::create_dirs(tmp)?;
    let missing: Vec<&Wanted> = missing(wanted, blobs).into_values().collect();
    progress.begin("fetching packages", Some(missing.iter().map(|w| w.size).sum()));
    let stop = AtomicBool::new(false);
    let fetched = try_each(THREADS, &missing, |_, wanted| {
        let job = Job { wanted, blobs, tmp, fetch, progress, stop: &stop };
        match job.run() {
            // This one was only stopped: report the error that stopped it.
            Err(_) if stop.swap(true, Ordering::SeqCst) => Ok(wanted.sha256),
            other => other.map(|()| wanted.sha256),
        }
    });
    progress.end();
    Ok(fetched?.into_iter().collect())
}

/// What is not in the store, each digest once.
fn missing<'a>(wanted: &'a [Wanted], blobs: &Utf8Path) -> BTreeMap<Digest, &'a Wanted> {
    let here = each(cores(), wanted, |_, w| has(blobs, w));
    wanted.iter().zip(here).filter(|(_, here)| !here).map(|(w, _)| (w.sha256, w)).collect()
}

struct Job<'a> {
    wanted: &'a Wanted,
    blobs: &'a Utf8Path,
    tmp: &'a Utf8Path,
    fetch: &'a dyn Fetch,
    progress: &'a dyn Progress,
    stop: &'a AtomicBool,
}

impl Job<'_> {
    fn run(&self) -> Result<(), PoolError> {
        let part = self.tmp.join(format!("{}.part", self.wanted.sha256));
        let io = failed("writing", &part);
        let mut file = open(&part, Start::Keep, PUBLIC).map_err(&io)?;
        // Another process may be fetching the same file; then its result is ours too.
        file.lock().map_err(&io)?;
        if has(self.blobs, self.wanted) {
            return Ok(());
        }
        let mut tries = 0;
        let mut fresh = false;
        loop {
            self.stopped()?;
            tries += 1;
            match self.attempt(&mut file, &part) {
                Ok(found) if found == self.wanted.sha256 => break,
                Ok(found) => {
                    file.set_len(0).map_err(&io)?;
                    // The part of an earlier run may be damaged: try once more from the start.
                    if fresh {
                        let _ = fs::remove_file(&part);
                        return Err(PoolError::Mismatch { url: self.wanted.url.clone(), found, expected: self.wanted.sha256 });
                    }
                    fresh = true;
                }
                Err(PoolError::Fetch(e)) if e.is_transient() && tries < MAX_TRIES => fetch::pause(tries),
                Err(e) => return Err(e),
            }
        }
        file.sync_all().map_err(&io)?;
        Ok(place(&part, self.blobs, &self.wanted.sha256)?)
    }

    fn stopped(&self) -> Result<(), PoolError> {
        if self.stop.load(Ordering::Relaxed) || self.progress.cancelled() { Err(FileError::Cancelled.into()) } else { Ok(()) }
    }

    /// One request: resumes after the part on disk and returns the digest once the size is reached.
    fn attempt(&self, file: &mut File, part: &Utf8Path) -> Result<Digest, PoolError> {
        let io = failed("writing", part);
        let want = self.wanted.size;
        let mut hasher = Sha256::new();
        let mut have = file.metadata().map_err(&io)?.len();
        if have > want {
            file.set_len(0).map_err(&io)?;
            have = 0;
        }
        hash_start(file, have, &mut hasher).map_err(&io)?;
        if have < want {
            let mut body = self.fetch.get(&self.wanted.url, have)?;
            if body.offset != have {
                file.set_len(0).map_err(&io)?;
                hasher = Sha256::new();
                have = 0;
            }
            file.seek(SeekFrom::Start(have)).map_err(&io)?;
            have = self.copy(&mut body.reader, file, &mut hasher, have).map_err(|e| e.at(&io))?;
        }
        if have < want {
            return Err(FetchError::Short { url: self.wanted.url.clone(), got: have, want }.into());
        }
        Ok(Digest(hasher.finalize().into()))
    }

    fn copy(&self, from: &mut dyn Read, to: &mut File, hasher: &mut Sha256, mut have: u64) -> Result<u64, CopyError> {
        let url = || self.wanted.url.clone();
        let mut buffer = vec![0u8; 128 << 10];
        loop {
            self.stopped().map_err(CopyError::Pool)?;
            let n = from.read(&mut buffer).map_err(|source| CopyError::Pool(FetchError::Read { url: url(), source }.into()))?;
            if n == 0 {
                return Ok(have);
            }
            if have + n as u64 > self.wanted.size {
                let too_large = FetchError::TooLarge { url: url(), limit: self.wanted.size };
                return Err(CopyError::Pool(too_large.into()));
            }
            to.write_all(&buffer[..n]).map_err(CopyError::Write)?;
            hasher.update(&buffer[..n]);
            have += n as u64;
            self.progress.advance(n as u64);
        }
    }
}

enum CopyError {
    Pool(PoolError),
    Write(std::io::Error),
}

impl CopyError {
    fn at(self, io: &impl Fn(std::io::Error) -> FileError) -> PoolError {
        match self {
            CopyError::Pool(e) => e,
            CopyError::Write(e) => io(e).into(),
        }
    }
}

fn hash_start(file: &mut File, len: u64, hasher: &mut Sha256) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let mut start = Read::by_ref(file).take(len);
    let mut buffer = vec![0u8; 128 << 10];
    loop {
        match start.read(&mut buffer)? {
            0 => return Ok(()),
            n => hasher.update(&buffer[..n]),
        }
    }
}
