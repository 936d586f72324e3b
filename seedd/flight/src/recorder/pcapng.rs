//! Packets as a pcapng file (draft-ietf-opsawg-pcapng, section 4): one section, one Ethernet interface.

use super::ring::Packet;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const ETHERNET: u16 = 1;
/// Maximum length of a text option, in bytes; the format's limit is 65535.
const MAX_TEXT: usize = 4_000;

const COMMENT: u16 = 1;
const SECTION_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
/// Power of ten of the timestamps' unit.
const INTERFACE_RESOLUTION: u16 = 9;

/// Writes the file, little-endian. Wireshark shows `comment` (the diagnosis) as the comment of the section.
pub fn write(iface: &str, comment: &str, packets: &[Packet], program: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + packets.iter().map(|p| p.bytes.len() + 40).sum::<usize>());
    let mut head = Vec::new();
    head.extend(BYTE_ORDER.to_le_bytes());
    head.extend([1, 0, 0, 0]);
    // Its length is unspecified: it extends to the end of the file.
    head.extend(u64::MAX.to_le_bytes());
    option(&mut head, COMMENT, comment.as_bytes());
    option(&mut head, SECTION_APPLICATION, program.as_bytes());
    end_of_options(&mut head);
    block(&mut out, SECTION, &head);

    let mut interface = Vec::new();
    interface.extend(ETHERNET.to_le_bytes());
    interface.extend([0, 0]);
    interface.extend(0u32.to_le_bytes());
    option(&mut interface, INTERFACE_NAME, iface.as_bytes());
    option(&mut interface, INTERFACE_RESOLUTION, &[9]);
    end_of_options(&mut interface);
    block(&mut out, INTERFACE, &interface);

    for p in packets {
        let mut body = Vec::with_capacity(p.bytes.len() + 24);
        body.extend(0u32.to_le_bytes());
        body.extend(((p.at >> 32) as u32).to_le_bytes());
        body.extend((p.at as u32).to_le_bytes());
        body.extend((p.bytes.len() as u32).to_le_bytes());
        body.extend(p.length.to_le_bytes());
        body.extend_from_slice(&p.bytes);
        pad(&mut body);
        block(&mut out, ENHANCED_PACKET, &body);
    }
    out
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    if value.is_empty() {
        return;
    }
    let mut len = value.len().min(MAX_TEXT);
    // Do not cut in the middle of a character.
    while len < value.len() && value[len] & 0xc0 == 0x80 {
        len -= 1;
    }
    body.extend(code.to_le_bytes());
    body.extend((len as u16).to_le_bytes());
    body.extend_from_slice(&value[..len]);
    pad(body);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = (12 + body.len() as u32).to_le_bytes();
    out.extend(kind.to_le_bytes());
    out.extend(length);
    out.extend_from_slice(body);
    out.extend(length);
}

#[cfg(test)]
mod tests {
    use super::super::frame::tests::{OWN, PEER, SEED, bootp, udp};
    use super::*;
    use host::tool::Tool;

    fn sample() -> Vec<Packet> {
        let discover = bootp(1, PEER, &[53, 1, 1, 93, 2, 0, 7, 60, 9, b'P', b'X', b'E', b'C', b'l', b'i', b'e', b'n', b't']);
        let any = std::net::Ipv4Addr::UNSPECIFIED;
        let ask = udp(PEER, OWN, ("10.44.0.100".parse().unwrap(), SEED), (2070, 69), b"\0\x01snponly.efi\0octet\0");
        let frames =
            [udp(PEER, cluster_seed::ids::Mac([0xff; 6]), (any, "255.255.255.255".parse().unwrap()), (68, 67), &discover), ask];
        let at = 1_795_377_600_123_456_789;
        let whole = |(i, f): (usize, Vec<u8>)| Packet { at: at + i as u64, length: f.len() as u32 + 7, bytes: f.into() };
        frames.into_iter().enumerate().map(whole).collect()
    }

    #[test]
    fn blocks_close_and_are_aligned() {
        let file = write("br0", "a comment", &sample(), "seedd");
        let (mut at, mut kinds) = (0, Vec::new());
        while at < file.len() {
            let word = |o: usize| u32::from_le_bytes(file[at + o..at + o + 4].try_into().unwrap());
            let len = word(4) as usize;
            assert!(len.is_multiple_of(4) && word(len - 4) as usize == len);
            kinds.push(word(0));
            at += len;
        }
        assert_eq!(kinds, [SECTION, INTERFACE, ENHANCED_PACKET, ENHANCED_PACKET]);
        assert!(write("", "", &[], "").len() > 40);
        let long = write("br0", &"é".repeat(40_000), &[], "seedd");
        assert!(long.len() < MAX_TEXT + 200 && String::from_utf8_lossy(&long).contains("éé"));
    }

    #[test]
    fn wireshark_reads_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.pcapng");
        std::fs::write(&path, write("br0", "It never fetched its loader.", &sample(), "seedd")).unwrap();
        let info = match Tool::new("capinfos").arg(&path).run() {
            Ok(out) => out.text(),
            Err(host::tool::ToolError::Start { .. }) => return kubedos_skip::skip("capinfos", "is not installed"),
            Err(e) => panic!("{e}"),
        };
        assert!(info.contains("pcapng") && info.contains("Number of packets:   2"), "{info}");
        assert!(info.contains("It never fetched its loader.") && info.contains("Name = br0"), "{info}");
        let fields = [
            "-T",
            "fields",
            "-e",
            "dhcp.option.dhcp",
            "-e",
            "dhcp.hw.mac_addr",
            "-e",
            "tftp.source_file",
            "-e",
            "frame.time_epoch",
        ];
        let text = match Tool::new("tshark").arg("-r").arg(&path).args(fields).run() {
            Ok(out) => out.text(),
            Err(host::tool::ToolError::Start { .. }) => return kubedos_skip::skip("tshark", "is not installed"),
            Err(e) => panic!("{e}"),
        };
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "1\t52:54:00:00:00:09\t\t1795377600.123456789");
        assert!(lines[1].contains("snponly.efi") && lines[1].ends_with("1795377600.123456790"), "{text}");
    }
}
