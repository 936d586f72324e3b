use proptest::prelude::*;

use super::*;
use crate::dhcp::testing::{IPXE_EFI, IPXE_ROM, MAC, OVMF_HTTP, OVMF_PXE, UDHCPC, boot, facts, hex, lease, packet};

fn why(bytes: &[u8]) -> Why {
    match classify(bytes, &facts()) {
        Classified::Ignored { why, .. } => why,
        other => panic!("taken: {other:?}"),
    }
}

#[test]
fn golden_ipxe_rom() {
    let got = boot(&packet(IPXE_ROM));
    assert_eq!((got.arch, got.ipxe, got.stage), (ClientArch::Bios, true, Stage::Pxe));
    assert_eq!((got.lease.mac, got.lease.xid), (MAC, 0x1122_3344));
    assert_eq!(got.lease.key, ClientKey::Mac(MAC));
    assert_eq!(got.lease.client_id, None);
    assert_eq!(got.lease.vendor_class.as_deref(), Some("PXEClient:Arch:00000:UNDI:002001"));
    assert_eq!(got.lease.uuid.unwrap()[1..], hex("00112233445566778899aabbccddeeff"));
}

#[test]
fn golden_ovmf() {
    let pxe = boot(&packet(OVMF_PXE));
    assert_eq!((pxe.arch, pxe.ipxe, pxe.stage), (ClientArch::EfiX64, false, Stage::Pxe));
    let ipxe = boot(&packet(IPXE_EFI));
    assert_eq!((ipxe.arch, ipxe.ipxe, ipxe.stage), (ClientArch::EfiX64, true, Stage::Pxe));
    assert_eq!(ipxe.lease.key, pxe.lease.key, "one address for both");
    let http = boot(&packet(OVMF_HTTP));
    assert_eq!((http.arch, http.ipxe, http.stage), (ClientArch::HttpX64, false, Stage::Http));
}

#[test]
fn golden_udhcpc() {
    let got = classify(&packet(UDHCPC), &facts());
    let Classified::Plain(got) = got else { panic!("{got:?}") };
    assert_eq!(got.hostname.as_deref(), Some("base"));
    assert_eq!(got.vendor_class.as_deref(), Some("udhcp 1.35.0"));
}

#[test]
fn every_reason_to_ignore() {
    let good = packet("350101ff");
    let edit = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let table = [
        (good[..239].to_vec(), Why::TooShort),
        (vec![1; crate::dhcp::wire::MAX_PACKET + 1], Why::TooLong),
        (edit(0, 2), Why::NotARequest),
        (edit(1, 6), Why::NotEthernet),
        (edit(2, 5), Why::NotEthernet),
        (edit(2, 7), Why::NotEthernet),
        (edit(28, 0x53), Why::BadMac),
        (edit(236, 0), Why::BadCookie),
        (edit(3, MAX_HOPS + 1), Why::TooManyHops),
        (packet("3501"), Why::BrokenOptions),
        (packet("0c0161ff"), Why::NoMessageType),
        (packet("3500ff"), Why::BadMessageType),
        (packet("35020101ff"), Why::BadMessageType),
        (packet("350100ff"), Why::BadMessageType),
        (packet("350109ff"), Why::BadMessageType),
        (packet("350102ff"), Why::ServerMessage),
        (packet("350105ff"), Why::ServerMessage),
        (packet("350106ff"), Why::ServerMessage),
    ];
    for (bytes, want) in table {
        assert_eq!(why(&bytes), want);
    }
    let mut zero = good.clone();
    zero[28..34].fill(0);
    assert_eq!(why(&zero), Why::BadMac);
    assert_eq!(lease(&edit(3, MAX_HOPS)).mac, MAC);
    let mut relayed = good.clone();
    relayed[24..28].copy_from_slice(&[10, 0, 0, 254]);
    assert_eq!(lease(&relayed).giaddr, Ipv4Addr::new(10, 0, 0, 254));
}

#[test]
fn message_types() {
    for (code, want) in [
        ("01", MessageKind::Discover),
        ("03", MessageKind::Request),
        ("04", MessageKind::Decline),
        ("07", MessageKind::Release),
        ("08", MessageKind::Inform),
    ] {
        assert_eq!(lease(&packet(&format!("3501{code}ff"))).kind, want);
    }
}

#[test]
fn ipxe_is_found_in_each_form() {
    for (options, want) in [
        ("4d0469505845", true),            // "iPXE"
        ("4d050469505845", true),          // RFC 3004: one class
        ("4d0903616263 0469505845", true), // RFC 3004: "abc", "iPXE"
        ("af03b10100", true),              // iPXE's own options
        ("4d0469505846", false),           // "iPXF"
        ("4d050569505845", false),         // a length that runs over
        ("4d0569505845 20", false),        // "iPXE "
        ("af00", false),                   // empty
    ] {
        let got = classify(&packet(&format!("350101 3c09505845436c69656e74 {options} ff")), &facts());
        let Classified::Boot(got) = got else { panic!("{got:?}") };
        assert_eq!(got.ipxe, want, "{options}");
    }
    // Without a vendor class too.
    assert_eq!(boot(&packet("350101 4d0469505845 ff")).stage, Stage::Ipxe);
}

#[test]
fn architecture_codes() {
    let arch = |option: &str| boot(&packet(&format!("350101 3c09505845436c69656e74 {option} ff"))).arch;
    for (code, want) in [
        (0u16, ClientArch::Bios),
        (6, ClientArch::EfiIa32),
        (7, ClientArch::EfiX64),
        (9, ClientArch::EfiX64),
        (11, ClientArch::EfiArm64),
        (15, ClientArch::HttpIa32),
        (16, ClientArch::HttpX64),
        (19, ClientArch::HttpArm64),
        (20, ClientArch::HttpBios),
        (8, ClientArch::Other(8)),
        (0xffff, ClientArch::Other(0xffff)),
    ] {
        assert_eq!(arch(&format!("5d02{code:04x}")), want, "{code}");
    }
    assert_eq!(arch("5d0400070000"), ClientArch::EfiX64, "the first of several");
    assert_eq!(arch("5d00"), ClientArch::Bios, "empty");
    assert_eq!(arch("5d0107"), ClientArch::Bios, "one byte");
    // Without option 93 the vendor class is used.
    let text = "350101 3c0f 505845436c69656e743a417263683a 3c05 3030303037 ff";
    assert_eq!(boot(&packet(text)).arch, ClientArch::EfiX64);
}

#[test]
fn client_keys() {
    let key = |id: &[u8]| ClientKey::new(MAC, Some(id));
    assert_eq!(ClientKey::new(MAC, None), ClientKey::Mac(MAC));
    assert_eq!(key(&[1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]), ClientKey::Mac(MAC));
    assert!(matches!(key(&[1, 0x52, 0x54, 0, 0x12, 0x34, 0x57]), ClientKey::Id(_)));
    for (len, used) in [(0, false), (1, false), (2, true), (254, true), (255, true), (256, false)] {
        assert_eq!(matches!(key(&vec![9; len]), ClientKey::Id(_)), used, "{len}");
    }
}

#[test]
fn text_is_bounded_and_printable() {
    for (len, want) in [(MAX_TEXT - 1, MAX_TEXT - 1), (MAX_TEXT, MAX_TEXT), (MAX_TEXT + 1, MAX_TEXT)] {
        assert_eq!(text(&vec![b'a'; len]).unwrap().len(), want);
    }
    assert_eq!(text(b"<b>\x1b[31m\xffx\0\0").as_deref(), Some("<b>?[31m?x"));
    assert_eq!(text(b""), None);
    assert_eq!(text(b"\0abc"), None);
}

proptest! {
    #[test]
    fn any_bytes_are_classified(bytes in proptest::collection::vec(any::<u8>(), 0..1600)) {
        let _ = classify(&bytes, &facts());
    }

    #[test]
    fn any_options_are_classified(tail in proptest::collection::vec(any::<u8>(), 0..600), sname in any::<[u8; 32]>()) {
        let mut bytes = packet("350101");
        bytes[44..76].copy_from_slice(&sname);
        bytes.extend(tail);
        let _ = classify(&bytes, &facts());
    }

    #[test]
    fn a_changed_byte_of_a_real_packet_is_classified(at in 0usize..400, value in any::<u8>(), which in 0usize..4) {
        let mut bytes = packet([IPXE_ROM, OVMF_PXE, OVMF_HTTP, UDHCPC][which]);
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = classify(&bytes, &facts());
    }
}
