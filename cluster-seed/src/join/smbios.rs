//! OEM strings (SMBIOS 3.7, section 7.12), which hypervisors let their users set: `-smbios type=11,value=…` of QEMU,
//! `OEMStrings` of Proxmox and libvirt.

use super::{Given, JoinError};

/// Largest structure read, in bytes.
pub const MAX_BYTES: usize = 16 << 10;
/// The type of these structures.
const OEM_STRINGS: u8 = 11;
/// Type, length, handle, count of strings.
const HEADER: usize = 5;

/// The strings of one structure as the kernel shows it (/sys/firmware/dmi/entries/11-0/raw): formatted part, then strings that
/// each end in a zero byte. Anything else gives none.
pub fn strings(raw: &[u8]) -> Vec<&str> {
    let [OEM_STRINGS, length, _, _, count, ..] = *raw else { return Vec::new() };
    let (length, count) = (usize::from(length), usize::from(count));
    if raw.len() > MAX_BYTES || length < HEADER {
        return Vec::new();
    }
    let rest = raw.get(length..).unwrap_or_default();
    // An empty string ends the list.
    let texts = rest.split(|b| *b == 0).take_while(|t| !t.is_empty()).take(count);
    texts.filter_map(|t| std::str::from_utf8(t).ok()).collect()
}

/// What the strings of one structure tell.
pub fn given(raw: &[u8]) -> Result<Given, JoinError> {
    Given::of_words(strings(raw).into_iter().map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structure(length: u8, count: u8, texts: &[u8]) -> Vec<u8> {
        let mut raw = vec![OEM_STRINGS, length, 0, 11, count];
        raw.resize(usize::from(length).max(HEADER), 0);
        [&raw, texts].concat()
    }

    #[test]
    fn strings_of_qemu_are_read() {
        let raw = structure(5, 2, b"kubedos.seed=http://10.0.0.1\0other\0\0");
        assert_eq!(strings(&raw), ["kubedos.seed=http://10.0.0.1", "other"]);
        assert_eq!(given(&raw).unwrap().seed.as_deref(), Some("http://10.0.0.1"));
        // A longer formatted part of a later version.
        assert_eq!(strings(&structure(8, 1, b"a\0\0")), ["a"]);
        // Without the last zero, and with fewer strings than counted.
        assert_eq!(strings(&structure(5, 9, b"a\0b")), ["a", "b"]);
        assert_eq!(strings(&structure(5, 1, b"a\0b\0\0")), ["a"], "only as many as counted");
    }

    #[test]
    fn other_bytes_have_no_strings() {
        let mut other = structure(5, 1, b"a\0\0");
        other[0] = 12;
        let large = structure(5, 1, &vec![b'a'; MAX_BYTES - HEADER + 1]);
        for raw in [&b""[..], &[11], &[11, 5], &structure(4, 1, b"a\0\0"), &structure(200, 1, b"")[..20], &other, &large] {
            assert_eq!(strings(raw), Vec::<&str>::new());
        }
        assert_eq!(strings(&structure(5, 1, &vec![b'a'; MAX_BYTES - HEADER])).len(), 1);
        assert_eq!(strings(&structure(5, 2, b"\xff\xfe\0b\0\0")), ["b"]);
        assert!(given(&structure(5, 1, b"kubedos.site=1\0\0")).is_err(), "an invalid key is not no key");
    }
}
