//! Reads partition tables and adds one partition: MBR, and GPT (UEFI 2.10, chapter 5). Pure: takes bytes, returns the bytes to
//! write.
//!
//! By hand although `image` writes its disks with gptman. That is made for disks of one's own: it asserts where a header
//! declares entries of another size, allocates as many entries as a header declares, refuses to write where partitions
//! overlap, as in every hybrid image of xorriso, moves the first usable sector, and writes the primary table before the
//! backup. Here the disk is a stranger's, and each write is synced before the next.

/// Bytes read from the start of a disk: both tables, and the volume descriptor of an ISO image.
pub const HEAD: usize = 64 << 10;
/// Name of the state partition in a GPT, and label of its file system.
pub const NAME: &str = "KUBEDOS-STATE";
/// Type of the state partition in an MBR, which has no names: "non-FS data", which desktops ignore.
const MBR_TYPE: u8 = 0xda;
/// Minimum size of a new state partition, in bytes.
pub const MIN_STATE: u64 = 256 << 20;
/// A GPT with more entries is not changed.
const MAX_ENTRIES: u64 = 1024;
const ENTRY: usize = 128;
/// Partitions begin and end at multiples of this many bytes.
const ALIGN: u64 = 1 << 20;
/// Linux file system data, 0FC63DAF-8483-4772-8E79-3D69D8477DE4.
const LINUX: [u8; 16] = [0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4];
/// "Do not automount", of the type's own attributes.
const NO_AUTOMOUNT: u64 = 1 << 63;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("it has no partition table")]
    Missing,
    #[error("its partition table is not supported ({0})")]
    Unusual(&'static str),
    #[error("its partition table is full")]
    Full,
    #[error("only {} MiB are free at its end, but {} MiB are needed", .0 >> 20, MIN_STATE >> 20)]
    NoRoom(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mbr,
    Gpt { entries_at: u64, entries: u64 },
}

/// Where a partition is, in bytes; numbers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub number: u32,
    pub start: u64,
    pub len: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    kind: Kind,
    pub partitions: Vec<Place>,
    /// The state partition, if it exists.
    pub ours: Option<Place>,
    /// End of the ISO image on the disk, in bytes; 0 if there is none.
    iso_end: u64,
    size: u64,
    sector: u64,
}

/// Bytes to write at one position of the disk. Each write is synced before the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    pub at: u64,
    pub bytes: Vec<u8>,
}

fn le(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes.get(at..at + len).map_or(0, |b| b.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
}

/// End of the ISO 9660 volume (ECMA-119, 8.4.8: volume space size) in bytes.
fn iso_end(head: &[u8]) -> u64 {
    let descriptor = head.get(32_768..32_768 + 2048).unwrap_or_default();
    if descriptor.get(..6) == Some(b"\x01CD001".as_slice()) { le(descriptor, 80, 4) * 2048 } else { 0 }
}

impl Table {
    /// Reads the table of a disk of `size` bytes with sectors of `sector` bytes from its first [`HEAD`] bytes.
    ///
    /// # Errors
    /// When there is none, or one that this program does not support.
    pub fn parse(head: &[u8], size: u64, sector: u64) -> Result<Self, TableError> {
        if head.len() < HEAD || !matches!(sector, 512 | 4096) || head.get(510..512) != Some(&[0x55, 0xaa]) {
            return Err(TableError::Missing);
        }
        let mbr: Vec<&[u8]> = head[446..510].chunks_exact(16).collect();
        let mut table = Table { kind: Kind::Mbr, partitions: Vec::new(), ours: None, iso_end: iso_end(head), size, sector };
        // Like the kernel: a protective entry at any position makes it a GPT.
        if mbr.iter().any(|e| e[4] == 0xee) {
            table.read_gpt(head)?;
        } else {
            for (number, entry) in (1u32..).zip(&mbr).filter(|(_, e)| le(e, 12, 4) > 0) {
                let place = Place { number, start: le(entry, 8, 4) * sector, len: le(entry, 12, 4) * sector };
                table.partitions.push(place);
                if entry[4] == MBR_TYPE {
                    table.ours = Some(place);
                }
            }
        }
        // An ISO image may overlap its own partitions, but the state partition is behind all of it.
        let inside = |p: &Place| p.start >= table.iso_end && p.start.checked_add(p.len).is_some_and(|end| end <= size);
        if table.ours.is_some_and(|p| !inside(&p)) {
            return Err(TableError::Unusual("the state partition extends beyond the disk or overlaps the medium"));
        }
        Ok(table)
    }

    fn read_gpt(&mut self, head: &[u8]) -> Result<(), TableError> {
        let header = gpt_header(head, self.sector)?;
        let (entries_at, entries) = (le(header, 72, 8), le(header, 80, 4));
        let from = entries_at.checked_mul(self.sector).filter(|at| *at < HEAD as u64);
        let array = from.and_then(|at| head.get(at as usize..at as usize + entries as usize * ENTRY));
        let array = array.ok_or(TableError::Unusual("the entries of its GPT are not near its start"))?;
        if u64::from(crc32fast::hash(array)) != le(header, 88, 4) {
            return Err(TableError::Unusual("the entries of its GPT are damaged"));
        }
        self.kind = Kind::Gpt { entries_at, entries };
        for (number, entry) in (1u32..).zip(array.chunks_exact(ENTRY)).filter(|(_, e)| e[..16] != [0; 16]) {
            let (first, last) = (le(entry, 32, 8), le(entry, 40, 8));
            let in_bytes = |n: u64| n.checked_mul(self.sector);
            let place = last.checked_sub(first).and_then(|n| Some((in_bytes(first)?, in_bytes(n.checked_add(1)?)?)));
            let (start, len) = place.ok_or(TableError::Unusual("a partition of its GPT ends before it begins"))?;
            self.partitions.push(Place { number, start, len });
            if entry[56..] == utf16(NAME) {
                self.ours = Some(Place { number, start, len });
            }
        }
        Ok(())
    }

    /// The place for a state partition: all free space behind the other partitions and the ISO image.
    pub fn free(&self, head: &[u8]) -> Result<Place, TableError> {
        let ends = self.partitions.iter().map(|p| p.start.saturating_add(p.len));
        let start = ends.chain([self.iso_end, ALIGN]).max().unwrap_or(ALIGN).div_ceil(ALIGN) * ALIGN;
        let (number, limit) = match self.kind {
            Kind::Mbr => {
                let free = (0..4).find(|i| head[446 + i * 16..462 + i * 16].iter().all(|b| *b == 0));
                // Sector numbers have 32 bits.
                (free, self.size.min(u64::from(u32::MAX) * self.sector))
            }
            Kind::Gpt { entries_at, entries } => {
                let at = |i: u64| entries_at as usize * self.sector as usize + i as usize * ENTRY;
                let free = (0..entries).find(|i| head[at(*i)..at(*i) + 16] == [0; 16]).map(|i| i as usize);
                let behind = 1 + (entries * ENTRY as u64).div_ceil(self.sector);
                (free, self.size.saturating_sub(behind * self.sector))
            }
        };
        let len = (limit / ALIGN * ALIGN).saturating_sub(start);
        let number = number.ok_or(TableError::Full)? as u32 + 1;
        if len < MIN_STATE { Err(TableError::NoRoom(len)) } else { Ok(Place { number, start, len }) }
    }

    /// The writes that create the state partition at `place`, which [`Self::free`] returned. In an MBR this is one sector; in a
    /// GPT first the backup at the end of the disk, then header and entries as one write. `id` is the partition's GUID.
    pub fn add(&self, head: &[u8], place: Place, id: [u8; 16]) -> Vec<Write> {
        let (first, count) = (place.start / self.sector, place.len / self.sector);
        let index = place.number as usize - 1;
        match self.kind {
            Kind::Mbr => {
                let mut sector = head[..512].to_vec();
                let entry = &mut sector[446 + index * 16..462 + index * 16];
                // Beyond the range of cylinders, heads and sectors.
                entry[..8].copy_from_slice(&[0, 0xfe, 0xff, 0xff, MBR_TYPE, 0xfe, 0xff, 0xff]);
                entry[8..12].copy_from_slice(&(first as u32).to_le_bytes());
                entry[12..].copy_from_slice(&(count as u32).to_le_bytes());
                vec![Write { at: 0, bytes: sector }]
            }
            Kind::Gpt { entries_at, entries } => {
                let from = (entries_at * self.sector) as usize;
                let mut array = head[from..from + entries as usize * ENTRY].to_vec();
                array[index * ENTRY..][..ENTRY].copy_from_slice(&gpt_entry(id, first, first + count - 1));
                self.gpt_writes(head, entries_at, array)
            }
        }
    }

    fn gpt_writes(&self, head: &[u8], entries_at: u64, array: Vec<u8>) -> Vec<Write> {
        let sector = self.sector as usize;
        let span = (array.len() as u64).div_ceil(self.sector);
        let last = self.size / self.sector - 1;
        let mut header = head[sector..sector * 2].to_vec();
        header[88..92].copy_from_slice(&crc32fast::hash(&array).to_le_bytes());
        // The disk may be larger than the image that was written to it.
        let usable = (last - span - 1).to_le_bytes();
        let seal = |own: u64, other: u64, entries_at: u64| {
            let mut header = header.clone();
            header[24..32].copy_from_slice(&own.to_le_bytes());
            header[32..40].copy_from_slice(&other.to_le_bytes());
            header[48..56].copy_from_slice(&usable);
            header[72..80].copy_from_slice(&entries_at.to_le_bytes());
            header[16..20].fill(0);
            let len = le(&header, 12, 4) as usize;
            let crc = crc32fast::hash(&header[..len]);
            header[16..20].copy_from_slice(&crc.to_le_bytes());
            header
        };
        let padded = |mut bytes: Vec<u8>| {
            bytes.resize(bytes.len().div_ceil(sector) * sector, 0);
            bytes
        };
        let backup = [padded(array.clone()), seal(last, 1, last - span)].concat();
        let primary = seal(1, last, entries_at);
        let mut writes = vec![Write { at: (last - span) * self.sector, bytes: backup }];
        if entries_at == 2 {
            writes.push(Write { at: self.sector, bytes: [primary, array].concat() });
        } else {
            writes.push(Write { at: entries_at * self.sector, bytes: array });
            writes.push(Write { at: self.sector, bytes: primary });
        }
        writes
    }
}

/// The primary header, verified.
fn gpt_header(head: &[u8], sector: u64) -> Result<&[u8], TableError> {
    let header = head.get(sector as usize..2 * sector as usize).unwrap_or_default();
    let len = le(header, 12, 4) as usize;
    if header.get(..8) != Some(b"EFI PART".as_slice()) || !(92..=header.len()).contains(&len) {
        return Err(TableError::Unusual("its GPT has no header"));
    }
    let mut bare = header[..len].to_vec();
    bare[16..20].fill(0);
    let fits = u64::from(crc32fast::hash(&bare)) == le(header, 16, 4) && le(header, 24, 8) == 1;
    let entries = le(header, 84, 4) == ENTRY as u64 && (1..=MAX_ENTRIES).contains(&le(header, 80, 4));
    if fits && entries { Ok(header) } else { Err(TableError::Unusual("its GPT is damaged or has an unusual size")) }
}

fn utf16(name: &str) -> [u8; 72] {
    let mut out = [0; 72];
    let bytes = name.encode_utf16().flat_map(u16::to_le_bytes);
    out.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
    out
}

fn gpt_entry(id: [u8; 16], first: u64, last: u64) -> Vec<u8> {
    let numbers = [first, last, NO_AUTOMOUNT].map(u64::to_le_bytes).concat();
    [LINUX.as_slice(), &id, &numbers, &utf16(NAME)].concat()
}

/// A GPT with only the state partition, for a blank disk of `size` bytes.
pub fn fresh(size: u64, sector: u64, disk: [u8; 16], partition: [u8; 16]) -> Result<(Place, Vec<Write>), TableError> {
    let s = sector as usize;
    let span = (128 * ENTRY).div_ceil(s) as u64;
    if size < MIN_STATE || !matches!(sector, 512 | 4096) {
        return Err(TableError::NoRoom(size));
    }
    let last = size / sector - 1;
    let mut head = vec![0u8; HEAD];
    // UEFI 2.10, table 5.4: one entry for the whole disk, up to the 32-bit limit.
    head[446..462].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0]);
    head[458..462].copy_from_slice(&u32::try_from(last).unwrap_or(u32::MAX).to_le_bytes());
    head[510..512].copy_from_slice(&[0x55, 0xaa]);
    let mut header = vec![0u8; s];
    header[..16].copy_from_slice(b"EFI PART\0\0\x01\0\x5c\0\0\0");
    header[24..32].copy_from_slice(&1u64.to_le_bytes());
    header[40..48].copy_from_slice(&(2 + span).to_le_bytes());
    header[56..72].copy_from_slice(&disk);
    header[72..80].copy_from_slice(&2u64.to_le_bytes());
    header[80..84].copy_from_slice(&128u32.to_le_bytes());
    header[84..88].copy_from_slice(&(ENTRY as u32).to_le_bytes());
    header[88..92].copy_from_slice(&crc32fast::hash(&[0; 128 * ENTRY]).to_le_bytes());
    let crc = crc32fast::hash(&header[..92]);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    head[s..2 * s].copy_from_slice(&header);
    let table = Table::parse(&head, size, sector)?;
    let place = table.free(&head)?;
    let mut writes = table.add(&head, place, partition);
    writes.push(Write { at: 0, bytes: head[..512].to_vec() });
    Ok((place, writes))
}

/// Whether `bytes`, read at `at`, are zero except for what `writes` would write there: a blank disk, or one whose
/// partitioning was interrupted.
pub fn blank(at: u64, bytes: &[u8], writes: &[Write]) -> bool {
    const PIECE: usize = 512;
    bytes.chunks(PIECE).enumerate().all(|(i, piece)| {
        let here = at + (i * PIECE) as u64;
        let same = |w: &Write| {
            let from = here.checked_sub(w.at).and_then(|n| usize::try_from(n).ok());
            from.is_some_and(|from| w.bytes.get(from..from + piece.len()) == Some(piece))
        };
        piece.iter().all(|b| *b == 0) || writes.iter().any(same)
    })
}

#[cfg(test)]
mod tests;
