//! The headers of an `ar` archive (ar(5)), which Debian packages and static libraries are.

/// The first bytes of an archive.
pub const MAGIC: &[u8; 8] = b"!<arch>\n";
/// Bytes of a member's header. Members start at even offsets; a filler byte follows one of odd size.
pub const HEADER: usize = 60;

/// Header of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Without the `/` that GNU ar ends it with.
    pub name: String,
    /// Bytes of the member, without the filler byte.
    pub size: u64,
}

impl Header {
    /// None if the bytes are not a header.
    pub fn parse(bytes: &[u8; HEADER]) -> Option<Header> {
        let (fields, end) = bytes.split_at(58);
        let digits = std::str::from_utf8(&fields[48..]).ok()?.trim_end();
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let size = digits.parse().ok().filter(|_| plain && end == b"`\n")?;
        let name = String::from_utf8_lossy(&fields[..16]).trim_end_matches([' ', '/']).to_owned();
        Some(Header { name, size })
    }

    /// Bytes from the start of the member to the next header.
    pub fn padded(&self) -> u64 {
        self.size + self.size % 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, size: &str, end: &[u8; 2]) -> Option<Header> {
        let mut bytes = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}", 0, 0, 0, "100644").into_bytes();
        bytes.extend_from_slice(end);
        Header::parse(&bytes.try_into().unwrap())
    }

    #[test]
    fn a_header_has_a_size_and_an_end() {
        let header = parse("control.tar.xz/", "1235", b"`\n").unwrap();
        assert_eq!((header.name.as_str(), header.size, header.padded()), ("control.tar.xz", 1235, 1236));
        assert_eq!(parse("x", "9999999999", b"`\n").unwrap().padded(), 10_000_000_000);
        for bad in ["", "-1", "+1", "1 2", "0x10", "1.0"] {
            assert_eq!(parse("x", bad, b"`\n"), None, "{bad:?}");
        }
        for end in [b"\n\n", b"`\0", b"  "] {
            assert_eq!(parse("x", "1", end), None);
        }
    }
}
