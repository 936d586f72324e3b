//! A lease as one line of the journal.
//!
//! `MAC IP EXPIRES HOSTNAME CLIENT-ID CRC`: both texts in hexadecimal or `-`, then the CRC-32 of everything before it. Lines are
//! readable, and a torn line is detected.

use std::fmt::Write as _;

use crate::dhcp::leases::LeaseRecord;

/// The longest line: two texts of 255 bytes in hexadecimal, and the rest.
const MAX_LINE: usize = 1_200;

fn text(bytes: Option<&[u8]>) -> String {
    bytes.filter(|b| !b.is_empty()).map_or_else(|| "-".to_owned(), hex::encode)
}

/// `Some(None)` for `-`, `None` if it is not hexadecimal.
fn bytes(text: &str) -> Option<Option<Vec<u8>>> {
    if text == "-" { Some(None) } else { hex::decode(text).ok().map(Some) }
}

/// Appends the record as one line.
pub fn write_line(record: &LeaseRecord, out: &mut String) {
    let start = out.len();
    let (hostname, client_id) = (text(record.hostname.as_deref().map(str::as_bytes)), text(record.client_id.as_deref()));
    let _ = write!(out, "{} {} {} {hostname} {client_id}", record.mac, record.ip, record.expires_at);
    let sum = crc32fast::hash(&out.as_bytes()[start..]);
    let _ = writeln!(out, " {sum:08x}");
}

/// Reads one line including its line end; `None` if it is torn or not a lease.
pub fn read_line(line: &[u8]) -> Option<LeaseRecord> {
    if line.len() > MAX_LINE {
        return None;
    }
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (body, sum) = line.rsplit_once(' ')?;
    if sum.len() != 8 || u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(body.as_bytes()) {
        return None;
    }
    let mut words = body.split(' ');
    let mut next = || words.next();
    let (mac, ip, expires_at) = (next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?);
    let hostname = bytes(next()?)?.map(String::from_utf8).transpose().ok()?;
    let client_id = bytes(next()?)?;
    next().is_none().then_some(LeaseRecord { mac, ip, expires_at, hostname, client_id })
}

#[cfg(test)]
mod tests {
    use cluster_seed::ids::Mac;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_changed_byte_invalidates_only_its_line() {
        let record = LeaseRecord {
            mac: Mac([2, 0, 0, 0, 0, 1]),
            ip: [10, 0, 0, 1].into(),
            expires_at: 7,
            hostname: Some("h".into()),
            client_id: None,
        };
        let mut text = String::new();
        write_line(&record, &mut text);
        for at in 0..text.len() {
            for flip in [1u8, 0x20, 0x80] {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= flip;
                assert!(read_line(&bytes).is_none() || bytes.eq_ignore_ascii_case(text.as_bytes()), "{at} {flip}");
            }
        }
    }

    proptest! {
        #[test]
        fn lines_round_trip(
            mac in any::<[u8; 6]>(), ip in any::<[u8; 4]>(), expires_at in any::<u64>(),
            hostname in proptest::option::of("[ -~]{1,64}"), client_id in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..256))
        ) {
            let record = LeaseRecord { mac: Mac(mac), ip: ip.into(), expires_at, hostname, client_id };
            let mut text = String::new();
            write_line(&record, &mut text);
            prop_assert!(text.len() <= MAX_LINE);
            prop_assert_eq!(read_line(text.as_bytes()), Some(record));
        }

        #[test]
        fn any_line_is_parsed_or_refused(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_line(&line);
        }
    }
}
