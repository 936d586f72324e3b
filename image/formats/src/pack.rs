use std::io;
use std::sync::{Mutex, PoisonError};

use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::bulk::Compressor;

/// Contexts that are not in use: making one costs about as much as compressing a block.
pub(crate) struct Spare<T>(Mutex<Vec<T>>);

impl<T> Spare<T> {
    pub fn new() -> Self {
        Spare(Mutex::new(Vec::new()))
    }

    /// Calls `work` with an unused context, or a new one.
    pub fn with<R>(&self, make: impl FnOnce() -> T, work: impl FnOnce(&mut T) -> R) -> R {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut context = spare.unwrap_or_else(make);
        let result = work(&mut context);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(context);
        result
    }
}

/// Compresses one block after the other, each for itself.
pub(crate) enum Packer {
    Deflate { context: Compress, scratch: Vec<u8> },
    Zstd { context: io::Result<Compressor<'static>>, scratch: Vec<u8> },
}

/// zlib's default.
const DEFLATE_LEVEL: u32 = 6;
/// zstd's default.
const ZSTD_LEVEL: i32 = 3;

impl Packer {
    /// Raw deflate (RFC 1951); no match is farther back than 2^`window_bits` bytes.
    pub fn deflate(window_bits: u8) -> Self {
        let context = Compress::new_with_window_bits(Compression::new(DEFLATE_LEVEL), false, window_bits);
        Packer::Deflate { context, scratch: Vec::new() }
    }

    /// zlib (RFC 1950), that is deflate with a header and a checksum.
    pub fn zlib() -> Self {
        let context = Compress::new(Compression::new(DEFLATE_LEVEL), true);
        Packer::Deflate { context, scratch: Vec::new() }
    }

    /// Zstandard (RFC 8878), one frame without a checksum.
    pub fn zstd() -> Self {
        let context = Compressor::new(ZSTD_LEVEL).and_then(|mut c| c.include_checksum(false).map(|()| c));
        Packer::Zstd { context, scratch: Vec::new() }
    }

    /// The compressed block; `None` if it would have more than `limit` bytes.
    pub fn pack(&mut self, block: &[u8], limit: usize) -> io::Result<Option<&[u8]>> {
        match self {
            Packer::Deflate { context, scratch } => {
                context.reset();
                scratch.clear();
                scratch.reserve(limit);
                let status = context.compress_vec(block, scratch, FlushCompress::Finish).map_err(io::Error::other)?;
                let done = status == Status::StreamEnd && scratch.len() <= limit;
                Ok(done.then_some(scratch.as_slice()))
            }
            Packer::Zstd { context, scratch } => {
                let context = context.as_mut().map_err(|e| io::Error::from(e.kind()))?;
                scratch.clear();
                scratch.reserve(zstd::zstd_safe::compress_bound(block.len()));
                let length = context.compress_to_buffer(block, scratch)?;
                Ok((length <= limit).then_some(scratch.as_slice()))
            }
        }
    }
}
