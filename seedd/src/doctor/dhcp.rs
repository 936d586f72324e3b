//! DHCP messages of a machine that boots, and what servers answer; bytes only (RFC 2131, RFC 4578).

use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;

const HEAD: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const BROADCAST: u16 = 0x8000;

/// What a machine asks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// An ordinary system.
    Plain,
    /// x64 UEFI firmware.
    Firmware,
    /// The loader, which has to be told its script.
    Ipxe,
}

#[derive(Debug, Clone, Copy)]
pub enum Message {
    Discover,
    /// Takes the offer of a server.
    Request {
        ip: Ipv4Addr,
        server: Ipv4Addr,
    },
    Release {
        ip: Ipv4Addr,
        server: Ipv4Addr,
    },
}

/// One message, as it goes to port 67.
pub fn message(message: Message, stage: Stage, mac: Mac, xid: u32) -> Vec<u8> {
    let mut b = vec![0u8; HEAD];
    (b[0], b[1], b[2]) = (1, 1, 6);
    b[4..8].copy_from_slice(&xid.to_be_bytes());
    // Several machines share one interface: an answer to a hardware address would miss it.
    b[10..12].copy_from_slice(&BROADCAST.to_be_bytes());
    b[28..34].copy_from_slice(&mac.0);
    b[236..240].copy_from_slice(&COOKIE);
    let mut option = |code: u8, value: &[u8]| {
        b.extend([code, value.len() as u8]);
        b.extend(value);
    };
    match message {
        Message::Discover => option(53, &[1]),
        Message::Request { ip, server } => {
            option(53, &[3]);
            option(50, &ip.octets());
            option(54, &server.octets());
        }
        Message::Release { server, .. } => {
            option(53, &[7]);
            option(54, &server.octets());
        }
    }
    option(55, &[1, 3, 6, 15, 51, 54, 66, 67]);
    if stage != Stage::Plain {
        option(60, b"PXEClient:Arch:00007:UNDI:003016");
        option(93, &[0, 7]);
        option(94, &[1, 3, 16]);
        // Type 0, then a UUID of the machine's own.
        let mut uuid = [0u8; 17];
        uuid[11..].copy_from_slice(&mac.0);
        option(97, &uuid);
    }
    if stage == Stage::Ipxe {
        option(77, b"iPXE");
        // iPXE's own options: version 1.21.1, HTTP, TFTP, EFI.
        option(175, &[0xeb, 3, 1, 21, 1, 0x13, 1, 1, 0x17, 1, 1, 0x24, 1, 1]);
    }
    if let Message::Release { ip, .. } = message {
        b[12..16].copy_from_slice(&ip.octets());
    }
    b.push(255);
    b.resize(b.len().max(300), 0);
    b
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub xid: u32,
    /// 2 OFFER, 5 ACK, 6 NAK.
    pub kind: u8,
    pub server: Ipv4Addr,
    pub ip: Ipv4Addr,
    pub prefix: u8,
    /// From `siaddr`, else the server.
    pub next: Ipv4Addr,
    pub file: Option<String>,
}

/// Reads a datagram that came to port 68.
pub fn reply(b: &[u8]) -> Option<Reply> {
    if b.len() < HEAD || b[0] != 2 || b[236..240] != COOKIE {
        return None;
    }
    let ip = |at: usize| Ipv4Addr::new(b[at], b[at + 1], b[at + 2], b[at + 3]);
    let (mut kind, mut server, mut mask, mut file) = (None, None, None, None);
    let mut rest = &b[HEAD..];
    loop {
        match rest {
            [] | [255, ..] | [_] => break,
            [0, more @ ..] => rest = more,
            [code, len, more @ ..] => {
                let (value, more) = more.split_at_checked(usize::from(*len))?;
                let four = || <[u8; 4]>::try_from(value).ok();
                match (code, value) {
                    (53, [k]) => kind = Some(*k),
                    (54, _) => server = four().map(Ipv4Addr::from),
                    (1, _) => mask = four().map(u32::from_be_bytes),
                    (67, [_, ..]) => file = Some(value),
                    _ => {}
                }
                rest = more;
            }
        }
    }
    let in_head = b[108..236].split(|c| *c == 0).next().filter(|f| !f.is_empty());
    let file = file.map(|f| f.strip_suffix(&[0]).unwrap_or(f)).or(in_head);
    let server = server?;
    Some(Reply {
        xid: u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
        kind: kind?,
        server,
        ip: ip(16),
        prefix: mask.map_or(24, |m| m.leading_ones() as u8),
        next: Some(ip(20)).filter(|n| !n.is_unspecified()).unwrap_or(server),
        file: file.map(|f| String::from_utf8_lossy(f).chars().filter(|c| !c.is_control()).take(255).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0x02, 0x6b, 0x64, 0, 0, 1]);

    /// Our own server understands what they say.
    #[test]
    fn the_seeds_own_parser_takes_them_for_what_they_are() {
        let facts = pxe::Facts { iface: "br0".into(), subnet: pxe::Subnet::new(Ipv4Addr::new(10, 44, 0, 0), 24).unwrap() };
        let (ip, server) = (Ipv4Addr::new(10, 44, 0, 100), Ipv4Addr::new(10, 44, 0, 1));
        for stage in [Stage::Firmware, Stage::Ipxe] {
            for m in [Message::Discover, Message::Request { ip, server }] {
                let bytes = message(m, stage, MAC, 7);
                let pxe::Classified::Boot(boot) = pxe::classify(&bytes, &facts) else { panic!("{stage:?} {m:?}") };
                assert_eq!((boot.ipxe, boot.arch.name(), boot.lease.mac), (stage == Stage::Ipxe, "efi-x64", MAC));
            }
        }
        for m in [Message::Discover, Message::Release { ip, server }] {
            assert!(matches!(pxe::classify(&message(m, Stage::Plain, MAC, 7), &facts), pxe::Classified::Plain(_)));
        }
    }

    #[test]
    fn answers_are_read_and_noise_is_not() {
        let mut b = vec![0u8; HEAD];
        b[0] = 2;
        b[4..8].copy_from_slice(&7u32.to_be_bytes());
        b[16..20].copy_from_slice(&[10, 44, 0, 100]);
        b[236..240].copy_from_slice(&COOKIE);
        b.extend([53, 1, 2, 54, 4, 10, 44, 0, 1, 1, 4, 255, 255, 0, 0, 67, 3, b'a', b'b', 0, 255]);
        let read = reply(&b).unwrap();
        assert_eq!((read.xid, read.kind, read.prefix, read.file.as_deref()), (7, 2, 16, Some("ab")));
        assert_eq!((read.ip, read.next), (Ipv4Addr::new(10, 44, 0, 100), Ipv4Addr::new(10, 44, 0, 1)));
        b[108..112].copy_from_slice(b"name");
        b.truncate(HEAD + 15);
        assert_eq!(reply(&b).unwrap().file.as_deref(), Some("name"));
        for at in 0..b.len() {
            let _ = reply(&b[..at]);
            let mut other = b.clone();
            other[at] ^= 0xff;
            let _ = reply(&other);
        }
        assert_eq!(reply(&b[..HEAD - 1]), None);
    }
}
