//! Fixed VHD (Microsoft, "Virtual Hard Disk Image Format Specification" 1.0): the disk and a footer of 512 bytes.
//!
//! Azure accepts no other kind, and only disks of whole MiB.

use crate::output::Output;
use crate::pieces::in_order;
use crate::raw::{Raw, SECTOR, is_zero};
use crate::{Conversion, Error, Uuid, Written};

#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Identifies the disk.
    pub id: Uuid,
    /// When it was made, in Unix seconds. Dates before 2000 become that year, dates after 2136 the last possible second.
    pub created: u64,
}

/// The virtual disk has a multiple of it.
const ROUND: u64 = 1 << 20;
/// Hyper-V's limit for a VHD.
const MAX_SIZE: u64 = 2040 << 30;
/// 2000-01-01T00:00:00Z in Unix seconds, where the time stamp of a VHD begins.
const EPOCH: u64 = 946_684_800;

/// Cylinders, heads and sectors per track (appendix "CHS Calculation").
fn geometry(capacity: u64) -> (u16, u8, u8) {
    let total = (capacity / SECTOR).min(65535 * 16 * 255);
    let (sectors, heads, tracks);
    if total >= 65535 * 16 * 63 {
        (sectors, heads, tracks) = (255, 16, total / 255);
    } else {
        let four_at_least = (total / 17).div_ceil(1024).max(4);
        if total / 17 >= four_at_least * 1024 || four_at_least > 16 {
            if total / 31 >= 16 * 1024 {
                (sectors, heads, tracks) = (63, 16, total / 63);
            } else {
                (sectors, heads, tracks) = (31, 16, total / 31);
            }
        } else {
            (sectors, heads, tracks) = (17, four_at_least, total / 17);
        }
    }
    // All three are limited above.
    ((tracks / heads) as u16, heads as u8, sectors as u8)
}

/// Section "Hard Disk Footer Format".
fn footer(capacity: u64, options: &Options) -> Vec<u8> {
    let created = u32::try_from(options.created.saturating_sub(EPOCH)).unwrap_or(u32::MAX);
    let (cylinders, heads, sectors) = geometry(capacity);
    let mut footer = Vec::with_capacity(SECTOR as usize);
    footer.extend(b"conectix");
    // Features (one reserved bit is always set), format version 1.0, no dynamic header.
    footer.extend([2_u32, 0x0001_0000].map(u32::to_be_bytes).concat());
    footer.extend(u64::MAX.to_be_bytes());
    footer.extend(created.to_be_bytes());
    // Creator and its version, its system. Programs take the size from the geometry, which is smaller than the disk, unless they
    // know the creator: these are the values of Windows.
    footer.extend(b"win \0\x0a\0\0Wi2k");
    // Original size, current size.
    footer.extend([capacity; 2].map(u64::to_be_bytes).concat());
    footer.extend(cylinders.to_be_bytes());
    footer.extend([heads, sectors]);
    // A fixed disk; the checksum is filled in below.
    footer.extend([2_u32, 0].map(u32::to_be_bytes).concat());
    footer.extend(options.id.as_bytes());
    footer.resize(SECTOR as usize, 0);
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
    footer
}

/// Writes a fixed VHD with holes where the raw image has zeros. The disk is filled up to whole MiB.
///
/// # Errors
/// If a file cannot be read or written, the disk is too large, or the work was cancelled; then `out` is as it was before.
pub fn write(conversion: &Conversion<'_>, options: &Options) -> Result<Written, Error> {
    let raw = Raw::open(conversion.raw)?;
    let capacity = raw.size.next_multiple_of(ROUND);
    if capacity > MAX_SIZE {
        return Err(Error::TooLarge { what: "a VHD", size: capacity, limit: MAX_SIZE });
    }
    let out = Output::create(conversion.out)?;
    let work = |at: u64, bytes: &[u8]| Ok((!is_zero(bytes)).then(|| (at, bytes.to_owned())));
    let write = |piece: Option<(u64, Vec<u8>)>| piece.map_or(Ok(()), |(at, bytes)| out.write_sparse(at, &bytes));
    in_order(&raw, "writing the VHD", conversion.progress, work, write)?;
    out.write_at(capacity, &footer(capacity, options))?;
    let size = capacity + SECTOR;
    out.finish(size)?;
    Ok(Written { size, capacity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_geometry_is_that_of_the_specification() {
        for (mib, cylinders, heads, sectors) in [
            (1, 30, 4, 17),
            (33, 993, 4, 17),
            (34, 140, 16, 31),
            (35, 843, 5, 17),
            (128, 963, 16, 17),
            (136, 561, 16, 31),
            (247, 1019, 16, 31),
            (248, 503, 16, 63),
            (1 << 10, 2080, 16, 63),
            (40 << 10, 20_560, 16, 255),
            (1 << 20, 65_535, 16, 255),
        ] {
            assert_eq!(geometry(mib << 20), (cylinders, heads, sectors), "{mib} MiB");
        }
    }

    #[test]
    fn the_checksum_is_the_complement_of_the_sum() {
        let footer = footer(8 << 20, &Options { id: Uuid::from_u128(7), created: EPOCH + 5 });
        let others = footer[..64].iter().chain(&footer[68..]).map(|b| u32::from(*b)).sum::<u32>();
        assert_eq!(u32::from_be_bytes(footer[64..68].try_into().unwrap()), !others);
        assert_eq!(
            (footer.len(), &footer[24..28], &footer[68..84]),
            (512, &[0, 0, 0, 5][..], &Uuid::from_u128(7).as_bytes()[..])
        );
    }

    #[test]
    fn dates_outside_of_the_range_are_limited() {
        let stamp = |created| footer(8 << 20, &Options { id: Uuid::nil(), created })[24..28].to_owned();
        assert_eq!((stamp(0), stamp(EPOCH), stamp(u64::MAX)), (vec![0; 4], vec![0; 4], vec![0xff; 4]));
    }
}
