//! Dynamic VHDX ([MS-VHDX] version 8).
//!
//! Order in the file, in units of 1 MiB: file identifier, headers and region tables; the log, which is empty; metadata; the block
//! allocation table (BAT); blocks.

/// Headers, region tables and metadata.
mod head;

pub use head::Ids;
use head::{BAT_AT, MIB, Shape, file_identifier, headers, metadata, region_tables};

use crate::output::Output;
use crate::pieces::in_order;
use crate::raw::{Raw, is_zero};
use crate::{Conversion, Error, Written};

#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub ids: Ids,
    /// Size of the virtual disk in bytes, a multiple of 512; that of the raw image if `None`.
    pub virtual_size: Option<u64>,
}

/// Section 2.6.2.2.
const MAX_SIZE: u64 = 64 << 40;
/// Blocks have the least size, from 1 MiB, that needs no more than this number of them.
const BLOCKS: u64 = 256 << 10;
/// Section 2.5.1.1: the whole block reads as zeros. The state of new disks, "not present", promises nothing.
const ZERO: u64 = 2;
/// Section 2.5.1.1: the block is in the file.
const PRESENT: u64 = 6;

fn shape(capacity: u64) -> Shape {
    let block = capacity.div_ceil(BLOCKS).next_power_of_two().max(MIB);
    let blocks = capacity.div_ceil(block);
    // Section 2.5: an entry for a bitmap follows each full chunk of blocks; a disk without a parent has no bitmaps.
    let chunk = (1 << 32) / block;
    let entries = blocks + (blocks - 1) / chunk;
    Shape { capacity, block, chunk, entries, bat_length: (entries * 8).next_multiple_of(MIB) }
}

struct Blocks {
    out: Output,
    shape: Shape,
    bat: Vec<u64>,
}

impl Blocks {
    fn create(out: Output, shape: Shape) -> Self {
        let is_bitmap = |entry: u64| entry % (shape.chunk + 1) == shape.chunk;
        let bat = (0..shape.entries).map(|entry| if is_bitmap(entry) { 0 } else { ZERO }).collect();
        let mut blocks = Blocks { out, shape, bat };
        blocks.out.end = BAT_AT + blocks.shape.bat_length;
        blocks
    }

    /// Writes a piece of the disk, which is in one block. They come in ascending order.
    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let block = at / self.shape.block;
        let entry = &mut self.bat[(block + block / self.shape.chunk) as usize];
        if *entry == ZERO {
            // Section 2.5: state, then the offset in MiB from bit 20. Blocks are aligned, so the offset is in its place.
            *entry = self.out.end | PRESENT;
            self.out.end += self.shape.block;
        }
        let start = *entry - PRESENT;
        self.out.write_sparse(start + at % self.shape.block, bytes)
    }

    /// Writes the BAT; the size of the file.
    fn finish(self) -> Result<u64, Error> {
        let bat: Vec<u8> = self.bat.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        self.out.write_at(BAT_AT, &bat)?;
        let size = self.out.end;
        self.out.finish(size)?;
        Ok(size)
    }
}

/// Writes a dynamic VHDX.
///
/// # Errors
/// If a file cannot be read or written, the sizes do not fit, or the work was cancelled; then `out` is as it was before.
pub fn write(conversion: &Conversion<'_>, options: &Options) -> Result<Written, Error> {
    let raw = Raw::open(conversion.raw)?;
    let capacity = raw.virtual_size(options.virtual_size)?;
    if capacity > MAX_SIZE {
        return Err(Error::TooLarge { what: "a VHDX", size: capacity, limit: MAX_SIZE });
    }
    let shape = shape(capacity);
    let out = Output::create(conversion.out)?;
    let parts = [file_identifier(), headers(&options.ids), region_tables(&shape), metadata(&shape, &options.ids)];
    for (at, bytes) in parts.into_iter().flatten() {
        out.write_at(at, &bytes)?;
    }
    let mut blocks = Blocks::create(out, shape);
    let work = |at: u64, bytes: &[u8]| Ok((!is_zero(bytes)).then(|| (at, bytes.to_owned())));
    let write = |piece: Option<(u64, Vec<u8>)>| piece.map_or(Ok(()), |(at, bytes)| blocks.put(at, &bytes));
    in_order(&raw, "writing the VHDX", conversion.progress, work, write)?;
    Ok(Written { size: blocks.finish()?, capacity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_grow_with_the_disk_and_bitmaps_have_entries() {
        let of = |capacity: u64| {
            let s = shape(capacity);
            (s.block / MIB, s.entries, s.bat_length / MIB)
        };
        assert_eq!(of(512), (1, 1, 1));
        // A chunk is 4 GiB: only a block after it makes the entry of its bitmap necessary.
        assert_eq!((of(4 << 30).1, of((4 << 30) + 512).1), (4096, 4098));
        assert_eq!((of(256 << 30), of((256 << 30) + 512)), ((1, 262_144 + 63, 3), (2, 131_073 + 64, 2)));
        // 256 MiB is the most that section 2.6.2.1 allows.
        assert_eq!(of(MAX_SIZE), (256, 262_144 + 16_383, 3));
    }
}
