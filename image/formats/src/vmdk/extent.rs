use crate::raw::SECTOR;

/// Sector of the first grain (`overHead`), as in VMware's exports.
pub(super) const DATA_AT: u64 = 128;
/// Sectors of the descriptor, which begins in sector 1.
pub(super) const DESCRIPTOR_SECTORS: u64 = 20;
/// The newline test is valid; grains are compressed; there are markers.
const FLAGS: u32 = 1 | 1 << 16 | 1 << 17;
/// In the header of a stream: the offset is in the footer (`GD_AT_END`).
const AT_END: u64 = u64::MAX;

/// Section "Hosted Sparse Extents", `SparseExtentHeader`. `directory_at` is the sector of the grain directory, which only the
/// footer knows.
pub(super) fn header(capacity: u64, directory_at: Option<u64>) -> Vec<u8> {
    let mut header = Vec::with_capacity(SECTOR as usize);
    header.extend(b"KDMV");
    // Version, flags.
    header.extend([3, FLAGS].map(u32::to_le_bytes).concat());
    // Sectors: capacity, grain, descriptor.
    header.extend([capacity, 128, 1, DESCRIPTOR_SECTORS].map(u64::to_le_bytes).concat());
    // Entries of a grain table.
    header.extend(512_u32.to_le_bytes());
    // No redundant directory; the directory; the first grain.
    header.extend([0, directory_at.unwrap_or(AT_END), DATA_AT].map(u64::to_le_bytes).concat());
    // Not unclean; characters that a transfer as text would change.
    header.extend(b"\0\n \r\n");
    // Deflate.
    header.extend(1_u16.to_le_bytes());
    header.resize(SECTOR as usize, 0);
    header
}

/// What follows a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    EndOfStream = 0,
    GrainTable = 1,
    GrainDirectory = 2,
    Footer = 3,
}

/// Section "Markers", `Metadata marker`: one sector, then `sectors` of what it announces.
pub(super) fn marker(kind: Marker, sectors: u64) -> Vec<u8> {
    let mut marker = Vec::with_capacity(SECTOR as usize);
    marker.extend(sectors.to_le_bytes());
    // A size of 0 tells it from the marker of a grain.
    marker.extend([0, kind as u32].map(u32::to_le_bytes).concat());
    marker.resize(SECTOR as usize, 0);
    marker
}
