//! qcow2 version 3 (QEMU, docs/interop/qcow2.rst), with compressed clusters.
//!
//! Clusters of zeros are not allocated, so they read as zeros without a backing file. A cluster that does not become smaller is
//! stored as it is.

/// Where clusters are in the file, and the tables that say so.
mod layout;

use layout::{CLUSTER, Layout};

use crate::pack::{Packer, Spare};
use crate::pieces::in_order;
use crate::raw::{Raw, is_zero};
use crate::{Conversion, Error, Written};

/// What clusters are compressed with (section "Header", byte 104: `compression_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Every QEMU reads it.
    Zlib,
    /// Several times faster and somewhat smaller. QEMU 5.1 or newer.
    Zstd,
}

#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub compression: Compression,
    /// Size of the virtual disk in bytes, a multiple of 512; that of the raw image if `None`.
    pub virtual_size: Option<u64>,
}

/// QEMU accepts L1 tables of up to 32 MiB; one entry is 512 MiB of the disk (`QCOW_MAX_L1_SIZE`).
const MAX_SIZE: u64 = 2 << 50;
/// QEMU inflates with this window (`qcow2_zlib_decompress`): matches may not be farther back than 4 KiB.
const WINDOW_BITS: u8 = 12;

enum Cluster {
    Zero,
    Packed(Vec<u8>),
    Plain(Vec<u8>),
}

fn pack(cluster: &[u8], packer: &mut Packer) -> std::io::Result<Cluster> {
    if is_zero(cluster) {
        return Ok(Cluster::Zero);
    }
    let packed = packer.pack(cluster, CLUSTER as usize - 1)?;
    Ok(packed.map_or_else(|| Cluster::Plain(cluster.to_owned()), |bytes| Cluster::Packed(bytes.to_owned())))
}

/// Writes a qcow2 image.
///
/// # Errors
/// If a file cannot be read or written, the sizes do not fit, or the work was cancelled; then `out` is as it was before.
pub fn write(conversion: &Conversion<'_>, options: &Options) -> Result<Written, Error> {
    let raw = Raw::open(conversion.raw)?;
    let capacity = raw.virtual_size(options.virtual_size)?;
    if capacity > MAX_SIZE {
        return Err(Error::TooLarge { what: "a qcow2 image", size: capacity, limit: MAX_SIZE });
    }
    let zstd = options.compression == Compression::Zstd;
    let make = || if zstd { Packer::zstd() } else { Packer::deflate(WINDOW_BITS) };
    let spare = Spare::new();
    let mut layout = Layout::create(conversion.out, capacity, zstd)?;
    let work = |at: u64, bytes: &[u8]| {
        let clusters = |packer: &mut Packer| bytes.chunks(CLUSTER as usize).map(|c| pack(c, packer)).collect();
        let clusters: std::io::Result<Vec<Cluster>> = spare.with(make, clusters);
        Ok((at / CLUSTER, clusters.map_err(raw.compressing())?))
    };
    let write = |(first, clusters): (u64, Vec<Cluster>)| {
        for (index, cluster) in (first..).zip(clusters) {
            match cluster {
                Cluster::Zero => {}
                Cluster::Packed(bytes) => layout.packed(index, &bytes)?,
                Cluster::Plain(bytes) => layout.plain(index, &bytes)?,
            }
        }
        Ok(())
    };
    in_order(&raw, "writing the qcow2 image", conversion.progress, work, write)?;
    Ok(Written { size: layout.finish()?, capacity })
}
