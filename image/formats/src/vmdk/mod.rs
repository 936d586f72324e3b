//! VMDK of the type streamOptimized (VMware, "Virtual Disk Format 5.0", section "Stream-Optimized Compressed Sparse Extents").
//!
//! The layout is that of VMware's own exports: header of version 3, descriptor, then grains and grain tables in the order of the
//! disk, each after its marker, and at the end grain directory, footer and end-of-stream marker. ESXi refuses versions below 3.
//! Grain tables without a grain are left out.

/// Header, footer and markers.
mod extent;

use camino::Utf8Path;
use extent::{DATA_AT, Marker, header, marker};

use crate::names::check_name;
use crate::output::Output;
use crate::pack::{Packer, Spare};
use crate::pieces::in_order;
use crate::raw::{Raw, SECTOR, is_zero};
use crate::{Conversion, Error, Written};

#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Name of the extent in the descriptor: that of the file.
    pub name: &'a str,
    /// Identifies the content (`ddb.longContentID`). Its lower 32 bits are the CID, which VMware changes with every change of
    /// the disk.
    pub content_id: u128,
    /// Version of the virtual hardware (`ddb.virtualHWVersion`), such as 13.
    pub hardware: u8,
    /// Size of the virtual disk in bytes, a multiple of 512; that of the raw image if `None`. Filled up to whole
    /// grains of 64 KiB.
    pub virtual_size: Option<u64>,
}

/// Bytes of a grain: VMware's default, the largest that ESXi accepts.
const GRAIN: u64 = 64 << 10;
/// Entries of a grain table.
const TABLE: u64 = 512;
/// Largest virtual disk of vSphere 5.5 and newer.
const MAX_SIZE: u64 = 62 << 40;
/// Entries of grain tables and directory are sectors in 32 bits.
const MAX_FILE: u64 = (u32::MAX as u64) * SECTOR;
/// A compressed grain is slightly larger than its data at worst.
const MAX_PACKED: usize = 2 * GRAIN as usize;

fn descriptor(options: &Options<'_>, sectors: u64) -> Result<String, Error> {
    let name = check_name("the name of a disk file", options.name)?;
    let cid = options.content_id as u32;
    // VMware's "no parent" and "not computed yet".
    if cid >= u32::MAX - 1 {
        let value = format!("{cid:08x}");
        return Err(Error::Value { what: "the content ID of a VMDK", value, why: "fffffffe and ffffffff are reserved" });
    }
    let cylinders = sectors.div_ceil(255 * 63).min(65535);
    let (content, hardware) = (options.content_id, options.hardware);
    // Also right for the controller pvscsi. Tools: 2147483647 and type 4 are open-vm-tools of the distribution.
    Ok(format!(
        "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID={cid:08x}\nparentCID=ffffffff\n\
        createType=\"streamOptimized\"\n\n# Extent description\nRW {sectors} SPARSE \"{name}\"\n\n\
        # The Disk Data Base\n#DDB\n\nddb.adapterType = \"lsilogic\"\nddb.geometry.cylinders = \"{cylinders}\"\n\
        ddb.geometry.heads = \"255\"\nddb.geometry.sectors = \"63\"\nddb.longContentID = \"{content:032x}\"\n\
        ddb.toolsInstallType = \"4\"\nddb.toolsVersion = \"2147483647\"\nddb.virtualHWVersion = \"{hardware}\"\n"
    ))
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
    bytes
}

/// A grain with its marker: sector of the disk, length of the data, the data (section "Markers").
fn pack(at: u64, grain: &[u8], packer: &mut Packer) -> std::io::Result<Vec<u8>> {
    let data = packer.pack(grain, MAX_PACKED)?.ok_or_else(|| std::io::Error::other("deflate doubled the size of a grain"))?;
    let mut bytes = Vec::with_capacity(data.len() + 2 * SECTOR as usize);
    bytes.extend((at / SECTOR).to_le_bytes());
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    Ok(padded(bytes))
}

struct Stream {
    out: Output,
    /// The grain table that is being filled, and its index in the directory.
    table: Vec<u32>,
    table_index: u64,
    directory: Vec<u32>,
}

impl Stream {
    fn create(path: &Utf8Path, capacity: u64, descriptor: &str) -> Result<Self, Error> {
        let mut out = Output::create(path)?;
        out.append(&header(capacity / SECTOR, None))?;
        out.append(descriptor.as_bytes())?;
        out.end = DATA_AT * SECTOR;
        let tables = capacity.div_ceil(GRAIN * TABLE);
        Ok(Stream { out, table: vec![0; TABLE as usize], table_index: 0, directory: vec![0; tables as usize] })
    }

    /// The sector where the next thing is written.
    fn sector(&self) -> Result<u32, Error> {
        let size = self.out.end;
        u32::try_from(size / SECTOR).map_err(|_| Error::TooLarge { what: "a VMDK file", size, limit: MAX_FILE })
    }

    /// Writes a grain of the disk. They come in ascending order.
    fn grain(&mut self, index: u64, bytes: &[u8]) -> Result<(), Error> {
        if index / TABLE != self.table_index {
            self.flush_table()?;
            self.table_index = index / TABLE;
        }
        self.table[(index % TABLE) as usize] = self.sector()?;
        self.out.append(bytes)
    }

    /// Writes sectors of metadata after their marker; the sector where they begin.
    fn metadata(&mut self, kind: Marker, bytes: Vec<u8>) -> Result<u32, Error> {
        let bytes = padded(bytes);
        self.out.append(&marker(kind, bytes.len() as u64 / SECTOR))?;
        let at = self.sector()?;
        self.out.append(&bytes)?;
        Ok(at)
    }

    fn flush_table(&mut self) -> Result<(), Error> {
        if self.table.iter().any(|entry| *entry != 0) {
            let bytes = self.table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
            self.directory[self.table_index as usize] = self.metadata(Marker::GrainTable, bytes)?;
            self.table.fill(0);
        }
        Ok(())
    }

    /// Writes what ends the stream; the size of the file.
    fn finish(mut self, capacity: u64) -> Result<u64, Error> {
        self.flush_table()?;
        let directory = self.directory.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        let directory_at = self.metadata(Marker::GrainDirectory, directory)?;
        self.metadata(Marker::Footer, header(capacity / SECTOR, Some(directory_at.into())))?;
        self.out.append(&marker(Marker::EndOfStream, 0))?;
        let size = self.out.end;
        self.out.finish(size)?;
        Ok(size)
    }
}

/// Writes a streamOptimized VMDK.
///
/// # Errors
/// If a file cannot be read or written, the sizes or names do not fit, or the work was cancelled; then `out` is as it was before.
pub fn write(conversion: &Conversion<'_>, options: &Options<'_>) -> Result<Written, Error> {
    let raw = Raw::open(conversion.raw)?;
    let capacity = raw.virtual_size(options.virtual_size)?.next_multiple_of(GRAIN);
    if capacity > MAX_SIZE {
        return Err(Error::TooLarge { what: "a VMDK", size: capacity, limit: MAX_SIZE });
    }
    let mut stream = Stream::create(conversion.out, capacity, &descriptor(options, capacity / SECTOR)?)?;
    let spare = Spare::new();
    let work = |at: u64, bytes: &[u8]| {
        let grains = (at..).step_by(GRAIN as usize).zip(bytes.chunks(GRAIN as usize)).filter(|(_, grain)| !is_zero(grain));
        let packed = |packer: &mut Packer| grains.map(|(at, grain)| Ok((at / GRAIN, pack(at, grain, packer)?))).collect();
        let packed: std::io::Result<Vec<(u64, Vec<u8>)>> = spare.with(Packer::zlib, packed);
        packed.map_err(raw.compressing())
    };
    let write = |grains: Vec<(u64, Vec<u8>)>| grains.iter().try_for_each(|(index, bytes)| stream.grain(*index, bytes));
    in_order(&raw, "writing the VMDK", conversion.progress, work, write)?;
    Ok(Written { size: stream.finish(capacity)?, capacity })
}
