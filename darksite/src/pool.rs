//! The blob store: every package once, named by its sha256, shared by all snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use sha2::{Digest as _, Sha256};

use crate::disk::{self, DiskError, failed};
use crate::fetch::{self, Fetch, FetchError, MAX_TRIES};
use crate::pack;

/// Downloads at the same time.
pub const THREADS: usize = 6;

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{url} has sha256 {found}, the signed index says {expected}")]
    Mismatch { url: String, found: Digest, expected: Digest },
}

impl PoolError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            PoolError::Fetch(e) => e.hint(),
            PoolError::Disk(e) => e.hint(),
            PoolError::Mismatch { .. } => {
                "the mirror serves other bytes than Debian signed; nothing of it was kept, use another mirror"
            }
        }
    }
}

/// A file to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub url: String,
    pub size: u64,
    pub sha256: Digest,
}

/// Where the blob of a digest lies: `<blobs>/sha256/ab/<64 hex digits>`.
pub fn blob_path(blobs: &Utf8Path, digest: &Digest) -> Utf8PathBuf {
    let hex = digest.to_string();
    blobs.join("sha256").join(&hex[..2]).join(&hex)
}

/// True if the blob is there with its full size. A blob gets its name only after its digest was checked.
pub fn has(blobs: &Utf8Path, wanted: &Wanted) -> bool {
    fs::metadata(blob_path(blobs, &wanted.sha256)).is_ok_and(|m| m.is_file() && m.len() == wanted.size)
}

/// Puts bytes whose digest was checked into the store.
pub fn keep(blobs: &Utf8Path, tmp: &Utf8Path, bytes: &[u8], digest: &Digest) -> Result<(), DiskError> {
    let part = tmp.join(format!("{digest}.whole"));
    disk::write_file(&part, bytes)?;
    place(&part, blobs, digest)
}

/// Gives a file that is complete and flushed its name in the store.
fn place(part: &Utf8Path, blobs: &Utf8Path, digest: &Digest) -> Result<(), DiskError> {
    let blob = blob_path(blobs, digest);
    let shelf = blob.parent().unwrap_or(blobs);
    disk::create_dirs(shelf)?;
    fs::rename(part, &blob).map_err(failed("naming", &blob))?;
    disk::sync_dir(shelf)
}

/// Fetches all that is missing, several at a time, and tells what that was. The first error stops the rest; parts stay for
/// the next run.
pub fn fetch_all(
    wanted: &[Wanted],
    blobs: &Utf8Path,
    tmp: &Utf8Path,
    fetch: &dyn Fetch,
    progress: &dyn Progress,
) -> Result<BTreeSet<Digest>, PoolError> {
    disk::create_dirs(tmp)?;
    let missing: Vec<&Wanted> = missing(wanted, blobs).into_values().collect();
    progress.begin("fetching packages", Some(missing.iter().map(|w| w.size).sum()));
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let first_error = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(missing.len()) {
            scope.spawn(|| {
                while let Some(one) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let job = Job { wanted: one, blobs, tmp, fetch, progress, stop: &stop };
                    if let Err(e) = job.run() {
                        // The first error is the one to tell; the others follow from stopping.
                        if !stop.swap(true, Ordering::SeqCst) {
                            *first_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                        }
                        return;
                    }
                }
            });
        }
    });
    progress.end();
    match first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(e) => Err(e),
        None => Ok(missing.iter().map(|w| w.sha256).collect()),
    }
}

/// What is not in the store, each digest once; looked for on all cores.
fn missing<'a>(wanted: &'a [Wanted], blobs: &Utf8Path) -> BTreeMap<Digest, &'a Wanted> {
    let share = wanted.len().div_ceil(pack::threads()).max(1);
    let of = |share: &'a [Wanted]| share.iter().filter(|w| !has(blobs, w)).map(|w| (w.sha256, w)).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let threads: Vec<_> = wanted.chunks(share).map(|share| scope.spawn(move || of(share))).collect();
        // A panic of the thread is this thread's panic.
        threads.into_iter().flat_map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
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
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&part).map_err(&io)?;
        // Another process may fetch the same file; then its result is ours too.
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
                    // A part of an earlier run may be to blame: once more from the start.
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
        if self.stop.load(Ordering::Relaxed) || self.progress.cancelled() { Err(DiskError::Cancelled.into()) } else { Ok(()) }
    }

    /// One request: goes on after what the part holds and returns the digest once the size is reached.
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
            self.stopped().map_err(CopyError::Told)?;
            let n = from.read(&mut buffer).map_err(|source| CopyError::Told(FetchError::Read { url: url(), source }.into()))?;
            if n == 0 {
                return Ok(have);
            }
            if have + n as u64 > self.wanted.size {
                let too_large = FetchError::TooLarge { url: url(), limit: self.wanted.size };
                return Err(CopyError::Told(too_large.into()));
            }
            to.write_all(&buffer[..n]).map_err(CopyError::Write)?;
            hasher.update(&buffer[..n]);
            have += n as u64;
            self.progress.advance(n as u64);
        }
    }
}

enum CopyError {
    Told(PoolError),
    Write(std::io::Error),
}

impl CopyError {
    fn at(self, io: &impl Fn(std::io::Error) -> DiskError) -> PoolError {
        match self {
            CopyError::Told(e) => e,
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
