//! The raw disk: GPT (UEFI 2.10, chapter 5) with BIOS boot, ESP, state and root, in this order so that root can grow.

/// The EFI system partition (ESP).
pub(crate) mod esp;

/// File systems of the state and root partitions.
pub(crate) mod ext4;

/// GRUB for BIOS, and GRUB's configuration.
pub(crate) mod grub;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::arch::Arch;
use cluster_seed::manifest::ArtifactManifest;
use gptman::{GPT, GPTPartitionEntry};
use host::files::{FileError, PUBLIC, Start, failed, open};

use crate::spec::{BIOS_BOOT_SIZE, ESP_SIZE, Names, STATE_SIZE};

pub const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
/// Copies skip zeros in pieces of this many bytes, so the image stays sparse.
const PIECE: usize = 64 << 10;

/// Partition numbers, as in the names of GRUB and Linux.
pub const BIOS_BOOT: u32 = 1;
pub const ESP: u32 = 2;
pub const STATE: u32 = 3;
pub const ROOT: u32 = 4;

const TYPE_BIOS_BOOT: &str = "21686148-6449-6e6f-744e-656564454649";
const TYPE_ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
const TYPE_LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

/// "Linux root (x86-64)" and "(ARM 64-bit)" of the Discoverable Partitions Specification.
fn type_root(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
        Arch::Arm64 => "b921b045-1df0-41c3-af44-4c6f280d3fae",
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("writing the partition table")]
    Table(#[from] gptman::Error),
    #[error("{path} has {size} bytes, but its partition only {room}")]
    DoesNotFit { path: Utf8PathBuf, size: u64, room: u64 },
}

/// Byte offset and length of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub offset: u64,
    pub size: u64,
}

impl Extent {
    pub fn end(&self) -> u64 {
        self.offset + self.size
    }

    pub fn first_sector(&self) -> u64 {
        self.offset / SECTOR
    }
}

/// Where each partition is, all on MiB boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub bios_boot: Extent,
    pub esp: Extent,
    pub state: Extent,
    pub root: Extent,
    /// Size of the disk in bytes: one MiB after root is for the backup table.
    pub disk: u64,
}

/// What an artifact's manifest says of its disk contradicts how disks are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the artifact's disk has another layout; build it again with this version")]
pub struct OtherLayout;

impl Layout {
    /// `root_size` is a multiple of one MiB.
    pub fn new(root_size: u64) -> Self {
        let after = |e: Extent, size| Extent { offset: e.end(), size };
        let bios_boot = Extent { offset: MIB, size: BIOS_BOOT_SIZE };
        let esp = after(bios_boot, ESP_SIZE);
        let state = after(esp, STATE_SIZE);
        let root = after(state, root_size.next_multiple_of(MIB));
        Layout { bios_boot, esp, state, root, disk: root.end() + MIB }
    }

    /// The layout of an artifact's disk.
    pub fn of(manifest: &ArtifactManifest) -> Result<Self, OtherLayout> {
        let before_root = manifest.state_offset.checked_add(manifest.state_size).ok_or(OtherLayout)?;
        let root = manifest.disk_size.checked_sub(before_root).and_then(|rest| rest.checked_sub(MIB)).ok_or(OtherLayout)?;
        let layout = Layout::new(root);
        let state = Extent { offset: manifest.state_offset, size: manifest.state_size };
        if layout.state == state && layout.disk == manifest.disk_size { Ok(layout) } else { Err(OtherLayout) }
    }
}

/// A GUID as stored on disk: the first three fields little-endian.
fn guid(big_endian: [u8; 16]) -> [u8; 16] {
    let mut g = big_endian;
    g[0..4].reverse();
    g[4..6].reverse();
    g[6..8].reverse();
    g
}

fn type_guid(text: &str) -> [u8; 16] {
    let mut bytes = [0u8; 16];
    // The constants above are well-formed: a unit test reads them back from a table.
    let _ = hex::decode_to_slice(text.replace('-', ""), &mut bytes);
    guid(bytes)
}

/// The raw image being written.
pub struct Disk {
    file: File,
    path: Utf8PathBuf,
}

impl Disk {
    /// Creates a sparse file of the layout's size, with the partition table and a protective MBR.
    pub fn create(path: &Utf8Path, layout: &Layout, names: &Names, arch: Arch) -> Result<Self, DiskError> {
        let creating = failed("creating", path);
        let mut file = open(path, Start::New, PUBLIC).map_err(&creating)?;
        file.set_len(layout.disk).map_err(creating)?;
        let mut table = GPT::new_from(&mut file, SECTOR, guid(names.uuid("disk")))?;
        for (number, extent, kind, name) in [
            (BIOS_BOOT, layout.bios_boot, TYPE_BIOS_BOOT, "kubedos-bios"),
            (ESP, layout.esp, TYPE_ESP, "kubedos-esp"),
            (STATE, layout.state, TYPE_LINUX, "kubedos-state"),
            (ROOT, layout.root, type_root(arch), "kubedos-root"),
        ] {
            table[number] = GPTPartitionEntry {
                partition_type_guid: type_guid(kind),
                unique_partition_guid: guid(names.uuid(&format!("partition {name}"))),
                starting_lba: extent.first_sector(),
                ending_lba: extent.end() / SECTOR - 1,
                attribute_bits: 0,
                partition_name: name.into(),
            };
        }
        table.write_into(&mut file)?;
        GPT::write_protective_mbr_into(&mut file, SECTOR)?;
        Ok(Disk { file, path: path.to_owned() })
    }

    /// Opens an image that exists.
    pub fn open(path: &Utf8Path) -> Result<Self, DiskError> {
        let file = open(path, Start::Keep, PUBLIC).map_err(failed("opening", path))?;
        Ok(Disk { file, path: path.to_owned() })
    }

    /// Writes bytes at an offset.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let written = self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.write_all(bytes));
        Ok(written.map_err(failed("writing", &self.path))?)
    }

    /// Copies a file system image into its partition, skipping zeros.
    pub fn put_file(&mut self, extent: Extent, image: &Utf8Path) -> Result<(), DiskError> {
        let reading = failed("reading", image);
        let mut from = File::open(image).map_err(&reading)?;
        let size = from.metadata().map_err(&reading)?.len();
        if size > extent.size {
            return Err(DiskError::DoesNotFit { path: image.to_owned(), size, room: extent.size });
        }
        let mut piece = vec![0u8; PIECE];
        let mut at = extent.offset;
        loop {
            let n = from.read(&mut piece).map_err(&reading)?;
            if n == 0 {
                return Ok(());
            }
            if piece[..n].iter().any(|b| *b != 0) {
                self.put(at, &piece[..n])?;
            }
            at += n as u64;
        }
    }

    /// Replaces the content of a partition by a file system image of its size.
    pub fn replace(&mut self, extent: Extent, image: &Utf8Path) -> Result<(), DiskError> {
        let reading = failed("reading", image);
        let mut from = File::open(image).map_err(&reading)?;
        let size = from.metadata().map_err(&reading)?.len();
        if size != extent.size {
            return Err(DiskError::DoesNotFit { path: image.to_owned(), size, room: extent.size });
        }
        let mut piece = vec![0u8; PIECE];
        let mut before = vec![0u8; PIECE];
        let mut at = extent.offset;
        while at < extent.end() {
            let n = usize::try_from(extent.end() - at).unwrap_or(PIECE).min(PIECE);
            from.read_exact(&mut piece[..n]).map_err(&reading)?;
            self.file.read_exact_at(&mut before[..n], at).map_err(failed("reading", &self.path))?;
            // What is equal is not written, so that holes stay.
            if piece[..n] != before[..n] {
                self.put(at, &piece[..n])?;
            }
            at += n as u64;
        }
        Ok(())
    }

    /// Copies a partition to a sparse file of its own.
    pub fn extract(&mut self, extent: Extent, to: &Utf8Path) -> Result<(), DiskError> {
        let writing = failed("writing", to);
        let out = open(to, Start::New, PUBLIC).map_err(&writing)?;
        out.set_len(extent.size).map_err(&writing)?;
        let mut piece = vec![0u8; PIECE];
        let mut at = 0;
        while at < extent.size {
            let n = usize::try_from(extent.size - at).unwrap_or(PIECE).min(PIECE);
            self.file.read_exact_at(&mut piece[..n], extent.offset + at).map_err(failed("reading", &self.path))?;
            if piece[..n].iter().any(|b| *b != 0) {
                out.write_all_at(&piece[..n], at).map_err(&writing)?;
            }
            at += n as u64;
        }
        Ok(out.sync_all().map_err(writing)?)
    }

    /// The first sector, for the boot code to be added.
    pub fn first_sector(&mut self) -> Result<[u8; 512], DiskError> {
        let mut sector = [0u8; 512];
        let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_exact(&mut sector));
        read.map_err(failed("reading", &self.path))?;
        Ok(sector)
    }

    /// Flushes the image to the disk.
    pub fn finish(self) -> Result<(), DiskError> {
        Ok(self.file.sync_all().map_err(failed("flushing", &self.path))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_seed::ids::Digest;
    use std::io;

    #[test]
    fn partitions_follow_each_other_without_overlap() {
        let l = Layout::new(100 * MIB + 1);
        for (a, b) in [(l.bios_boot, l.esp), (l.esp, l.state), (l.state, l.root)] {
            assert_eq!(a.end(), b.offset);
        }
        assert_eq!((l.root.size, l.disk), (101 * MIB, l.root.end() + MIB));
    }

    #[test]
    fn the_table_reads_back_and_is_the_same_twice() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(MIB);
        let names = Names::of(Digest::of(b"x"));
        let read = |name: &str, arch| {
            let path = Utf8PathBuf::from_path_buf(dir.path().join(name)).unwrap();
            Disk::create(&path, &layout, &names, arch).unwrap().finish().unwrap();
            std::fs::read(path).unwrap()
        };
        let (a, b) = (read("a", Arch::Amd64), read("b", Arch::Amd64));
        assert!(a == b);
        let table = GPT::read_from(&mut io::Cursor::new(&a), SECTOR).unwrap();
        assert_eq!(table[STATE].partition_name.as_str(), "kubedos-state");
        assert_eq!(table[STATE].starting_lba * SECTOR, layout.state.offset);
        assert_eq!(table[ROOT].ending_lba * SECTOR + SECTOR, layout.root.end());
        // UEFI 2.10 table 5.7: the ESP's type GUID as stored on disk.
        assert_eq!(hex::encode(table[ESP].partition_type_guid), "28732ac11ff8d211ba4b00a0c93ec93b");
        assert_eq!(&table[BIOS_BOOT].partition_type_guid, b"Hah!IdontNeedEFI");
        assert_eq!(&a[510..512], &[0x55, 0xaa]);
        let arm64 = GPT::read_from(&mut io::Cursor::new(&read("c", Arch::Arm64)), SECTOR).unwrap();
        assert_eq!(hex::encode(arm64[ROOT].partition_type_guid), "45b021b9f01dc341af444c6f280d3fae");
        assert_eq!(arm64[ROOT].unique_partition_guid, table[ROOT].unique_partition_guid);
    }

    #[test]
    fn a_replaced_partition_has_exactly_the_new_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = |n: &str| Utf8PathBuf::from_path_buf(dir.path().join(n)).unwrap();
        let size = 3 * PIECE as u64 / 2;
        std::fs::write(path("d"), vec![7u8; 4 * PIECE]).unwrap();
        let mut new = vec![0u8; size as usize];
        new[PIECE..].fill(9);
        std::fs::write(path("f"), &new).unwrap();
        let mut disk = Disk::open(&path("d")).unwrap();
        disk.replace(Extent { offset: PIECE as u64, size }, &path("f")).unwrap();
        let after = std::fs::read(path("d")).unwrap();
        assert!(after[..PIECE].iter().chain(&after[PIECE + size as usize..]).all(|b| *b == 7));
        assert!(after[PIECE..PIECE + size as usize] == new[..]);
        assert!(disk.replace(Extent { offset: 0, size: size + 1 }, &path("f")).is_err());
        disk.extract(Extent { offset: PIECE as u64, size }, &path("out")).unwrap();
        assert!(std::fs::read(path("out")).unwrap() == new);
    }

    #[test]
    fn a_file_system_must_fit_its_partition() {
        let dir = tempfile::tempdir().unwrap();
        let path = |n: &str| Utf8PathBuf::from_path_buf(dir.path().join(n)).unwrap();
        let mut disk = Disk::create(&path("d"), &Layout::new(MIB), &Names::of(Digest::of(b"x")), Arch::Amd64).unwrap();
        let extent = Extent { offset: 2 * MIB, size: 4 };
        for (content, fits) in [(&b"abc"[..], true), (b"abcd", true), (b"abcde", false)] {
            std::fs::write(path("f"), content).unwrap();
            assert_eq!(disk.put_file(extent, &path("f")).is_ok(), fits, "{content:?}");
        }
    }
}
