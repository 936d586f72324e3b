//! One gzip member (RFC 1952) composed of separately compressed deflate parts.

use std::io::{self, Write as _};

/// Compression level.
const LEVEL: u32 = 6;

/// Deflate blocks of one text, none of them final, that end at a byte boundary (RFC 1951 section 3.2.4: an empty stored block).
pub struct Part {
    bytes: Vec<u8>,
    crc: u32,
    /// Bytes of the text.
    uncompressed: u64,
}

impl Part {
    pub fn pack(text: &[u8]) -> io::Result<Part> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(LEVEL));
        encoder.write_all(text)?;
        encoder.flush()?;
        let bytes = encoder.get_ref().clone();
        if !bytes.ends_with(&[0, 0, 0xff, 0xff]) {
            return Err(io::Error::other("the encoder did not end at a byte boundary"));
        }
        Ok(Part { bytes, crc: crc32fast::hash(text), uncompressed: text.len() as u64 })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.crc.to_le_bytes()[..], &self.uncompressed.to_le_bytes(), &self.bytes].concat()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Part> {
        let (crc, rest) = bytes.split_first_chunk::<4>()?;
        let (uncompressed, rest) = rest.split_first_chunk::<8>()?;
        let (crc, uncompressed) = (u32::from_le_bytes(*crc), u64::from_le_bytes(*uncompressed));
        Some(Part { bytes: rest.to_vec(), crc, uncompressed })
    }
}

/// A member composed of parts.
pub struct Member {
    out: Vec<u8>,
    sum: crc32fast::Hasher,
    size: u64,
}

impl Member {
    pub fn new() -> Self {
        // No file name and no time; "unknown" system (RFC 1952 section 2.3).
        let out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
        Member { out, sum: crc32fast::Hasher::new(), size: 0 }
    }

    pub fn add(&mut self, part: &Part) {
        self.out.extend_from_slice(&part.bytes);
        self.sum.combine(&crc32fast::Hasher::new_with_initial_len(part.crc, part.uncompressed));
        self.size += part.uncompressed;
    }

    pub fn finish(mut self) -> Vec<u8> {
        // The final block: fixed codes, and only the end-of-block code.
        self.out.extend_from_slice(&[3, 0]);
        self.out.extend_from_slice(&self.sum.finalize().to_le_bytes());
        // The size modulo 2^32.
        self.out.extend_from_slice(&(self.size as u32).to_le_bytes());
        self.out
    }
}
