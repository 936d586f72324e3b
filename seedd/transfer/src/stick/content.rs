//! Identifies the content of a disk from its first bytes, so that a person can recognise it before it is overwritten.

/// Number of bytes needed from the start of a disk.
pub const HEAD: usize = 68 << 10;
/// Start of the primary volume descriptor (ECMA-119 section 8.4).
const VOLUME: usize = 0x8000;

/// A description of the content; None if it is not recognised.
pub fn of(head: &[u8]) -> Option<String> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    let named = |kind: &str, label: Option<String>| Some(label.map_or_else(|| kind.to_owned(), |l| format!("{kind} \"{l}\"")));
    let text = |from: usize, len: usize| label(head.get(from..from + len)?);
    if volume_id(head).is_some() {
        return named("ISO 9660", volume_id(head).filter(|l| !l.is_empty()));
    }
    let known: [(usize, &[u8], &str); 8] = [
        (0, b"LUKS\xba\xbe", "LUKS, encrypted"),
        (512 + 24, b"LVM2", "LVM"),
        (0, b"XFSB", "XFS"),
        (0x10040, b"_BHRfS_M", "Btrfs"),
        (4096 - 10, b"SWAPSPACE2", "swap"),
        (3, b"NTFS    ", "NTFS"),
        (0, b"hsqs", "squashfs"),
        (512, b"EFI PART", "partition table (GPT)"),
    ];
    if let Some((_, _, words)) = known.iter().find(|(offset, magic, _)| at(*offset, magic)) {
        return Some((*words).to_owned());
    }
    if at(0x438, &[0x53, 0xef]) {
        return named("ext", text(0x478, 16));
    }
    if at(82, b"FAT32   ") {
        return named("FAT", text(71, 11));
    }
    if at(54, b"FAT1") {
        return named("FAT", text(43, 11));
    }
    if at(3, b"EXFAT   ") {
        return Some("exFAT".to_owned());
    }
    if at(510, &[0x55, 0xaa]) {
        return Some("partition table (MBR)".to_owned());
    }
    head.iter().all(|b| *b == 0).then(|| "blank at its start".to_owned())
}

/// Volume id of an ISO 9660 image, spaces at its end removed.
pub fn volume_id(head: &[u8]) -> Option<String> {
    if head.get(VOLUME..VOLUME + 6) != Some(b"\x01CD001") {
        return None;
    }
    Some(label(head.get(VOLUME + 40..VOLUME + 72)?).unwrap_or_default())
}

fn label(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let text: String =
        bytes[..end].iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '?' }).collect();
    Some(text.trim().to_owned()).filter(|t| !t.is_empty() && t != "NO NAME")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0u8; HEAD];
        for (at, bytes) in parts {
            head[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    #[test]
    fn tells_what_is_there() {
        let iso = head(&[(VOLUME, b"\x01CD001"), (VOLUME + 40, b"KUBEDOS                         "), (510, &[0x55, 0xaa])]);
        for (bytes, words) in [
            (iso, Some("ISO 9660 \"KUBEDOS\"")),
            (head(&[(VOLUME, b"\x01CD001"), (VOLUME + 40, b"\x1b[2J")]), Some("ISO 9660 \"?[2J\"")),
            (head(&[(0x438, &[0x53, 0xef]), (0x478, b"home")]), Some("ext \"home\"")),
            (head(&[(0x438, &[0x53, 0xef])]), Some("ext")),
            (head(&[(82, b"FAT32   "), (71, b"HOLIDAY    "), (510, &[0x55, 0xaa])]), Some("FAT \"HOLIDAY\"")),
            (head(&[(54, b"FAT16   "), (43, b"NO NAME    ")]), Some("FAT")),
            (head(&[(512, b"EFI PART"), (510, &[0x55, 0xaa])]), Some("partition table (GPT)")),
            (head(&[(510, &[0x55, 0xaa])]), Some("partition table (MBR)")),
            (head(&[(0, b"LUKS\xba\xbe")]), Some("LUKS, encrypted")),
            (head(&[]), Some("blank at its start")),
            (head(&[(77, b"noise")]), None),
        ] {
            assert_eq!(of(&bytes).as_deref(), words);
        }
        // A disk shorter than any magic.
        assert_eq!(of(&[]).as_deref(), Some("blank at its start"));
        assert_eq!(of(&[1; 100]), None);
    }
}
