//! TFTP packets. Parsing never panics and accepts padding: tunnels append zeros to short datagrams.

/// The longest read or write request, in bytes (RFC 2347: "must be limited to 512 octets"). The server reads no more of one.
pub const MAX_REQUEST: usize = 512;
/// The longest file name.
pub const MAX_NAME: usize = 128;
/// Most options read of one packet, more than fit in a request; further ones are ignored.
pub const MAX_OPTIONS: usize = MAX_REQUEST / 3;
/// The longest error text kept.
pub const MAX_MESSAGE: usize = 128;

/// Error codes of RFC 1350 and RFC 2347.
pub mod code {
    pub const NOT_FOUND: u16 = 1;
    pub const ACCESS: u16 = 2;
    pub const ILLEGAL: u16 = 4;
    pub const OPTION: u16 = 8;
}

/// A read request: texts as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    pub name: String,
    pub options: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    Read(ReadRequest),
    Write,
    Data { block: u16, data: &'a [u8] },
    Ack { block: u16 },
    Error { code: u16, message: String },
    OptionAck(Vec<(String, String)>),
}

/// Why a datagram is not an acceptable TFTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("shorter than its header")]
    TooShort,
    #[error("unknown operation {0}")]
    Operation(u16),
    #[error("request longer than {MAX_REQUEST} bytes")]
    TooLong,
    #[error("text without a terminating NUL")]
    Unterminated,
    #[error("file name is empty, longer than {MAX_NAME} bytes or not printable ASCII")]
    Name,
    #[error("transfer mode is not octet")]
    Mode,
}

/// Reads one datagram.
pub fn parse(bytes: &[u8]) -> Result<Packet<'_>, PacketError> {
    let [a, b, body @ ..] = bytes else { return Err(PacketError::TooShort) };
    let block = || match body {
        [a, b, ..] => Ok(u16::from_be_bytes([*a, *b])),
        _ => Err(PacketError::TooShort),
    };
    match u16::from_be_bytes([*a, *b]) {
        1 if bytes.len() > MAX_REQUEST => Err(PacketError::TooLong),
        1 => read_request(body).map(Packet::Read),
        2 => Ok(Packet::Write),
        3 => Ok(Packet::Data { block: block()?, data: &body[2..] }),
        4 => Ok(Packet::Ack { block: block()? }),
        5 => Ok(Packet::Error { code: block()?, message: message(&body[2..]) }),
        6 => Ok(Packet::OptionAck(options(body))),
        other => Err(PacketError::Operation(other)),
    }
}

fn read_request(body: &[u8]) -> Result<ReadRequest, PacketError> {
    let (name, rest) = take_text(body)?;
    if !is_name(name) {
        return Err(PacketError::Name);
    }
    let (mode, rest) = take_text(rest)?;
    if !mode.eq_ignore_ascii_case(b"octet") {
        return Err(PacketError::Mode);
    }
    Ok(ReadRequest { name: ascii(name), options: options(rest) })
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && name.iter().all(|b| (0x20..0x7f).contains(b))
}

/// The name in a request, for a person: bytes that are not printable as `\x07`, and at most [`MAX_NAME`] characters.
pub fn shown_name(request: &[u8]) -> String {
    let name = request.get(2..).unwrap_or_default();
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    let shown = |b: &u8| if (0x20..0x7f).contains(b) { char::from(*b).to_string() } else { format!("\\x{b:02x}") };
    let mut text = String::new();
    for part in name[..end].iter().map(shown) {
        if text.len() + part.len() > MAX_NAME {
            break;
        }
        text.push_str(&part);
    }
    text
}

/// Whether a request that [`parse`] refuses has a name that a file could have.
pub fn has_name(request: &[u8]) -> bool {
    request.get(2..).is_some_and(|body| take_text(body).is_ok_and(|(name, _)| is_name(name)))
}

/// Pairs of texts up to the end, or up to padding: an empty option name, or a remainder without a NUL.
fn options(mut rest: &[u8]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    while let Ok((name, tail)) = take_text(rest) {
        if name.is_empty() || out.len() == MAX_OPTIONS {
            break;
        }
        let Ok((value, tail)) = take_text(tail) else { break };
        out.push((ascii(name).to_ascii_lowercase(), ascii(value)));
        rest = tail;
    }
    out
}

fn take_text(bytes: &[u8]) -> Result<(&[u8], &[u8]), PacketError> {
    let end = bytes.iter().position(|b| *b == 0).ok_or(PacketError::Unterminated)?;
    Ok((&bytes[..end], &bytes[end + 1..]))
}

fn ascii(bytes: &[u8]) -> String {
    bytes.iter().map(|b| if (0x20..0x7f).contains(b) { char::from(*b) } else { '?' }).collect()
}

fn message(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    ascii(&bytes[..end.min(MAX_MESSAGE)])
}

/// A read request as a client sends it.
pub fn read_packet(name: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![0, 1];
    for text in [name, "octet"].into_iter().chain(options.iter().flat_map(|(n, v)| [*n, *v])) {
        out.extend_from_slice(text.as_bytes());
        out.push(0);
    }
    out
}

pub fn data_packet(block: u16, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + data.len());
    out.extend_from_slice(&[0, 3]);
    out.extend_from_slice(&block.to_be_bytes());
    out.extend_from_slice(data);
    out
}

pub fn ack_packet(block: u16) -> Vec<u8> {
    let [a, b] = block.to_be_bytes();
    vec![0, 4, a, b]
}

pub fn error_packet(code: u16, message: &str) -> Vec<u8> {
    let mut out = vec![0, 5];
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(message.as_bytes());
    out.push(0);
    out
}

pub fn option_ack_packet(options: &[(&str, u64)]) -> Vec<u8> {
    let mut out = vec![0, 6];
    for (name, value) in options {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.extend_from_slice(value.to_string().as_bytes());
        out.push(0);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name_of(bytes: &[u8]) -> Result<String, PacketError> {
        match parse(bytes)? {
            Packet::Read(request) => Ok(request.name),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hostile_requests() {
        let table: [(&[u8], PacketError); 13] = [
            (b"", PacketError::TooShort),
            (b"\0", PacketError::TooShort),
            (b"\0\x04\0", PacketError::TooShort),
            (b"\0\x05\0", PacketError::TooShort),
            (b"\0\x07", PacketError::Operation(7)),
            (b"\0\x01", PacketError::Unterminated),
            (b"\0\x01name", PacketError::Unterminated),
            (b"\0\x01name\0", PacketError::Unterminated),
            (b"\0\x01name\0octet", PacketError::Unterminated),
            (b"\0\x01\0octet\0", PacketError::Name),
            (b"\0\x01a\x07b\0octet\0", PacketError::Name),
            (b"\0\x01name\0netascii\0", PacketError::Mode),
            (b"\0\x01name\0mail\0", PacketError::Mode),
        ];
        for (bytes, want) in table {
            assert_eq!(parse(bytes).unwrap_err(), want, "{bytes:?}");
        }
    }

    #[test]
    fn length_limits() {
        for (len, ok) in [(MAX_NAME - 1, true), (MAX_NAME, true), (MAX_NAME + 1, false)] {
            assert_eq!(name_of(&read_packet(&"n".repeat(len), &[])).is_ok(), ok, "{len}");
        }
        let mut packet = read_packet("n", &[]);
        packet.resize(MAX_REQUEST, 0);
        assert_eq!(name_of(&packet).unwrap(), "n");
        packet.push(0);
        assert_eq!(parse(&packet).unwrap_err(), PacketError::TooLong);
        // Empty values: the most options that fit.
        for count in [40, 165, 167] {
            let Ok(Packet::Read(read)) = parse(&read_packet("n", &vec![("o", ""); count])) else { panic!("{count}") };
            assert_eq!(read.options.len(), count);
        }
        let ack = [&[0, 6][..], &b"o\0\0".repeat(MAX_OPTIONS + 1)].concat();
        assert!(matches!(parse(&ack), Ok(Packet::OptionAck(options)) if options.len() == MAX_OPTIONS));
    }

    #[test]
    fn what_cannot_be_a_name_is_shown_cut_and_without_control_characters() {
        for (name, shown, can_be) in [
            (&b"grubx64.efi"[..], "grubx64.efi".to_owned(), true),
            (b"", String::new(), false),
            (b"\xbfNIC one", "\\xbfNIC one".to_owned(), false),
            (b"\x02\x01\x0c", "\\x02\\x01\\x0c".to_owned(), false),
            (b"undionly.kpxea\x11", "undionly.kpxea\\x11".to_owned(), false),
            ("für".as_bytes(), "f\\xc3\\xbcr".to_owned(), false),
            (&[b'n'; MAX_NAME], "n".repeat(MAX_NAME), true),
            (&[b'n'; MAX_NAME + 1], "n".repeat(MAX_NAME), false),
            (&[7; 300], "\\x07".repeat(MAX_NAME / 4), false),
        ] {
            let request = [b"\0\x01", name, b"\0octet\0"].concat();
            assert_eq!((shown_name(&request), has_name(&request)), (shown.clone(), can_be), "{name:?}");
            assert_eq!(shown_name(&request[..2 + name.len()]), shown, "without its NUL");
        }
        assert_eq!((shown_name(b"\0\x01"), has_name(b"\0"), has_name(b"\0\x01n")), (String::new(), false, false));
    }

    #[test]
    fn padding_and_case() {
        let mut packet = read_packet("boot", &[("BLKSIZE", "1468")]);
        packet[7..12].copy_from_slice(b"OcTeT");
        packet.extend_from_slice(&[0; 40]);
        let want = ReadRequest { name: "boot".into(), options: vec![("blksize".into(), "1468".into())] };
        assert_eq!(parse(&packet).unwrap(), Packet::Read(want.clone()));
        packet.truncate(packet.len() - 40);
        packet.extend_from_slice(b"junk without an end");
        assert_eq!(parse(&packet).unwrap(), Packet::Read(want));
        assert_eq!(parse(&[0, 4, 1, 2, 0, 0, 0]).unwrap(), Packet::Ack { block: 0x102 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_tail_of_a_request_is_read_or_refused(tail in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut bytes = vec![0, 1];
            bytes.extend(tail);
            let _ = parse(&bytes);
        }

        #[test]
        fn requests_round_trip(name in "[ -~]{1,128}", options in proptest::collection::vec(("[a-z]{1,8}", "[0-9]{1,5}"), 0..8)) {
            let pairs: Vec<(&str, &str)> = options.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let want = Packet::Read(ReadRequest { name: name.clone(), options: options.clone() });
            let bytes = read_packet(&name, &pairs);
            prop_assert_eq!(parse(&bytes), Ok(want));
        }
    }
}
