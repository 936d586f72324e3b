//! One .xz stream composed of separately compressed blocks (the .xz file format, version 1.2.1).

use std::io::{self, Write as _};

use liblzma::stream::{Check, Filters, LzmaOptions, Stream as Encoder};

/// Compression preset of liblzma.
const PRESET: u32 = 6;
/// Bytes that a match may reach back. More than a shard is of no use, and the preset's 8 MiB would cost 16 MB of tables for
/// each encoder.
const DICTIONARY: u32 = 1 << 20;
/// Bytes of a stream's header and of its footer (2.1.1, 2.1.2).
const HEADER: usize = 12;

/// A block and its record in the index (section 4.3).
pub struct Block {
    /// With its padding to a multiple of four bytes.
    bytes: Vec<u8>,
    /// Bytes of the block without padding.
    unpadded: u64,
    /// Bytes of the text.
    uncompressed: u64,
}

impl Block {
    pub fn pack(text: &[u8]) -> io::Result<Block> {
        let mut options = LzmaOptions::new_preset(PRESET)?;
        options.dict_size(DICTIONARY);
        let stream = Encoder::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc64)?;
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(text)?;
        Block::from_stream(&encoder.finish()?).ok_or_else(|| io::Error::other("liblzma wrote an unexpected stream"))
    }

    /// Extracts the block of a stream that has only one.
    fn from_stream(stream: &[u8]) -> Option<Block> {
        let footer = stream.get(stream.len().checked_sub(HEADER)?..)?;
        let backward = u32::from_le_bytes(footer.get(4..8)?.try_into().ok()?);
        let index_size = (backward as usize + 1) * 4;
        let index_start = stream.len().checked_sub(HEADER + index_size)?;
        let index = stream.get(index_start..)?;
        let mut at = 1;
        let records = read_number(index, &mut at)?;
        let (unpadded, uncompressed) = (read_number(index, &mut at)?, read_number(index, &mut at)?);
        let bytes = stream.get(HEADER..index_start)?.to_vec();
        let whole = index[0] == 0 && records == 1 && bytes.len() as u64 == unpadded.next_multiple_of(4);
        whole.then_some(Block { bytes, unpadded, uncompressed })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.unpadded.to_le_bytes()[..], &self.uncompressed.to_le_bytes(), &self.bytes].concat()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Block> {
        let (unpadded, rest) = bytes.split_first_chunk::<8>()?;
        let (uncompressed, rest) = rest.split_first_chunk::<8>()?;
        let (unpadded, uncompressed) = (u64::from_le_bytes(*unpadded), u64::from_le_bytes(*uncompressed));
        Some(Block { bytes: rest.to_vec(), unpadded, uncompressed })
    }
}

/// A stream composed of blocks.
pub struct Stream {
    out: Vec<u8>,
    records: Vec<(u64, u64)>,
}

/// Check type CRC64 (2.1.1.2), as liblzma's presets write.
const FLAGS: [u8; 2] = [0, 4];

impl Stream {
    pub fn new() -> Self {
        let mut out = b"\xfd7zXZ\0".to_vec();
        out.extend_from_slice(&FLAGS);
        out.extend_from_slice(&crc32fast::hash(&FLAGS).to_le_bytes());
        Stream { out, records: Vec::new() }
    }

    pub fn add(&mut self, block: &Block) {
        self.out.extend_from_slice(&block.bytes);
        self.records.push((block.unpadded, block.uncompressed));
    }

    pub fn finish(mut self) -> Vec<u8> {
        let mut index = vec![0];
        write_number(&mut index, self.records.len() as u64);
        for (unpadded, uncompressed) in &self.records {
            write_number(&mut index, *unpadded);
            write_number(&mut index, *uncompressed);
        }
        index.resize(index.len().next_multiple_of(4), 0);
        index.extend_from_slice(&crc32fast::hash(&index).to_le_bytes());
        let backward = (index.len() / 4 - 1) as u32;
        let sizes = [&backward.to_le_bytes()[..], &FLAGS].concat();
        self.out.extend_from_slice(&index);
        self.out.extend_from_slice(&crc32fast::hash(&sizes).to_le_bytes());
        self.out.extend_from_slice(&sizes);
        self.out.extend_from_slice(b"YZ");
        self.out
    }
}

/// Seven bits per byte, least significant first (section 1.2).
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..63).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
