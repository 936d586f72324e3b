//! Fetches the chunks of an artifact in parallel, and writes those that match the manifest.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};

use camino::Utf8Path;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{ArtifactManifest, CHUNK_SIZE, Chunk, MAX_STORED_CHUNK};
use cluster_seed::medium::chunk_path;
use host::files::read_limited;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::http::{Http, HttpError, Wait, backoff, chain};

/// Download threads; each holds one stored and one raw chunk, so 8 MiB.
pub const THREADS: usize = 3;
/// Attempts for a chunk that does not match the manifest.
pub const TAMPER_TRIES: u32 = 3;
/// Attempts for a chunk while the seed does not respond: about fifteen minutes with the pauses.
pub const NET_TRIES: u32 = 90;
/// The start of the disk, which is written last: boot code and partition table, without which the disk does not boot.
pub const HEAD: u64 = 1 << 20;
/// Chunks one thread writes between two flushes, so that progress counts what is on the disk.
const FLUSH_EVERY: u32 = 16;

#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    #[error("chunk {index} ({name}) does not match the signed manifest: {why}")]
    Tampered { index: usize, name: Digest, why: &'static str },
    #[error("fetching chunk {index} ({name})")]
    Fetch { index: usize, name: Digest, source: HttpError },
    #[error("writing to the disk at byte {at}")]
    Write { at: u64, source: io::Error },
}

/// Checks one stored chunk and unpacks it to exactly `len` bytes. Nothing is unpacked before its digest matches.
pub fn unpack(stored: &[u8], chunk: &Chunk, len: u64) -> Result<Vec<u8>, &'static str> {
    let Chunk::Zstd { stored: name, stored_size, raw } = chunk else { return Err("it is a run of zeros") };
    if stored.len() as u64 != u64::from(*stored_size) {
        return Err("its size differs");
    }
    if Digest::of(stored) != *name {
        return Err("its digest differs");
    }
    let len = usize::try_from(len).map_err(|_| "it is too long")?;
    // The capacity is a hard limit: a frame that wants to grow beyond it is an error, not memory.
    let bytes = zstd::bulk::decompress(stored, len).map_err(|_| "it cannot be unpacked to its size")?;
    if bytes.len() != len {
        return Err("it unpacks to another length");
    }
    if Digest::of(&bytes) != *raw {
        return Err("the digest of its content differs");
    }
    Ok(bytes)
}

/// Shared state of the download threads.
pub struct Stream<'a> {
    pub http: &'a Http,
    pub manifest: &'a ArtifactManifest,
    pub disk: &'a File,
    /// A mounted medium that can have chunks, so that they need not be fetched.
    pub medium: Option<&'a Utf8Path>,
    pub wait: Wait<'a>,
    next: AtomicUsize,
    stop: AtomicBool,
    head: Mutex<Vec<u8>>,
    error: Mutex<Option<ChunkError>>,
}

impl<'a> Stream<'a> {
    pub fn new(
        http: &'a Http,
        manifest: &'a ArtifactManifest,
        disk: &'a File,
        medium: Option<&'a Utf8Path>,
        wait: Wait<'a>,
    ) -> Self {
        Stream {
            http,
            manifest,
            disk,
            medium,
            wait,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            head: Mutex::new(Vec::new()),
            error: Mutex::new(None),
        }
    }

    /// One download thread: takes chunks until none is left or another thread failed. Reports bytes written, without zeros.
    pub fn work(&self, done: &Sender<u64>) {
        let mut since_flush = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = self.manifest.chunks.get(index) else { break };
            let result = self.one(index, chunk).and_then(|()| {
                since_flush += 1;
                if since_flush % FLUSH_EVERY != 0 { Ok(()) } else { self.flush(index) }
            });
            if let Err(e) = result {
                self.stop.store(true, Ordering::Relaxed);
                self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
                break;
            }
            // The receiver is dropped only when the installation ended.
            let _ = done.send(self.manifest.content_len(index));
        }
    }

    /// The start of the image, which is written last, if every chunk was written.
    pub fn finish(self) -> Result<Vec<u8>, ChunkError> {
        match self.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(e) => Err(e),
            None => Ok(self.head.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn flush(&self, index: usize) -> Result<(), ChunkError> {
        self.disk.sync_data().map_err(|source| ChunkError::Write { at: index as u64 * CHUNK_SIZE, source })
    }

    fn one(&self, index: usize, chunk: &Chunk) -> Result<(), ChunkError> {
        let (mut at, len) = (index as u64 * CHUNK_SIZE, self.manifest.chunk_len(index));
        let write = |at, result: io::Result<()>| result.map_err(|source| ChunkError::Write { at, source });
        let Chunk::Zstd { stored, .. } = chunk else {
            if index == 0 {
                *self.head.lock().unwrap_or_else(PoisonError::into_inner) = vec![0; len.min(HEAD) as usize];
            }
            return write(at, write_zeros(self.disk, at, len));
        };
        let Some(bytes) = self.fetch(index, *stored, chunk, len)? else { return Ok(()) };
        let mut bytes = bytes.as_slice();
        if index == 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(HEAD as usize));
            *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head.to_vec();
            (at, bytes) = (at + head.len() as u64, rest);
        }
        write(at, self.disk.write_all_at(bytes, at))
    }

    /// The chunk's content from the medium. A chunk that is damaged there is fetched instead.
    fn on_medium(&self, name: Digest, chunk: &Chunk, len: u64) -> Option<Vec<u8>> {
        let path = self.medium?.join(chunk_path(&name));
        let stored = read_limited(&path, MAX_STORED_CHUNK).ok()?;
        unpack(&stored, chunk, len).inspect_err(|why| tracing::warn!(%path, why, "chunk on the medium ignored")).ok()
    }

    /// The chunk's content, or `None` if another thread failed in the meantime.
    fn fetch(&self, index: usize, name: Digest, chunk: &Chunk, len: u64) -> Result<Option<Vec<u8>>, ChunkError> {
        let Chunk::Zstd { stored_size, .. } = chunk else { return Ok(None) };
        if let Some(bytes) = self.on_medium(name, chunk, len) {
            return Ok(Some(bytes));
        }
        let (mut tampered, mut lost) = (0, 0);
        while !self.stop.load(Ordering::Relaxed) {
            let why = match self.http.get(&format!("/chunks/{name}"), u64::from(*stored_size)) {
                Ok(stored) => match unpack(&stored, chunk, len) {
                    Ok(bytes) => return Ok(Some(bytes)),
                    Err(why) => why,
                },
                Err(HttpError::TooLarge(_)) => "its size differs",
                Err(e) if e.is_temporary() && lost + 1 < NET_TRIES => {
                    tracing::debug!(error = %chain(&e), index, "chunk not fetched");
                    (self.wait)(backoff(lost));
                    lost += 1;
                    continue;
                }
                Err(source) => return Err(ChunkError::Fetch { index, name, source }),
            };
            tampered += 1;
            if tampered == TAMPER_TRIES {
                return Err(ChunkError::Tampered { index, name, why });
            }
        }
        Ok(None)
    }
}

/// Zeros a range, by the device itself if possible (fallocate(2) works on block devices too).
pub fn write_zeros(disk: &File, at: u64, len: u64) -> io::Result<()> {
    let range = |n: u64| libc::off_t::try_from(n).map_err(io::Error::other);
    let flags = FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    if fallocate(disk, flags, range(at)?, range(len)?).is_ok() {
        return Ok(());
    }
    let zeros = vec![0u8; (1 << 20).min(len) as usize];
    let mut done = 0;
    while done < len {
        let n = (len - done).min(zeros.len() as u64);
        disk.write_all_at(&zeros[..n as usize], at + done)?;
        done += n;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn stored(raw: &[u8]) -> (Vec<u8>, Chunk) {
        let bytes = zstd::bulk::compress(raw, 3).unwrap();
        let chunk = Chunk::Zstd { stored: Digest::of(&bytes), stored_size: bytes.len() as u32, raw: Digest::of(raw) };
        (bytes, chunk)
    }

    #[test]
    fn only_what_the_manifest_names_is_unpacked() {
        let raw = vec![7u8; 5000];
        let (bytes, chunk) = stored(&raw);
        assert_eq!(unpack(&bytes, &chunk, 5000).unwrap(), raw);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(unpack(&bad, &chunk, 5000), Err("its digest differs"));
        }
        assert_eq!(unpack(&bytes[1..], &chunk, 5000), Err("its size differs"));
        assert_eq!(unpack(&bytes, &chunk, 5001), Err("it unpacks to another length"));
        assert!(unpack(&[], &Chunk::Zero, 1).is_err());
    }

    #[test]
    fn a_decompression_bomb_is_not_unpacked_beyond_its_size() {
        let (bytes, chunk) = stored(&vec![0u8; 64 << 20]);
        assert!(bytes.len() < 64 << 10, "it should be small");
        assert_eq!(unpack(&bytes, &chunk, CHUNK_SIZE), Err("it cannot be unpacked to its size"));
        let (bytes, chunk) = stored(&vec![0u8; CHUNK_SIZE as usize + 1]);
        assert_eq!(unpack(&bytes, &chunk, CHUNK_SIZE), Err("it cannot be unpacked to its size"));
    }

    #[test]
    fn content_of_another_digest_is_refused() {
        let (bytes, chunk) = stored(b"good");
        let Chunk::Zstd { stored, stored_size, .. } = chunk else { unreachable!() };
        let lying = Chunk::Zstd { stored, stored_size, raw: Digest::of(b"evil") };
        assert_eq!(unpack(&bytes, &lying, 4), Err("the digest of its content differs"));
    }

    #[test]
    fn zeros_replace_what_was_there() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![9u8; 3 << 20], 0).unwrap();
        write_zeros(&file, 1000, (2 << 20) + 1).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 3 << 20);
        let end = 1000 + (2 << 20) + 1;
        assert!(bytes[..1000].iter().chain(&bytes[end..]).all(|b| *b == 9));
        assert!(bytes[1000..end].iter().all(|b| *b == 0));
    }
}
