//! Grows the root partition and its file system to the end of the disk. An artifact is smaller than the disk that it is written
//! to, and smaller than a virtual disk that was enlarged. Changes nothing if the disk has no free space.

use std::fs::{self, File};
use std::io::{self, Cursor, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::Duration;

use camino::Utf8Path;
use gptman::GPT;
use host::files::{Access, open_device};
use host::hardware;
use host::tool::{Tool, ToolError};

/// Name of the partition in the table of an artifact; no other is changed.
const NAME: &str = "kubedos-root";
/// Partitions begin and end on multiples of this, in bytes.
const MIB: u64 = 1 << 20;
/// A file system of some TiB takes minutes.
const LIMIT: Duration = Duration::from_secs(1800);
/// The first entry of a master boot record, and in it the type and the number of sectors (UEFI 2.10 table 5.4).
const MBR_TYPE: usize = 446 + 4;
const MBR_SECTORS: usize = 446 + 12;
const PROTECTIVE: u8 = 0xee;

#[derive(Debug, thiserror::Error)]
pub enum GrowError {
    #[error("finding the disk that / is on")]
    NoDisk,
    #[error("opening the disk or writing its partition table")]
    Disk(#[from] io::Error),
    #[error("reading the partition table")]
    Table(#[from] gptman::Error),
    #[error("partition {0} is not the root of an artifact, or not the last on its disk")]
    NotOurs(u32),
    #[error("growing the file system")]
    Tool(#[from] ToolError),
}

/// Grows the file system that `root` is on.
pub fn grow(root: &Utf8Path) -> Result<(), GrowError> {
    let device = fs::metadata(root)?.dev();
    let place = hardware::place_of(root, device).ok_or(GrowError::NoDisk)?;
    let disk = root.join("dev").join(&place.disk);
    if let Some(number) = place.partition {
        let mut file = open_device(&disk, Access::Both, 0)?;
        if grow_table(&mut file, number)? {
            tracing::info!(%disk, number, "the root partition was enlarged");
        }
        // Also after a power failure between the table and here: it changes nothing if the kernel knows.
        let number = number.to_string();
        Tool::new("partx").args(["--update", "--nr", &number, disk.as_str()]).timeout(LIMIT).run()?;
    }
    Tool::new("resize2fs").arg(root.join("dev").join(&place.device)).timeout(LIMIT).run()?;
    Ok(())
}

/// Enlarges the partition and moves the backup table to the end. False if there is no room.
fn grow_table(disk: &mut File, number: u32) -> Result<bool, GrowError> {
    let mut table = GPT::find_from(disk)?;
    let sector = table.sector_size;
    let ours = |e: &gptman::GPTPartitionEntry| e.is_used() && e.partition_name.as_str() == NAME;
    let last = table.iter().filter(|(_, e)| e.is_used()).max_by_key(|(_, e)| e.ending_lba);
    if !last.is_some_and(|(n, e)| n == number && ours(e)) || !table.header.is_primary() {
        return Err(GrowError::NotOurs(number));
    }
    let size = disk.seek(SeekFrom::End(0))?;
    table.header.update_from(disk, sector)?;
    let step = MIB / sector;
    let end = (table.header.last_usable_lba + 1) / step * step;
    if end <= table[number].ending_lba + 1 {
        return Ok(false);
    }
    table[number].ending_lba = end - 1;
    let entries: Vec<_> = table.iter().map(|(_, e)| e.clone()).collect();
    // The new backup is on the disk before the old one becomes invalid.
    let mut backup = table.header.clone();
    (backup.primary_lba, backup.backup_lba) = (table.header.backup_lba, table.header.primary_lba);
    backup.partition_entry_lba = table.header.last_usable_lba + 1;
    backup.write_into(disk, sector, &entries)?;
    disk.sync_all()?;
    // What changes at the start is within the first 4 KiB, which are written at once: a power failure leaves one or the other.
    let mut head = vec![0; usize::try_from(table.header.first_usable_lba * sector).map_err(io::Error::other)?];
    disk.seek(SeekFrom::Start(0))?;
    disk.read_exact(&mut head)?;
    if head[MBR_TYPE] == PROTECTIVE {
        let sectors = u32::try_from(size / sector - 1).unwrap_or(u32::MAX);
        head[MBR_SECTORS..MBR_SECTORS + 4].copy_from_slice(&sectors.to_le_bytes());
    }
    table.header.write_into(&mut Cursor::new(&mut head[..]), sector, &entries)?;
    disk.write_all_at(&head, 0)?;
    disk.sync_all()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gptman::GPTPartitionEntry;

    /// A disk as an artifact's image: state, then root up to one MiB before the end.
    fn disk(mib: u64, name: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(mib * MIB).unwrap();
        let mut table = GPT::new_from(&mut file, 512, [7; 16]).unwrap();
        for (number, from, to, name) in [(3, 1, 4, "kubedos-state"), (4, 4, mib - 1, name)] {
            table[number] = GPTPartitionEntry {
                partition_type_guid: [number as u8; 16],
                unique_partition_guid: [number as u8 + 1; 16],
                starting_lba: from * MIB / 512,
                ending_lba: to * MIB / 512 - 1,
                attribute_bits: 0,
                partition_name: name.into(),
            };
        }
        table.write_into(&mut file).unwrap();
        GPT::write_protective_mbr_into(&mut file, 512).unwrap();
        file
    }

    fn bytes(file: &mut File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_root_grows_to_the_end_once() {
        let mut file = disk(16, NAME);
        file.set_len(40 * MIB).unwrap();
        file.write_all_at(b"boot code", 0).unwrap();
        assert!(grow_table(&mut file, 4).unwrap());
        let grown = bytes(&mut file);
        assert!(!grow_table(&mut file, 4).unwrap());
        assert!(bytes(&mut file) == grown, "the second time nothing is written");
        let table = GPT::read_from(&mut Cursor::new(&grown), 512).unwrap();
        assert_eq!((table[4].starting_lba * 512, (table[4].ending_lba + 1) * 512), (4 * MIB, 39 * MIB));
        assert_eq!((table[3].ending_lba + 1) * 512, 4 * MIB);
        assert_eq!(table.header.backup_lba, 40 * 2048 - 1);
        assert_eq!(&grown[..9], b"boot code");
        assert_eq!(u32::from_le_bytes(grown[MBR_SECTORS..MBR_SECTORS + 4].try_into().unwrap()), 40 * 2048 - 1);
        // The backup alone is a whole table too.
        let mut without = grown.clone();
        without[512..1024].fill(0);
        let backup = GPT::read_from(&mut Cursor::new(&without), 512).unwrap();
        assert!(backup.header.is_backup() && backup[4] == table[4] && backup.header.backup_lba == 1);
    }

    #[test]
    fn a_disk_without_room_and_a_disk_of_another_stay_as_they_are() {
        let same = |mut file: File, number: u32| {
            let before = bytes(&mut file);
            let done = grow_table(&mut file, number);
            assert!(bytes(&mut file) == before, "the disk was changed");
            done
        };
        assert!(matches!(same(disk(16, NAME), 4), Ok(false)));
        // The backup table takes 33 sectors: one sector fewer than it needs after the next MiB, and as many.
        let less = disk(16, NAME);
        less.set_len(16 * MIB + 32 * 512).unwrap();
        assert!(matches!(same(less, 4), Ok(false)));
        let mut enough = disk(16, NAME);
        enough.set_len(16 * MIB + 33 * 512).unwrap();
        assert!(grow_table(&mut enough, 4).unwrap());
        let larger = |name| {
            let file = disk(16, name);
            file.set_len(40 * MIB).unwrap();
            file
        };
        assert!(matches!(same(larger("other"), 4), Err(GrowError::NotOurs(4))));
        assert!(matches!(same(larger(NAME), 3), Err(GrowError::NotOurs(3))));
        let blank = tempfile::tempfile().unwrap();
        blank.set_len(MIB).unwrap();
        assert!(same(blank, 4).is_err());
    }
}
