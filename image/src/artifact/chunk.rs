//! Splitting a raw image into chunks stored by digest, and assembling it again.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{ArtifactManifest, CHUNK_SIZE, Chunk, MAX_STORED_CHUNK, ManifestError};
use cluster_seed::progress::Progress;
use host::blobs::blob_path;
use host::files::{FileError, PUBLIC, Start, create_dirs, failed, open, read_limited, sync_dir};
use sha2::{Digest as _, Sha256};

/// Prefix of the temporary file of a chunk being written.
pub const CHUNK_FILE: &str = "chunk-";
/// Part of the recipe: another level gives different bytes.
const LEVEL: i32 = 6;

#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the manifest is inconsistent")]
    Manifest(#[from] ManifestError),
    #[error("chunk {index} ({stored}) does not match the manifest")]
    Corrupt { index: usize, stored: Digest },
    #[error("the assembled image does not match the manifest")]
    Image,
    #[error("stopped on request")]
    Cancelled,
}

impl ChunkError {
    /// What an operator can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ChunkError::File(e) => Some(e.hint()),
            ChunkError::Corrupt { .. } | ChunkError::Manifest(_) | ChunkError::Image => {
                Some("the artifact on disk is damaged: run `seedd image build` again, or import it again")
            }
            ChunkError::Cancelled => None,
        }
    }
}

/// Stores bytes under their digest, unless that blob exists.
fn store(blobs: &Utf8Path, tmp: &Utf8Path, bytes: &[u8]) -> Result<Digest, ChunkError> {
    let digest = Digest::of(bytes);
    let path = blob_path(blobs, &digest);
    let size = fs::metadata(&path).map(|m| m.len());
    if size.is_ok_and(|s| s == bytes.len() as u64) {
        return Ok(digest);
    }
    let dir = path.parent().unwrap_or(blobs);
    create_dirs(dir)?;
    let mut file = tempfile::Builder::new().prefix(CHUNK_FILE).tempfile_in(tmp).map_err(failed("creating a file in", tmp))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_data()).map_err(failed("writing", &path))?;
    file.persist(&path).map_err(|e| failed("renaming to", &path)(e.error))?;
    sync_dir(dir)?;
    Ok(digest)
}

fn pack(raw: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::bulk::Compressor::new(LEVEL)?;
    encoder.include_checksum(false)?;
    encoder.compress(raw)
}

/// The chunks of an image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunked {
    pub chunks: Vec<Chunk>,
    /// Digest of the image.
    pub raw: Digest,
    /// Size of the image in bytes.
    pub size: u64,
}

/// Splits `image` into chunks and stores them in `blobs`; `tmp` is on the same file system.
pub(crate) fn split(image: &Utf8Path, blobs: &Utf8Path, tmp: &Utf8Path, progress: &dyn Progress) -> Result<Chunked, ChunkError> {
    let reading = failed("reading", image);
    let mut file = File::open(image).map_err(&reading)?;
    let mut hash = Sha256::new();
    let mut chunks = Vec::new();
    let mut size = 0;
    let mut raw = Vec::with_capacity(CHUNK_SIZE as usize);
    loop {
        if progress.cancelled() {
            return Err(ChunkError::Cancelled);
        }
        raw.clear();
        (&mut file).take(CHUNK_SIZE).read_to_end(&mut raw).map_err(&reading)?;
        if raw.is_empty() {
            return Ok(Chunked { chunks, raw: Digest(hash.finalize().into()), size });
        }
        hash.update(&raw);
        size += raw.len() as u64;
        chunks.push(if raw.iter().all(|b| *b == 0) {
            Chunk::Zero
        } else {
            let packed = pack(&raw).map_err(failed("compressing", image))?;
            let stored = store(blobs, tmp, &packed)?;
            // zstd's worst case for 4 MiB is far below 4 GiB.
            Chunk::Zstd { stored, stored_size: packed.len() as u32, raw: Digest::of(&raw) }
        });
        progress.advance(raw.len() as u64);
    }
}

/// The raw bytes of a chunk: stored form verified, decompressed within bounds, raw form verified. `None` for zeros.
fn open_chunk(blobs: &Utf8Path, index: usize, chunk: &Chunk, len: u64) -> Result<Option<Vec<u8>>, ChunkError> {
    let Chunk::Zstd { stored, stored_size, raw } = chunk else { return Ok(None) };
    let corrupt = || ChunkError::Corrupt { index, stored: *stored };
    let packed = match read_limited(&blob_path(blobs, stored), MAX_STORED_CHUNK) {
        Err(FileError::TooLarge { .. }) => return Err(corrupt()),
        other => other?,
    };
    if packed.len() as u64 != u64::from(*stored_size) || Digest::of(&packed) != *stored {
        return Err(corrupt());
    }
    let bytes = zstd::bulk::decompress(&packed, CHUNK_SIZE as usize).map_err(|_| corrupt())?;
    if bytes.len() as u64 != len || Digest::of(&bytes) != *raw { Err(corrupt()) } else { Ok(Some(bytes)) }
}

/// Assembles the raw image at `out` from verified chunks. On an error nothing is left at `out`.
pub fn assemble(
    manifest: &ArtifactManifest,
    blobs: &Utf8Path,
    out: &Utf8Path,
    progress: &dyn Progress,
) -> Result<(), ChunkError> {
    manifest.check()?;
    let part = Utf8PathBuf::from(format!("{out}.part"));
    // The first error says more than a failure to clean up.
    write_image(manifest, blobs, &part, progress).inspect_err(|_| drop(fs::remove_file(&part)))?;
    Ok(fs::rename(&part, out).map_err(failed("renaming to", out))?)
}

fn write_image(m: &ArtifactManifest, blobs: &Utf8Path, to: &Utf8Path, progress: &dyn Progress) -> Result<(), ChunkError> {
    let writing = failed("writing", to);
    let mut file = open(to, Start::Empty, PUBLIC).map_err(&writing)?;
    file.set_len(m.disk_size).map_err(&writing)?;
    progress.begin("assembling the image", Some(m.disk_size));
    let mut hash = Sha256::new();
    let zeros = vec![0u8; CHUNK_SIZE as usize];
    for (index, chunk) in m.chunks.iter().enumerate() {
        if progress.cancelled() {
            return Err(ChunkError::Cancelled);
        }
        let len = m.chunk_len(index);
        match open_chunk(blobs, index, chunk, len)? {
            None => hash.update(&zeros[..len as usize]),
            Some(bytes) => {
                hash.update(&bytes);
                file.seek(SeekFrom::Start(index as u64 * CHUNK_SIZE)).map_err(&writing)?;
                file.write_all(&bytes).map_err(&writing)?;
            }
        }
        progress.advance(len);
    }
    progress.end();
    if Digest(hash.finalize().into()) != m.raw {
        return Err(ChunkError::Image);
    }
    Ok(file.sync_all().map_err(writing)?)
}

#[cfg(test)]
#[path = "chunk_tests.rs"]
mod tests;
