//! Parses Ethernet frames of booting machines: which machine they belong to, and facts that our own servers do not see.
//!
//! Pure: takes bytes, returns values. All input is untrusted; frames that cannot be parsed belong to no machine.

use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;

const ETHERNET: usize = 14;
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const UDP: u8 = 17;
/// BOOTP header and magic cookie (RFC 2131 section 2).
const BOOTP: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Maximum number of options parsed in a packet.
const MAX_OPTIONS: usize = 128;

/// The facts of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The machine it belongs to: for DHCP the client's hardware address, otherwise the peer of the seed.
    pub mac: Mac,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Easy to forge in any number.
    Other,
    /// Our own ACK: the machine holds an address of the pool, whose number is limited.
    Granted,
    /// An OFFER or ACK of another server.
    Foreign { server: Ipv4Addr, offered: Ipv4Addr, xid: u32, ack: bool, boot: bool },
    /// A REQUEST that accepts another server's offer.
    TookOther { server: Ipv4Addr, xid: u32 },
}

fn u16_at(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(b.get(at..at + 2)?.try_into().ok()?))
}

fn ip_at(b: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = b.get(at..at + 4)?.try_into().ok()?;
    Some(octets.into())
}

fn mac_at(b: &[u8], at: usize) -> Option<Mac> {
    let mac = Mac(b.get(at..at + 6)?.try_into().ok()?);
    (mac.0 != [0; 6] && mac.0[0] & 1 == 0).then_some(mac)
}

/// Parses a frame; `own` and `seed` are the interface's addresses. `None` if it belongs to no machine.
pub fn read(frame: &[u8], own: Mac, seed: Ipv4Addr) -> Option<Seen> {
    let (to, from) = (mac_at(frame, 0), mac_at(frame, 6));
    let peer = if from == Some(own) { to } else { from };
    let talk = |mac| Seen { mac, what: What::Other };
    match u16_at(frame, 12)? {
        ARP => peer.map(talk),
        IPV4 => {
            let packet = frame.get(ETHERNET..)?;
            let header = usize::from(packet.first()? & 0x0f) * 4;
            if packet.first()? >> 4 != 4 || header < 20 {
                return None;
            }
            let datagram = packet.get(header..)?;
            let first_fragment = u16_at(packet, 6)? & 0x1fff == 0;
            let ports = (u16_at(datagram, 0)?, u16_at(datagram, 2)?);
            match (*packet.get(9)?, ports) {
                (UDP, (67 | 68, 67 | 68)) if first_fragment => dhcp(datagram.get(8..)?, ip_at(packet, 12)?, seed),
                _ => peer.map(talk),
            }
        }
        _ => None,
    }
}

fn dhcp(b: &[u8], from: Ipv4Addr, seed: Ipv4Addr) -> Option<Seen> {
    if b.len() < BOOTP || b[236..240] != COOKIE {
        return None;
    }
    let mac = mac_at(b, 28).filter(|_| b[1] == 1 && b[2] == 6)?;
    let xid = u32::from_be_bytes(b.get(4..8)?.try_into().ok()?);
    let options = Options::read(&b[BOOTP..]);
    let server = options.server.unwrap_or(from);
    let what = match (b[0], options.kind) {
        (2, Some(2 | 5)) if server != seed => {
            // A boot file or server name in the header would boot the machine too.
            let boot = options.boot || b[108] != 0;
            What::Foreign { server, offered: ip_at(b, 16)?, xid, ack: options.kind == Some(5), boot }
        }
        (1, Some(3)) if options.server.is_some_and(|s| s != seed) => What::TookOther { server, xid },
        (2, Some(5)) => What::Granted,
        _ => What::Other,
    };
    Some(Seen { mac, what })
}

#[derive(Default)]
struct Options {
    kind: Option<u8>,
    server: Option<Ipv4Addr>,
    boot: bool,
}

impl Options {
    /// RFC 2132: code, length, value; 0 pads, 255 ends.
    fn read(mut b: &[u8]) -> Self {
        let mut found = Options::default();
        for _ in 0..MAX_OPTIONS {
            match b {
                [0, rest @ ..] => b = rest,
                [255, ..] | [] | [_] => break,
                [code, len, rest @ ..] => {
                    let Some((value, rest)) = rest.split_at_checked(usize::from(*len)) else { break };
                    match (code, value) {
                        (53, [kind]) => found.kind = Some(*kind),
                        (54, _) => found.server = value.try_into().ok().map(|o: [u8; 4]| o.into()),
                        (67, [_, ..]) => found.boot = true,
                        _ => {}
                    }
                    b = rest;
                }
            }
        }
        found
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    pub const SEED: Ipv4Addr = Ipv4Addr::new(10, 44, 0, 1);
    pub const PEER: Mac = Mac([0x52, 0x54, 0, 0, 0, 9]);

    /// An Ethernet frame with IPv4 and UDP around `payload`.
    pub fn udp(from: Mac, to: Mac, ips: (Ipv4Addr, Ipv4Addr), ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
        let mut f = [&to.0[..], &from.0, &IPV4.to_be_bytes(), &[0x45, 0]].concat();
        f.extend((28 + payload.len() as u16).to_be_bytes());
        f.extend([0, 0, 0, 0, 64, UDP, 0, 0]);
        f.extend(ips.0.octets());
        f.extend(ips.1.octets());
        f.extend([ports.0.to_be_bytes(), ports.1.to_be_bytes(), (8 + payload.len() as u16).to_be_bytes(), [0, 0]].concat());
        f.extend(payload);
        f
    }

    pub fn bootp(op: u8, mac: Mac, options: &[u8]) -> Vec<u8> {
        let mut b = vec![0u8; BOOTP];
        (b[0], b[1], b[2]) = (op, 1, 6);
        b[4..8].copy_from_slice(&0x1a2b_3c4du32.to_be_bytes());
        b[16..20].copy_from_slice(&[10, 44, 0, 57]);
        b[28..34].copy_from_slice(&mac.0);
        b[236..240].copy_from_slice(&COOKIE);
        b.extend(options);
        b.push(255);
        b
    }

    fn broadcast(op: u8, options: &[u8]) -> Vec<u8> {
        let other = Mac([2, 0, 0, 0, 0, 7]);
        let ips = (Ipv4Addr::new(10, 44, 0, 9), Ipv4Addr::BROADCAST);
        udp(other, Mac([0xff; 6]), ips, (67, 68), &bootp(op, PEER, options))
    }

    #[test]
    fn dhcp_is_read_for_the_client_inside() {
        let server = Ipv4Addr::new(10, 44, 0, 9);
        let foreign = |ack, boot| What::Foreign { server, offered: Ipv4Addr::new(10, 44, 0, 57), xid: 0x1a2b_3c4d, ack, boot };
        for (op, options, what) in [
            (1, &[53, 1, 1][..], What::Other),
            (1, &[53, 1, 3, 54, 4, 10, 44, 0, 1], What::Other),
            (1, &[53, 1, 3, 54, 4, 10, 44, 0, 9], What::TookOther { server, xid: 0x1a2b_3c4d }),
            (1, &[53, 1, 3], What::Other),
            (2, &[53, 1, 2, 54, 4, 10, 44, 0, 9], foreign(false, false)),
            (2, &[53, 1, 2, 54, 4, 10, 44, 0, 9, 67, 1, b'x'], foreign(false, true)),
            (2, &[0, 0, 53, 1, 5], foreign(true, false)),
            (2, &[53, 1, 2, 54, 4, 10, 44, 0, 1], What::Other),
            (2, &[53, 1, 5, 54, 4, 10, 44, 0, 1], What::Granted),
        ] {
            assert_eq!(read(&broadcast(op, options), OWN, SEED), Some(Seen { mac: PEER, what }), "{options:?}");
        }
    }

    #[test]
    fn everything_else_belongs_to_whoever_talks_with_the_seed() {
        let ips = (Ipv4Addr::new(10, 44, 0, 100), SEED);
        let talk = Some(Seen { mac: PEER, what: What::Other });
        assert_eq!(read(&udp(PEER, OWN, ips, (2000, 69), b"\0\x01x\0octet\0"), OWN, SEED), talk);
        assert_eq!(read(&udp(OWN, PEER, (ips.1, ips.0), (40_000, 2000), b"\0\x03\0\x01"), OWN, SEED), talk);
        assert_eq!(read(&[&[0xff; 6], &PEER.0[..], &[8, 6], &[0; 28]].concat(), OWN, SEED), talk);
        assert_eq!(read(&[&[0xff; 6], &OWN.0[..], &[8, 6], &[0; 28]].concat(), OWN, SEED), None, "our own ARP question");
        assert_eq!(read(&[&[0xff; 6], &PEER.0[..], &[0x86, 0xdd], &[0; 60]].concat(), OWN, SEED), None);
    }

    #[test]
    fn no_cut_and_no_flipped_byte_harms() {
        let whole = broadcast(2, &[53, 1, 2, 54, 4, 10, 44, 0, 9, 67, 200, 1]);
        for at in 0..whole.len() {
            let _ = read(&whole[..at], OWN, SEED);
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                let _ = read(&changed, OWN, SEED);
            }
        }
    }
}
