//! Cutting a raw image into chunks stored by digest, and putting it together again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{ArtifactManifest, CHUNK_SIZE, Chunk, MAX_STORED_CHUNK, ManifestError};
use cluster_seed::progress::Progress;
use sha2::{Digest as _, Sha256};

use crate::store::CHUNK_FILE;

/// Part of the recipe: another level gives other bytes.
const LEVEL: i32 = 6;

#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    #[error("cannot {what} {path}")]
    Io { what: &'static str, path: Utf8PathBuf, source: io::Error },
    #[error("the manifest is not usable")]
    Manifest(#[from] ManifestError),
    #[error("chunk {index} ({stored}) is not what the manifest says")]
    Corrupt { index: usize, stored: Digest },
    #[error("the image put together is not what the manifest says")]
    Image,
    #[error("stopped as asked")]
    Cancelled,
}

fn io_at<'p>(what: &'static str, path: &'p Utf8Path) -> impl Fn(io::Error) -> ChunkError + 'p {
    move |source| ChunkError::Io { what, path: path.to_owned(), source }
}

/// Where the blob of this digest lies below the blob folder.
pub fn blob_path(blobs: &Utf8Path, digest: &Digest) -> Utf8PathBuf {
    let hex = digest.to_string();
    blobs.join("sha256").join(&hex[..2]).join(hex)
}

/// Stores bytes under their digest; a blob that is there already stays.
fn store(blobs: &Utf8Path, tmp: &Utf8Path, bytes: &[u8]) -> Result<Digest, ChunkError> {
    let digest = Digest::of(bytes);
    let path = blob_path(blobs, &digest);
    let size = fs::metadata(&path).map(|m| m.len());
    if size.is_ok_and(|s| s == bytes.len() as u64) {
        return Ok(digest);
    }
    let dir = path.parent().unwrap_or(blobs);
    fs::create_dir_all(dir).map_err(io_at("make", dir))?;
    let mut file = tempfile::Builder::new().prefix(CHUNK_FILE).tempfile_in(tmp).map_err(io_at("make a file in", tmp))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_data()).map_err(io_at("write", &path))?;
    file.persist(&path).map_err(|e| io_at("rename to", &path)(e.error))?;
    File::open(dir).and_then(|d| d.sync_all()).map_err(io_at("sync", dir))?;
    Ok(digest)
}

fn pack(raw: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::bulk::Compressor::new(LEVEL)?;
    encoder.include_checksum(false)?;
    encoder.compress(raw)
}

/// What [`cut`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    pub chunks: Vec<Chunk>,
    /// Digest of the whole image.
    pub raw: Digest,
    pub size: u64,
}

/// Cuts `image` into chunks and stores them below `blobs`; `tmp` is on the same file system.
pub fn cut(image: &Utf8Path, blobs: &Utf8Path, tmp: &Utf8Path, progress: &dyn Progress) -> Result<Cut, ChunkError> {
    let mut file = File::open(image).map_err(io_at("open", image))?;
    let mut whole = Sha256::new();
    let mut chunks = Vec::new();
    let mut size = 0;
    let mut raw = Vec::with_capacity(CHUNK_SIZE as usize);
    loop {
        if progress.cancelled() {
            return Err(ChunkError::Cancelled);
        }
        raw.clear();
        (&mut file).take(CHUNK_SIZE).read_to_end(&mut raw).map_err(io_at("read", image))?;
        if raw.is_empty() {
            return Ok(Cut { chunks, raw: Digest(whole.finalize().into()), size });
        }
        whole.update(&raw);
        size += raw.len() as u64;
        chunks.push(if raw.iter().all(|b| *b == 0) {
            Chunk::Zero
        } else {
            let packed = pack(&raw).map_err(io_at("compress", image))?;
            let stored = store(blobs, tmp, &packed)?;
            // The worst case of zstd for 4 MiB is far below 4 GiB.
            Chunk::Zstd { stored, stored_size: packed.len() as u32, raw: Digest::of(&raw) }
        });
        progress.advance(raw.len() as u64);
    }
}

/// The bytes of a chunk for the disk: digest of the stored form, bounded decompression, digest of the raw form.
fn open_chunk(blobs: &Utf8Path, index: usize, chunk: &Chunk, len: u64) -> Result<Option<Vec<u8>>, ChunkError> {
    let Chunk::Zstd { stored, stored_size, raw } = chunk else { return Ok(None) };
    let path = blob_path(blobs, stored);
    let corrupt = || ChunkError::Corrupt { index, stored: *stored };
    let mut packed = Vec::new();
    let file = File::open(&path).map_err(io_at("open", &path))?;
    file.take(MAX_STORED_CHUNK + 1).read_to_end(&mut packed).map_err(io_at("read", &path))?;
    if packed.len() as u64 != u64::from(*stored_size) || Digest::of(&packed) != *stored {
        return Err(corrupt());
    }
    let bytes = zstd::bulk::decompress(&packed, CHUNK_SIZE as usize).map_err(|_| corrupt())?;
    if bytes.len() as u64 != len || Digest::of(&bytes) != *raw { Err(corrupt()) } else { Ok(Some(bytes)) }
}

/// Puts the raw image together at `out` from verified chunks. On an error nothing is left at `out`.
pub fn assemble(
    manifest: &ArtifactManifest,
    blobs: &Utf8Path,
    out: &Utf8Path,
    progress: &dyn Progress,
) -> Result<(), ChunkError> {
    manifest.check()?;
    let part = Utf8PathBuf::from(format!("{out}.part"));
    let done = assemble_part(manifest, blobs, &part, progress);
    if done.is_err() {
        // The error that is on its way says more than one of removing.
        let _ = fs::remove_file(&part);
        return done;
    }
    fs::rename(&part, out).map_err(io_at("rename to", out))
}

fn assemble_part(m: &ArtifactManifest, blobs: &Utf8Path, part: &Utf8Path, progress: &dyn Progress) -> Result<(), ChunkError> {
    let fail = || io_at("write", part);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(part).map_err(fail())?;
    file.set_len(m.disk_size).map_err(fail())?;
    progress.begin("putting the image together", Some(m.disk_size));
    let mut whole = Sha256::new();
    let zeros = vec![0u8; CHUNK_SIZE as usize];
    for (index, chunk) in m.chunks.iter().enumerate() {
        if progress.cancelled() {
            return Err(ChunkError::Cancelled);
        }
        let len = m.chunk_len(index);
        match open_chunk(blobs, index, chunk, len)? {
            None => whole.update(&zeros[..len as usize]),
            Some(bytes) => {
                whole.update(&bytes);
                file.seek(SeekFrom::Start(index as u64 * CHUNK_SIZE)).map_err(fail())?;
                file.write_all(&bytes).map_err(fail())?;
            }
        }
        progress.advance(len);
    }
    progress.end();
    if Digest(whole.finalize().into()) != m.raw {
        return Err(ChunkError::Image);
    }
    file.sync_all().map_err(fail())
}

#[cfg(test)]
#[path = "chunk_tests.rs"]
mod tests;
