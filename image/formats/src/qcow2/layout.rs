//! Order in the file: header, clusters and the L2 tables between them, L1 table, refcount blocks, refcount table.

use camino::Utf8Path;

use crate::Error;
use crate::output::Output;

/// Bytes of a cluster; `cluster_bits` is 16, QEMU's default.
pub(super) const CLUSTER: u64 = 1 << CLUSTER_BITS;
const CLUSTER_BITS: u32 = 16;
/// Entries of an L2 table, which fills one cluster.
const L2_ENTRIES: u64 = CLUSTER / 8;
/// Refcounts have 2^4 bits (`refcount_order`), and a block of them fills one cluster.
const REFCOUNT_ORDER: u32 = 4;
const REFCOUNTS: u64 = CLUSTER / 2;
const HEADER_LENGTH: u32 = 112;
/// Set in entries of the L1 and L2 tables whose cluster has a refcount of exactly 1.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Bits of the offset in the entry of a compressed cluster: 62 - (`cluster_bits` - 8).
const OFFSET_BITS: u32 = 62 - (CLUSTER_BITS - 8);
/// `incompatible_features`: the field `compression_type` is not zlib.
const COMPRESSION_TYPE: u64 = 1 << 3;

pub(super) struct Layout {
    out: Output,
    capacity: u64,
    zstd: bool,
    /// Offset after the last compressed cluster; what remains of its host cluster takes the next one.
    free: u64,
    /// Refcounts of all host clusters so far. `out.end` is the offset after the last one.
    refcounts: Vec<u16>,
    l1: Vec<u64>,
    /// The L2 table that is being filled, and its index in the L1 table.
    l2: Vec<u64>,
    l2_index: u64,
}

fn big_endian(entries: &[u64]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_be_bytes()).collect()
}

impl Layout {
    pub fn create(path: &Utf8Path, capacity: u64, zstd: bool) -> Result<Self, Error> {
        let l1 = capacity.div_ceil(CLUSTER * L2_ENTRIES);
        let mut layout = Layout {
            out: Output::create(path)?,
            capacity,
            zstd,
            free: 0,
            refcounts: Vec::new(),
            l1: vec![0; l1 as usize],
            l2: vec![0; L2_ENTRIES as usize],
            l2_index: 0,
        };
        // For the header, which is written last.
        layout.allocate(1);
        Ok(layout)
    }

    /// The offset of `count` new host clusters in a row.
    fn allocate(&mut self, count: u64) -> u64 {
        let at = self.out.end;
        self.out.end += count * CLUSTER;
        self.refcounts.resize((self.out.end / CLUSTER) as usize, 1);
        at
    }

    /// The offset of `length` bytes, which share their host clusters with other compressed clusters.
    fn allocate_bytes(&mut self, length: u64) -> u64 {
        let room = self.free.next_multiple_of(CLUSTER) - self.free;
        let continues = room > 0 && (length <= room || self.free + room == self.out.end);
        let at = if continues { self.free } else { self.out.end };
        self.free = at + length;
        let (first, last) = (at / CLUSTER, (self.free - 1) / CLUSTER);
        self.refcounts.resize(self.refcounts.len().max(last as usize + 1), 0);
        for count in &mut self.refcounts[first as usize..=last as usize] {
            // Even 64 KiB of one byte take some 20 bytes, so that there are at most 3300 in a host cluster.
            *count = count.saturating_add(1);
        }
        self.out.end = self.refcounts.len() as u64 * CLUSTER;
        at
    }

    /// Notes where a cluster of the disk is. They come in ascending order.
    fn map(&mut self, index: u64, entry: u64) -> Result<(), Error> {
        if index / L2_ENTRIES != self.l2_index {
            self.flush_l2()?;
            self.l2_index = index / L2_ENTRIES;
        }
        self.l2[(index % L2_ENTRIES) as usize] = entry;
        Ok(())
    }

    fn flush_l2(&mut self) -> Result<(), Error> {
        if self.l2.iter().any(|entry| *entry != 0) {
            let at = self.allocate(1);
            self.out.write_at(at, &big_endian(&self.l2))?;
            self.l1[self.l2_index as usize] = at | COPIED;
            self.l2.fill(0);
        }
        Ok(())
    }

    /// Writes a compressed cluster of the disk (section "Compressed Clusters Descriptor").
    pub fn packed(&mut self, index: u64, bytes: &[u8]) -> Result<(), Error> {
        let at = self.allocate_bytes(bytes.len() as u64);
        self.out.write_at(at, bytes)?;
        // Sectors of 512 bytes after the first one that the data touches.
        let sectors = (at + bytes.len() as u64 - 1) / 512 - at / 512;
        self.map(index, COMPRESSED | sectors << OFFSET_BITS | at)
    }

    /// Writes a cluster of the disk as it is.
    pub fn plain(&mut self, index: u64, bytes: &[u8]) -> Result<(), Error> {
        let at = self.allocate(1);
        self.out.write_at(at, bytes)?;
        self.map(index, at | COPIED)
    }

    /// Writes the tables and the header; the size of the file.
    pub fn finish(mut self) -> Result<u64, Error> {
        self.flush_l2()?;
        let l1_at = self.allocate((self.l1.len() as u64 * 8).div_ceil(CLUSTER));
        self.out.write_at(l1_at, &big_endian(&self.l1))?;
        // The refcount blocks and their table count themselves.
        let used = self.refcounts.len() as u64;
        let (mut blocks, mut tables) = (0, 0);
        while blocks * REFCOUNTS < used + blocks + tables || tables * CLUSTER < blocks * 8 {
            blocks = (used + blocks + tables).div_ceil(REFCOUNTS);
            tables = (blocks * 8).div_ceil(CLUSTER);
        }
        let blocks_at = self.allocate(blocks);
        let table_at = self.allocate(tables);
        let counts: Vec<u8> = self.refcounts.iter().flat_map(|count| count.to_be_bytes()).collect();
        self.out.write_at(blocks_at, &counts)?;
        let table: Vec<u64> = (0..blocks).map(|n| blocks_at + n * CLUSTER).collect();
        self.out.write_at(table_at, &big_endian(&table))?;
        self.out.write_at(0, &self.header(l1_at, table_at, tables))?;
        let size = self.out.end;
        self.out.finish(size)?;
        Ok(size)
    }

    /// Section "Header"; the end of the header extensions is 8 bytes of zeros after it.
    fn header(&self, l1_at: u64, table_at: u64, tables: u64) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_LENGTH as usize);
        let mut long = |values: &[u64]| header.extend(values.iter().flat_map(|v| v.to_be_bytes()));
        let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        // Magic and version; no backing file (offset, then its length beside cluster_bits); size.
        long(&[pair(0x5146_49fb, 3), 0, pair(0, CLUSTER_BITS), self.capacity]);
        // No encryption, entries of the L1 table; its offset; the refcount table.
        long(&[pair(0, self.l1.len() as u32), l1_at, table_at]);
        // Clusters of the refcount table, no snapshots; their offset.
        long(&[pair(tables as u32, 0), 0]);
        // Features: incompatible, compatible, autoclear.
        long(&[if self.zstd { COMPRESSION_TYPE } else { 0 }, 0, 0]);
        // compression_type is one byte, followed by seven of padding.
        long(&[pair(REFCOUNT_ORDER, HEADER_LENGTH), u64::from(self.zstd) << 56]);
        header
    }
}
