//! The copy of an image to a device, and the proof that it is there.
//!
//! A stick that was not fully written and verified never boots: its first MiB is emptied at first and written last. What
//! is read back comes from the medium and not from memory (open(2), O_DIRECT), and is compared with what was read in,
//! piece by piece: a stick that claims more room than it has is found out, whatever it overwrote.

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
/// Bytes after which the device is waited for, so that the progress shown is the device's and not the memory's.
const SYNC_EVERY: u64 = 32 << 20;
/// Every sector size in use divides it; O_DIRECT wants buffers, places and lengths of whole sectors.
const ALIGN: usize = 4096;

/// Why the copy is not there. After any of these but [`CopyError::Image`] on the first bytes, the device does not boot.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("reading the image at byte {at}")]
    Image { at: u64, source: io::Error },
    #[error("writing at byte {at}")]
    Write { at: u64, source: io::Error },
    #[error("waiting until the device has written")]
    Sync(#[source] io::Error),
    #[error("reading back at byte {at}")]
    ReadBack { at: u64, source: io::Error },
    #[error("what is read back differs from what was written, from byte {at} on")]
    Differs { at: u64 },
    #[error("stopped as asked")]
    Stopped,
}

/// The same place, twice open.
pub struct Device<'a> {
    pub write: &'a File,
    /// Past the memory, if the file system or device can.
    pub read: &'a File,
    /// Bytes; a plain file that may grow has as many as the image.
    pub size: u64,
}

/// Bytes at an address that O_DIRECT takes.
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
/// Whatever it was, the first MiB of the device is empty then, unless not even that could be written.
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
    // Everything else is there: from here on it may boot.
    device.write.write_all_at(&first, 0).map_err(|source| CopyError::Write { at: 0, source })?;
    device.write.sync_all().map_err(CopyError::Sync)?;
    forget(device)?;
    let proven = compare(device, &mut buffer, 0, first.len(), &hashes[0]);
    if let Err(error) = proven {
        // What cannot be read back must not boot; if even this fails, the error says enough.
        let _ = device.write.write_all_at(&vec![0; first.len()], 0).and_then(|()| device.write.sync_all());
        return Err(error);
    }
    progress.advance(first.len() as u64);
    progress.end();
    Ok(Digest(whole.finalize().into()))
}

/// Zeros over the first MiB, and over the last: a partition table of an earlier life has its second copy there.
fn empty_ends(device: &Device<'_>, len: u64) -> Result<(), CopyError> {
    let last = device.size.saturating_sub(FIRST as u64).max(len);
    for (at, count) in [(0, len.min(FIRST as u64)), (last, device.size.saturating_sub(last))] {
        let zeros = vec![0u8; count as usize];
        device.write.write_all_at(&zeros, at).map_err(|source| CopyError::Write { at, source })?;
    }
    device.write.sync_all().map_err(CopyError::Sync)
}

/// Drops what memory holds of the device, for those that know no O_DIRECT.
fn forget(device: &Device<'_>) -> Result<(), CopyError> {
    posix_fadvise(device.read, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).map_err(|e| CopyError::Sync(e.into()))
}

fn compare(device: &Device<'_>, buffer: &mut Buffer, at: u64, count: usize, expected: &[u8; 32]) -> Result<(), CopyError> {
    // Whole sectors are asked for; a file may end within the last one.
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
