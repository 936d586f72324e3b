//! Parses an untrusted DHCP packet.
//!
//! The replies are written by `dhcproto`; requests are read here instead, because that decoder asserts on
//! option lengths in debug builds and stops at the first option it cannot read (an empty option 93, a host
//! name that is not UTF-8), which silently drops all later ones, the message type among them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::Ipv4Addr;

use crate::why::Why;

/// The longest packet that is parsed, in bytes (an Ethernet frame's payload).
pub const MAX_PACKET: usize = 1500;
/// Header and magic cookie (RFC 2131 section 2).
pub const MIN_PACKET: usize = 240;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;

/// The header of a BOOTREQUEST and its options, borrowed from the datagram.
#[derive(Debug)]
pub struct Packet<'a> {
    pub op: u8,
    pub htype: u8,
    pub hlen: u8,
    pub hops: u8,
    pub xid: u32,
    pub secs: u16,
    pub flags: u16,
    pub ciaddr: Ipv4Addr,
    pub giaddr: Ipv4Addr,
    pub chaddr: [u8; 16],
    /// The last option runs past the end, or has no length: what came before it counts.
    pub cut: bool,
    options: BTreeMap<u8, Cow<'a, [u8]>>,
}

impl<'a> Packet<'a> {
    /// Reads header and options. Options that are split (RFC 3396) or that sit in the `sname` and `file`
    /// fields (option 52) are joined. Missing end marks and padding are accepted.
    ///
    /// As dnsmasq and Kea do (docs/compatibility.md): the options before one that is cut off count; of an option of a fixed
    /// size the first whole value counts, without what is too much; other values of option 52 than 1, 2 and 3 count by their
    /// two lowest bits.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Why> {
        if bytes.len() < MIN_PACKET {
            return Err(Why::TooShort);
        }
        if bytes.len() > MAX_PACKET {
            return Err(Why::TooLong);
        }
        let ip = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
        let mut chaddr = [0u8; 16];
        chaddr.copy_from_slice(&bytes[28..44]);
        if bytes[236..240] != COOKIE {
            return Err(Why::BadCookie);
        }
        let mut options = BTreeMap::new();
        let mut cut = read_options(&bytes[240..], &mut options);
        // RFC 2132 section 9.3: 1 = file, 2 = sname, 3 = both; file is read first.
        let overload = options.get(&52).and_then(|v: &Cow<'_, [u8]>| v.first().copied()).unwrap_or(0);
        if overload & 1 != 0 {
            cut |= read_options(&bytes[FILE], &mut options);
        }
        if overload & 2 != 0 {
            cut |= read_options(&bytes[SNAME], &mut options);
        }
        Ok(Packet {
            op: bytes[0],
            htype: bytes[1],
            hlen: bytes[2],
            hops: bytes[3],
            xid: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            secs: u16::from_be_bytes([bytes[8], bytes[9]]),
            flags: u16::from_be_bytes([bytes[10], bytes[11]]),
            ciaddr: ip(12),
            giaddr: ip(24),
            chaddr,
            cut,
            options,
        })
    }

    /// The value of an option, however long; an empty one is `Some(&[])`.
    pub fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.get(&code).map(AsRef::as_ref)
    }

    /// An option that must be one IPv4 address; any other length counts as absent, as does 0.0.0.0.
    pub fn address(&self, code: u8) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.option(code)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets)).filter(|ip| !ip.is_unspecified())
    }
}

/// The size of the options that are read here and that RFC 2132 (RFC 3011 for 118, RFC 4578 for 97) gives one size. They are
/// never split, so a second one is a repetition and no continuation.
fn size_of(code: u8) -> Option<usize> {
    match code {
        52 | 53 => Some(1),
        57 => Some(2),
        50 | 54 | 118 => Some(4),
        97 => Some(17),
        _ => None,
    }
}

/// Whether the last option is cut off.
fn read_options<'a>(mut rest: &'a [u8], into: &mut BTreeMap<u8, Cow<'a, [u8]>>) -> bool {
    loop {
        match rest {
            [] | [255, ..] => return false,
            [0, tail @ ..] => rest = tail,
            [code, len, tail @ ..] if tail.len() >= usize::from(*len) => {
                let (value, tail) = tail.split_at(usize::from(*len));
                add(*code, value, into);
                rest = tail;
            }
            _ => return true,
        }
    }
}

fn add<'a>(code: u8, value: &'a [u8], into: &mut BTreeMap<u8, Cow<'a, [u8]>>) {
    let size = size_of(code);
    let value = size.and_then(|n| value.get(..n)).unwrap_or(value);
    match into.entry(code) {
        Entry::Vacant(slot) => {
            slot.insert(Cow::Borrowed(value));
        }
        Entry::Occupied(mut slot) => match size {
            Some(size) if slot.get().len() < size && value.len() == size => {
                slot.insert(Cow::Borrowed(value));
            }
            Some(_) => {}
            // Some ROMs write an option twice; the halves of one that is split are not the same.
            None if slot.get().as_ref() == value => {}
            None => slot.get_mut().to_mut().extend_from_slice(value),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0u8; 236];
        bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
        bytes.extend_from_slice(&COOKIE);
        bytes.extend_from_slice(options);
        bytes
    }

    #[test]
    fn length_limits() {
        let mut bytes = packet(&[]);
        assert_eq!(bytes.len(), MIN_PACKET);
        assert!(Packet::read(&bytes).is_ok());
        assert_eq!(Packet::read(&bytes[..MIN_PACKET - 1]).unwrap_err(), Why::TooShort);
        bytes.resize(MAX_PACKET, 0);
        assert!(Packet::read(&bytes).is_ok());
        bytes.push(0);
        assert_eq!(Packet::read(&bytes).unwrap_err(), Why::TooLong);
    }

    #[test]
    fn options_before_one_that_is_cut_off_count() {
        for end in [&[12][..], &[12, 1], &[12, 40, b'h', b'o', b's', b't'], &[12, 255, b'a']] {
            let bytes = packet(&[&[53, 1, 1][..], end].concat());
            let read = Packet::read(&bytes).unwrap();
            assert!(read.cut && read.option(12).is_none(), "{end:?}");
            assert_eq!(read.option(53), Some(&[1][..]), "{end:?}");
        }
        assert!(!Packet::read(&packet(&[53, 1, 1])).unwrap().cut, "a missing end mark is nothing");
        // Inside an overloaded field as well.
        let mut bytes = packet(&[53, 1, 1, 52, 1, 1, 255]);
        bytes[FILE].fill(9);
        assert!(Packet::read(&bytes).unwrap().cut);
    }

    #[test]
    fn of_a_fixed_size_the_first_whole_value_counts() {
        for (code, size) in [(50u8, 4usize), (52, 1), (53, 1), (54, 4), (57, 2), (97, 17), (118, 4)] {
            let option = |value: u8, len: usize| [&[code, len as u8][..], &vec![value; len]].concat();
            let (short, whole, long) = (option(4, size - 1), option(8, size), option(12, size + 1));
            for (name, options, want) in [
                ("once", vec![&whole], Some(8)),
                ("twice", vec![&whole, &whole], Some(8)),
                ("twice and different", vec![&whole, &long], Some(8)),
                ("too long", vec![&long], Some(12)),
                ("short, then whole", vec![&short, &whole], Some(8)),
                ("whole, then short", vec![&whole, &short], Some(8)),
                ("short", vec![&short], None),
                ("short twice", vec![&short, &short], None),
            ] {
                let bytes = packet(&options.into_iter().flatten().copied().collect::<Vec<u8>>());
                let read = Packet::read(&bytes).unwrap();
                let got = read.option(code).filter(|v| v.len() == size).map(|v| v[0]);
                assert_eq!(got, want, "option {code}, {name}");
            }
        }
    }

    #[test]
    fn an_option_that_is_repeated_is_not_joined_to_itself() {
        let bytes = packet(&[61, 3, 1, 2, 3, 61, 3, 1, 2, 3, 12, 1, b'a', 12, 1, b'b']);
        let read = Packet::read(&bytes).unwrap();
        assert_eq!((read.option(61), read.option(12)), (Some(&[1, 2, 3][..]), Some(&b"ab"[..])));
    }

    #[test]
    fn an_empty_option_does_not_hide_later_ones() {
        let bytes = packet(&[93, 0, 0, 0, 53, 1, 1, 255, 12, 200]);
        let packet = Packet::read(&bytes).unwrap();
        assert_eq!(packet.option(93), Some(&[][..]));
        assert_eq!(packet.option(53), Some(&[1][..]));
        assert_eq!(packet.option(12), None);
    }

    #[test]
    fn split_options_are_joined() {
        let bytes = packet(&[77, 2, b'i', b'P', 53, 1, 1, 77, 2, b'X', b'E', 255]);
        assert_eq!(Packet::read(&bytes).unwrap().option(77), Some(&b"iPXE"[..]));
    }

    #[test]
    fn overload_reads_file_and_sname() {
        let mut bytes = packet(&[53, 1, 1, 52, 1, 3, 255]);
        bytes[108..112].copy_from_slice(&[12, 1, b'f', 255]);
        bytes[44..48].copy_from_slice(&[15, 1, b's', 255]);
        let read = Packet::read(&bytes).unwrap();
        assert_eq!((read.option(12), read.option(15)), (Some(&b"f"[..]), Some(&b"s"[..])));
        for (value, file, sname) in [
            (&[52, 1, 0][..], false, false),
            (&[52, 0], false, false),
            (&[52, 1, 4], false, false),
            (&[52, 1, 1], true, false),
            (&[52, 1, 2], false, true),
            (&[52, 1, 255], true, true),
            (&[52, 2, 1, 2], true, false),
            (&[52, 1, 1, 52, 1, 2], true, false),
        ] {
            let mut bytes = packet(&[&[53, 1, 1][..], value, &[255]].concat());
            bytes[108..112].copy_from_slice(&[12, 1, b'f', 255]);
            bytes[44..48].copy_from_slice(&[15, 1, b's', 255]);
            let read = Packet::read(&bytes).unwrap();
            assert_eq!((read.option(12).is_some(), read.option(15).is_some()), (file, sname), "{value:?}");
            assert_eq!(read.option(53), Some(&[1][..]), "{value:?}");
        }
    }

    #[test]
    fn the_cookie_is_checked() {
        let mut bytes = packet(&[53, 1, 1, 255]);
        bytes[239] ^= 1;
        assert_eq!(Packet::read(&bytes).unwrap_err(), Why::BadCookie);
    }
}
