//! Tables made by hand, tables of the field, and damaged ones.

use super::*;

const SIZE: u64 = 8 << 30;
const MIB: u64 = 1 << 20;

fn mbr(entries: &[(u8, u32, u32)]) -> Vec<u8> {
    let mut head = vec![0u8; HEAD];
    for (i, (kind, first, count)) in entries.iter().enumerate() {
        let at = 446 + i * 16;
        head[at + 4] = *kind;
        head[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
        head[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
    }
    head[510..512].copy_from_slice(&[0x55, 0xaa]);
    head
}

fn with_iso(mut head: Vec<u8>, bytes: u64) -> Vec<u8> {
    head[32_768..32_774].copy_from_slice(b"\x01CD001");
    head[32_768 + 80..32_768 + 84].copy_from_slice(&u32::try_from(bytes / 2048).unwrap().to_le_bytes());
    head
}

fn put(disk: &mut [u8], writes: &[Write]) {
    for w in writes {
        if let Some(slot) = disk.get_mut(w.at as usize..w.at as usize + w.bytes.len()) {
            slot.copy_from_slice(&w.bytes);
        }
    }
}

#[test]
fn the_checksum_is_the_one_that_gpt_uses() {
    // CRC-32/ISO-HDLC (UEFI 2.10, section 5.3.2), over the check string of its catalogue entry.
    assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
}

#[test]
fn a_partition_is_added_to_a_hybrid_mbr_in_one_sector() {
    // As xorriso writes it: an entry of type 0 over the whole image, the ESP inside it.
    let head = with_iso(mbr(&[(0, 64, 800_000), (0xef, 1000, 8000)]), 900_000 * 512 + 2048);
    let table = Table::parse(&head, SIZE, 512).unwrap();
    assert_eq!((table.partitions.len(), table.ours), (2, None));
    let place = table.free(&head).unwrap();
    assert_eq!((place.number, place.start % MIB), (3, 0));
    assert!(place.start >= 900_000 * 512 + 2048, "behind the image, not only behind its partitions");
    assert_eq!(place.start + place.len, SIZE);
    let writes = table.add(&head, place, [7; 16]);
    assert_eq!((writes.len(), writes[0].at, writes[0].bytes.len()), (1, 0, 512));
    let mut after = head.clone();
    put(&mut after, &writes);
    assert_eq!(after[..446 + 32], head[..446 + 32], "boot code and the other entries stay");
    let again = Table::parse(&after, SIZE, 512).unwrap();
    assert_eq!(again.ours, Some(place));
    assert_eq!(again.partitions.len(), 3);
}

#[test]
fn room_at_its_limits() {
    let after = |free: u64| {
        let head = mbr(&[(0x83, 2048, u32::try_from((SIZE - MIB - free) / 512).unwrap())]);
        Table::parse(&head, SIZE, 512).unwrap().free(&head).map(|p| p.len)
    };
    assert_eq!(after(MIN_STATE), Ok(MIN_STATE));
    assert_eq!(after(MIN_STATE - MIB), Err(TableError::NoRoom(MIN_STATE - MIB)));
    assert_eq!(after(0), Err(TableError::NoRoom(0)));
    let full = mbr(&[(0x83, 2048, 8), (0x83, 4096, 8), (0x83, 6144, 8), (0x83, 8192, 8)]);
    assert_eq!(Table::parse(&full, SIZE, 512).unwrap().free(&full), Err(TableError::Full));
    // Beyond 2 TiB an MBR has no numbers.
    let head = mbr(&[(0x83, 2048, 8)]);
    let huge = Table::parse(&head, 16 << 40, 512).unwrap().free(&head).unwrap();
    assert!(huge.start + huge.len <= u64::from(u32::MAX) * 512);
}

#[test]
fn what_is_no_table_is_not_changed() {
    assert_eq!(Table::parse(&[0; HEAD], SIZE, 512), Err(TableError::Missing));
    assert_eq!(Table::parse(&[0x55; 512], SIZE, 512), Err(TableError::Missing));
    assert_eq!(Table::parse(&mbr(&[]), SIZE, 520), Err(TableError::Missing));
    let hollow = mbr(&[(0xee, 1, 1000)]);
    assert!(matches!(Table::parse(&hollow, SIZE, 512), Err(TableError::Unusual(_))));
    // Ours over the medium, and ours beyond the disk's end.
    let over = with_iso(mbr(&[(MBR_TYPE, 2048, 800_000)]), 10 * MIB);
    assert!(matches!(Table::parse(&over, SIZE, 512), Err(TableError::Unusual(_))));
    let beyond = mbr(&[(MBR_TYPE, 2048, u32::MAX)]);
    assert!(matches!(Table::parse(&beyond, SIZE, 512), Err(TableError::Unusual(_))));
}

#[test]
fn a_blank_disk_is_filled_and_grows_with_its_image() {
    for sector in [512u64, 4096] {
        let (place, writes) = fresh(MIN_STATE * 2, sector, [1; 16], [2; 16]).unwrap();
        let mut disk = vec![0u8; (MIN_STATE * 2) as usize];
        put(&mut disk, &writes);
        let table = Table::parse(&disk[..HEAD], MIN_STATE * 2, sector).unwrap();
        assert_eq!(table.ours, Some(place));
        assert_eq!(table.free(&disk[..HEAD]), Err(TableError::NoRoom(0)));
        assert!(place.start + place.len <= MIN_STATE * 2 - 33 * sector.min(512));
        // The image was written to a larger disk: room behind it, and a backup at the new end.
        let grown = Table::parse(&disk[..HEAD], SIZE, sector).unwrap();
        let more = grown.free(&disk[..HEAD]).unwrap();
        assert_eq!((more.number, more.start), (2, place.start + place.len));
        let writes = grown.add(&disk[..HEAD], more, [3; 16]);
        assert_eq!(writes.len(), 2, "the backup, then the primary in one piece");
        assert_eq!(writes[0].at + writes[0].bytes.len() as u64, SIZE);
        put(&mut disk, &writes);
        let again = Table::parse(&disk[..HEAD], SIZE, sector).unwrap();
        assert_eq!((again.partitions.len(), again.ours), (2, Some(more)));
    }
}

#[test]
fn every_flipped_byte_of_a_gpt_is_seen() {
    let (_, writes) = fresh(SIZE, 512, [1; 16], [2; 16]).unwrap();
    let mut head = vec![0u8; HEAD];
    put(&mut head, &writes);
    for at in (512..512 + 92).chain(1024..1024 + ENTRY).chain((1024 + ENTRY..1024 + 128 * ENTRY).step_by(61)) {
        let mut bad = head.clone();
        bad[at] ^= 1;
        assert!(Table::parse(&bad, SIZE, 512).is_err(), "byte {at}");
    }
    for len in [0, 511, 512, 1023, 1024, 1100] {
        let mut bad = head.clone();
        bad[len..].fill(0);
        assert!(Table::parse(&bad, SIZE, 512).is_err(), "cut at {len}");
    }
}

#[test]
fn blank_means_zero_or_our_own_unfinished_writing() {
    let (_, writes) = fresh(SIZE, 512, [1; 16], [2; 16]).unwrap();
    let mut head = vec![0u8; MIB as usize];
    assert!(blank(0, &head, &writes));
    put(&mut head, &writes);
    assert!(blank(0, &head, &writes) && !blank(0, &head, &[]));
    head[512..1024].fill(0);
    assert!(blank(0, &head, &writes), "cut off before the header");
    head[600_000] = 1;
    assert!(!blank(0, &head, &writes));
    let end = &writes[0];
    let mut tail = vec![0u8; MIB as usize];
    let from = MIB as usize - end.bytes.len();
    tail[from..].copy_from_slice(&end.bytes);
    assert!(blank(SIZE - MIB, &tail, &writes) && !blank(SIZE - 2 * MIB, &tail, &writes));
}
