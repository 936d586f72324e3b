//! Parses an untrusted DHCP packet.
//!
//! The replies are written by `dhcproto`; requests are read here instead, because that decoder asserts on
//! option lengths in debug builds and stops at the first option it cannot read (an empty option 93, a host
//! name that is not UTF-8), which silently drops all later ones, the message type among them.

use std::borrow::Cow;
use std::collections::BTreeMap;
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
    options: BTreeMap<u8, Cow<'a, [u8]>>,
}

impl<'a> Packet<'a> {
    /// Reads header and options. Options that are split (RFC 3396) or that sit in the `sname` and `file`
    /// fields (option 52) are joined. Missing end marks and padding are accepted.
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
        read_options(&bytes[240..], &mut options)?;
        if let Some(overload) = options.get(&52).map(|v: &Cow<'_, [u8]>| v.to_vec()) {
            // RFC 2132 section 9.3: 1 = file, 2 = sname, 3 = both; file is read first.
            let [which @ 1..=3] = overload[..] else { return Err(Why::BrokenOptions) };
            if which & 1 != 0 {
                read_options(&bytes[FILE], &mut options)?;
            }
            if which & 2 != 0 {
                read_options(&bytes[SNAME], &mut options)?;
            }
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

fn read_options<'a>(mut rest: &'a [u8], into: &mut BTreeMap<u8, Cow<'a, [u8]>>) -> Result<(), Why> {
    while let [code, tail @ ..] = rest {
        match code {
            0 => rest = tail,
            255 => return Ok(()),
            code => {
                let [len, tail @ ..] = tail else { return Err(Why::BrokenOptions) };
                let value = tail.get(..usize::from(*len)).ok_or(Why::BrokenOptions)?;
                match into.entry(*code) {
                    std::collections::btree_map::Entry::Vacant(slot) => {
                        slot.insert(Cow::Borrowed(value));
                    }
                    std::collections::btree_map::Entry::Occupied(mut slot) => slot.get_mut().to_mut().extend_from_slice(value),
                }
                rest = &tail[value.len()..];
            }
        }
    }
    Ok(())
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
    fn options_beyond_the_end_are_malformed() {
        for broken in [&[53][..], &[53, 1], &[53, 2, 1], &[12, 255, b'a']] {
            assert_eq!(Packet::read(&packet(broken)).unwrap_err(), Why::BrokenOptions, "{broken:?}");
        }
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
        for bad in [&[52u8, 1, 0, 255][..], &[52, 1, 4, 255], &[52, 0, 255], &[52, 2, 1, 1, 255]] {
            assert_eq!(Packet::read(&packet(bad)).unwrap_err(), Why::BrokenOptions);
        }
    }

    #[test]
    fn the_cookie_is_checked() {
        let mut bytes = packet(&[53, 1, 1, 255]);
        bytes[239] ^= 1;
        assert_eq!(Packet::read(&bytes).unwrap_err(), Why::BadCookie);
    }
}
