use crc::{CRC_32_ISCSI, Crc};

use crate::Uuid;

pub(super) const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;
const LOG_AT: u64 = MIB;
const METADATA_AT: u64 = 2 * MIB;
pub(super) const BAT_AT: u64 = 3 * MIB;
/// CRC-32C (section 2.1: "the CRC-32C algorithm that uses the Castagnoli polynomial").
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Identifiers that other writers draw at random. All three should be different.
#[derive(Debug, Clone, Copy)]
pub struct Ids {
    /// Of the virtual disk (section 2.6.2.3).
    pub disk: Uuid,
    /// Changes whenever a program opens the file for writing (section 2.2.2, `FileWriteGuid`).
    pub file_write: Uuid,
    /// Changes with the content of the disk (section 2.2.2, `DataWriteGuid`).
    pub data_write: Uuid,
}

/// Sizes that follow from that of the disk.
#[derive(Debug)]
pub(super) struct Shape {
    /// Bytes of the virtual disk.
    pub capacity: u64,
    /// Bytes of a block.
    pub block: u64,
    /// Blocks of a chunk, after which the BAT has an entry for a bitmap.
    pub chunk: u64,
    /// Entries of the BAT.
    pub entries: u64,
    /// Bytes of the BAT, in whole MiB.
    pub bat_length: u64,
}

/// Where bytes belong in the file.
type Placed = Vec<(u64, Vec<u8>)>;

/// Puts the checksum at offset 4 of a structure that was filled up to its size.
fn with_checksum(mut bytes: Vec<u8>, size: u64) -> Vec<u8> {
    bytes.resize(size as usize, 0);
    let sum = CRC32C.checksum(&bytes);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Section 2.2.1.
pub(super) fn file_identifier() -> Placed {
    let creator = "Kubedos".encode_utf16().flat_map(u16::to_le_bytes);
    vec![(0, b"vhdxfile".iter().copied().chain(creator).collect())]
}

/// Section 2.2.2: two headers, of which the one with the higher sequence number counts.
pub(super) fn headers(ids: &Ids) -> Placed {
    let header = |sequence: u64| {
        let mut bytes = b"head\0\0\0\0".to_vec();
        bytes.extend(sequence.to_le_bytes());
        // The nil GUID of the log means that there is nothing to replay.
        bytes.extend([ids.file_write, ids.data_write, Uuid::nil()].map(|id| id.to_bytes_le()).concat());
        // Version of the log, version of the format.
        bytes.extend([0_u16, 1].map(u16::to_le_bytes).concat());
        bytes.extend((MIB as u32).to_le_bytes());
        bytes.extend(LOG_AT.to_le_bytes());
        with_checksum(bytes, 4 * KIB)
    };
    vec![(64 * KIB, header(1)), (128 * KIB, header(2))]
}

/// Section 2.2.3, twice.
pub(super) fn region_tables(shape: &Shape) -> Placed {
    let mut bytes = b"regi\0\0\0\0".to_vec();
    bytes.extend([2_u32, 0].map(u32::to_le_bytes).concat());
    for (id, at, length) in [
        (0x2dc2_7766_f623_4200_9d64_115e_9bfd_4a08, BAT_AT, shape.bat_length),
        (0x8b7c_a206_4790_4b9a_b8fe_575f_050f_886e, METADATA_AT, MIB),
    ] {
        bytes.extend(Uuid::from_u128(id).to_bytes_le());
        bytes.extend(at.to_le_bytes());
        // Length; the region is required.
        bytes.extend([length as u32, 1].map(u32::to_le_bytes).concat());
    }
    let table = with_checksum(bytes, 64 * KIB);
    vec![(192 * KIB, table.clone()), (256 * KIB, table)]
}

/// Section 2.6: the table, and its items from 64 KiB.
pub(super) fn metadata(shape: &Shape, ids: &Ids) -> Placed {
    // Flags: required; required and about the virtual disk.
    const FILE: u32 = 4;
    const DISK: u32 = 4 | 2;
    // Block size, no flags: blocks may be given back, and there is no parent.
    let parameters = [shape.block as u32, 0].map(u32::to_le_bytes).concat();
    let items = [
        (0xcaa1_6737_fa36_4d43_b3b6_33f0_aa44_e76b, FILE, parameters),
        (0x2fa5_4224_cd1b_4876_b211_5dbe_d83b_f4b8, DISK, shape.capacity.to_le_bytes().to_vec()),
        (0xbeca_12ab_b2e6_4523_93ef_c309_e000_c746, DISK, ids.disk.to_bytes_le().to_vec()),
        // Bytes of a logical and of a physical sector.
        (0x8141_bf1d_a96f_4709_ba47_f233_a8fa_ab5f, DISK, 512_u32.to_le_bytes().to_vec()),
        (0xcda3_48c7_445d_4471_9cc9_e988_5251_c556, DISK, 4096_u32.to_le_bytes().to_vec()),
    ];
    let mut table = b"metadata\0\0".to_vec();
    table.extend((items.len() as u16).to_le_bytes());
    table.resize(32, 0);
    let mut values = Vec::new();
    for (id, flags, value) in items {
        table.extend(Uuid::from_u128(id).to_bytes_le());
        table.extend([64 * KIB as u32 + values.len() as u32, value.len() as u32, flags, 0].map(u32::to_le_bytes).concat());
        values.extend(value);
    }
    vec![(METADATA_AT, table), (METADATA_AT + 64 * KIB, values)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, appendix B.4: 32 bytes of zeros.
        assert_eq!(CRC32C.checksum(&[0; 32]), 0x8a91_36aa);
    }
}
