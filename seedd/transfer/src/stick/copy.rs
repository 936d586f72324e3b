//! Copying an image to a device, and verifying the copy.
//!
//! A stick that was not fully written and verified never boots: its first MiB is zeroed first and written last. The data is
//! read back from the medium, not from the page cache (open(2), O_DIRECT), and compared with what was written, piece by piece.
//! This detects sticks that report more capacity than they have.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use sha2::{Digest as _, Sha256};

/// What is written last: boot code, partition table and the first volume descriptors.
pub const FIRST: usize = 1 << 20;
/// Bytes read, written and compared at once; a multiple of [`FIRST`].
const PIECE: usize = 4 << 20;
/// Bytes between syncs, so that the progress shown is that of the device and not of the page cache.
const SYNC_EVERY: u64 = 32 << 20;
/// A multiple of all sector sizes in use; O_DIRECT requires aligned buffers, offsets and lengths.
const ALIGN: usize = 4096;

/// Why copying failed. After all of these errors except [`CopyError::Image`] at the first bytes, the device does not boot.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("reading the image at byte {at}")]
    Image { at: u64, source: io::Error },
    #[error("writing at byte {at}")]
    Write { at: u64, source: io::Error },
    #[error("waiting for the device to finish writing")]
    Sync(#[source] io::Error),
    #[error("reading back at byte {at}")]
    ReadBack { at: u64, source: io::Error },
    #[error("the data read back differs from the data written, starting at byte {at}")]
    Differs { at: u64 },
    #[error("stopped on request")]
    Stopped,
}

/// The target, opened twice: for writing, and for reading back.
pub struct Device<'a> {
    pub write: &'a File,
    /// Bypasses the page cache, if the file system or device supports it.
    pub read: &'a File,
    /// Size in bytes; for a regular file, which can grow, that of the image.
    pub size: u64,
}

/// A buffer with the alignment that O_DIRECT requires.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    fn new(len: usize) -> Self {
        let bytes = vec![0u8; len + ALIGN];
        let start = bytes.as_ptr().align_offset(ALIGN);
        Buffer { bytes, start }
    }

    fn get(&mut self, len: usize) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + len]
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Start and length of the pieces of `len` bytes; the first is [`FIRST`] long.
fn pieces(len: u64) -> impl Iterator<Item = (u64, usize)> {
    let first = len.min(FIRST as u64);
    let rest = (first..len).step_by(PIECE).map(move |at| (at, (len - at).min(PIECE as u64) as usize));
    std::iter::once((0, first as usize)).chain(rest)
}

/// Copies `len` bytes, reads them back and compares. Returns their digest.
///
/// # Errors
/// After any error the first MiB of the device is zeroed, unless that write failed too.
pub fn copy(image: &mut impl Read, len: u64, device: &Device<'_>, progress: &dyn Progress) -> Result<Digest, CopyError> {
    let mut buffer = Buffer::new(PIECE);
    let mut first = vec![0u8; len.min(FIRST as u64) as usize];
    image.read_exact(&mut first).map_err(|source| CopyError::Image { at: 0, source })?;
    let mut whole = Sha256::new();
    whole.update(&first);
    let mut hashes = vec![hash(&first)];

    progress.begin("write", Some(len));
    empty_ends(device, len)?;
    let mut unsynced = 0;
    for (at, count) in pieces(len).skip(1) {
        if progress.cancelled() {
            return Err(CopyError::Stopped);
        }
        let piece = buffer.get(count);
        image.read_exact(piece).map_err(|source| CopyError::Image { at, source })?;
        whole.update(&*piece);
        hashes.push(hash(piece));
        device.write.write_all_at(piece, at).map_err(|source| CopyError::Write { at, source })?;
        unsynced += count as u64;
        if unsynced >= SYNC_EVERY {
            device.write.sync_data().map_err(CopyError::Sync)?;
            unsynced = 0;
        }
        progress.advance(count as u64);
    }
    device.write.sync_all().map_err(CopyError::Sync)?;
    progress.end();

    progress.begin("verify", Some(len));
    forget(device)?;
    for ((at, count), hash) in pieces(len).zip(&hashes).skip(1) {
        if progress.cancelled() {
            return Err(CopyError::Stopped);
        }
        compare(device, &mut buffer, at, count, hash)?;
        progress.advance(count as u64);
    }
    if progress.cancelled() {
        return Err(CopyError::Stopped);
    }
    // Everything else is written: from here on it may boot.
    device.write.write_all_at(&first, 0).map_err(|source| CopyError::Write { at: 0, source })?;
    device.write.sync_all().map_err(CopyError::Sync)?;
    forget(device)?;
    let proven = compare(device, &mut buffer, 0, first.len(), &hashes[0]);
    if let Err(error) = proven {
        // A device that cannot be verified must not boot. If this write fails too, the first error is reported.
        let _ = device.write.write_all_at(&vec![0; first.len()], 0).and_then(|()| device.write.sync_all());
        return Err(error);
    }
    progress.advance(first.len() as u64);
    progress.end();
    Ok(Digest(whole.finalize().into()))
}

/// Zeroes the first MiB, and the last one, where a previous GPT has its backup.
fn empty_ends(device: &Device<'_>, len: u64) -> Result<(), CopyError> {
    let last = device.size.saturating_sub(FIRST as u64).max(len);
    for (at, count) in [(0, len.min(FIRST as u64)), (last, device.size.saturating_sub(last))] {
        let zeros = vec![0u8; count as usize];
        device.write.write_all_at(&zeros, at).map_err(|source| CopyError::Write { at, source })?;
    }
    device.write.sync_all().map_err(CopyError::Sync)
}

/// Drops the device's pages from the page cache, for devices without O_DIRECT.
fn forget(device: &Device<'_>) -> Result<(), CopyError> {
    posix_fadvise(device.read, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).map_err(|e| CopyError::Sync(e.into()))
}

fn compare(device: &Device<'_>, buffer: &mut Buffer, at: u64, count: usize, expected: &[u8; 32]) -> Result<(), CopyError> {
    // Whole sectors are read; a file may end within the last one.
    let asked = buffer.get(count.next_multiple_of(ALIGN));
    let mut got = 0;
    while got < count {
        match device.read.read_at(&mut asked[got..], at + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(CopyError::ReadBack { at: at + got as u64, source }),
        }
    }
    if got < count || hash(&asked[..count]) != *expected {
        return Err(CopyError::Differs { at });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
