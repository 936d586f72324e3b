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
        (packet("0cc861"), Why::BrokenOptions),
        (packet("ff"), Why::NoMessageType),
        (packet("0c0161ff"), Why::NoMessageType),
        (packet("3500ff"), Why::BadMessageType),
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

/// The reason, the hardware address and what else is known of a packet that is not taken.
fn refused(bytes: &[u8]) -> (Why, Option<Mac>, Option<u32>, Option<String>) {
    match classify(bytes, &facts()) {
        Classified::Ignored { why, mac, xid, detail } => (why, mac, xid, detail),
        other => panic!("taken: {other:?}"),
    }
}

#[test]
fn a_refused_packet_names_its_machine_if_it_has_a_header() {
    let good = packet("350101ff");
    let xid = Some(0x1122_3344);
    for (len, mac, xid) in [
        (0, None, None),
        (7, None, None),
        (8, None, xid),
        (33, None, xid),
        (34, Some(MAC), xid),
        (235, Some(MAC), xid),
        (239, Some(MAC), xid),
    ] {
        assert_eq!(refused(&good[..len]), (Why::TooShort, mac, xid, None), "{len}");
    }
    // Plain BOOTP, with the cookie and without it.
    let mut bootp = good.clone();
    bootp[236..240].fill(0);
    assert_eq!(refused(&bootp), (Why::BadCookie, Some(MAC), xid, None));
    assert_eq!(refused(&packet("")), (Why::NoMessageType, Some(MAC), xid, None));
    assert_eq!(refused(&[&good[..], &[0; 1_500]].concat()), (Why::TooLong, Some(MAC), xid, None));
    assert_eq!(refused(&packet("3501")), (Why::BrokenOptions, Some(MAC), xid, None));
    // A header that is not a request's, or not of one machine, names nobody.
    for (at, value) in [(0, 2), (1, 6), (2, 5), (28, 1)] {
        let mut bytes = bootp.clone();
        bytes[at] = value;
        assert_eq!(refused(&bytes), (Why::BadCookie, None, xid, None), "{at}");
    }
}

#[test]
fn a_hardware_address_that_is_not_ethernet_is_described() {
    let change = |htype, hlen, chaddr: [u8; 6], options: &str| {
        let mut bytes = packet(&format!("350101{options}ff"));
        (bytes[1], bytes[2]) = (htype, hlen);
        bytes[28..34].copy_from_slice(&chaddr);
        let (why, mac, _, detail) = refused(&bytes);
        assert_eq!(why, Why::NotEthernet);
        (mac, detail.unwrap())
    };
    let id = "3d0701525400123456";
    let ipoib = "3d11ff00000001000300010001020304050607";
    assert_eq!(change(32, 0, [0; 6], ipoib), (None, "type 32, InfiniBand, 0 bytes".into()));
    assert_eq!(change(32, 20, [9; 6], ""), (None, "type 32, InfiniBand, 20 bytes".into()));
    assert_eq!(change(1, 0, [0; 6], id), (Some(MAC), "type 1, 0 bytes".into()), "its identifier is its address");
    assert_eq!(change(1, 0, [0; 6], ""), (None, "type 1, 0 bytes".into()));
    assert_eq!(change(1, 16, MAC.0, ""), (None, "type 1, 16 bytes".into()));
    assert_eq!(change(6, 6, MAC.0, id), (None, "type 6, 6 bytes".into()));
}

#[test]
fn message_types() {
    for (options, want) in [
        ("35020301ff", MessageKind::Request),
        ("350103350101ff", MessageKind::Request),
        ("350101350101ff", MessageKind::Discover),
        ("3500350104ff", MessageKind::Decline),
        ("350101340100ff", MessageKind::Discover),
        ("3501010c28686f7374", MessageKind::Discover),
        ("3501010c", MessageKind::Discover),
        ("350101", MessageKind::Discover),
    ] {
        assert_eq!(lease(&packet(options)).kind, want, "{options}");
    }
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
fn an_ipxe_without_http_or_kernels_needs_a_loader() {
    // Features as flags (code, 1, 1): 19 HTTP, 24 bzImage, 36 EFI, 16 PXE, 33 and so on.
    let flags = |codes: &[u8]| codes.iter().map(|c| format!("{c:02x}0101")).collect::<String>();
    for (features, takes) in [
        (flags(&[16, 33, 17, 18, 34, 23]), false),
        (flags(&[16, 33, 19, 18, 34, 23]), false),
        (flags(&[16, 33, 24]), false),
        (flags(&[36, 39]), false),
        (flags(&[19, 24]), true),
        (flags(&[36, 19]), true),
        (flags(&[19, 20, 24, 33, 39, 16, 17]), true),
        ("130100180101".to_owned(), false),
        ("1300180101".to_owned(), false),
        (flags(&[19]) + "00" + &flags(&[24]), true),
        (flags(&[19]) + "ff" + &flags(&[24]), false),
        (flags(&[19]) + "18", false),
        // Settings only: nothing is known about its features.
        ("b105011af41000eb03010000".to_owned(), true),
        ("b0".to_owned(), true),
    ] {
        for class in ["", "4d0469505845", "3c09505845436c69656e74"] {
            let options = format!("350101{class}af{:02x}{features}ff", features.len() / 2);
            let mut got = boot(&packet(&options));
            assert!(got.ipxe, "{features}");
            assert_eq!(got.takes_script(), takes, "{features}");
            got.choose(&LoaderTable::default());
            assert_eq!(got.takes_script(), takes, "{features}");
            got.choose(&LoaderTable::empty());
            assert!(got.takes_script(), "there is nothing to replace it with");
        }
    }
    assert!(boot(&packet("3501014d0469505845ff")).takes_script(), "it lists nothing");
    assert!(boot(&packet(IPXE_ROM)).takes_script() && boot(&packet(IPXE_EFI)).takes_script());
    assert!(!boot(&packet(OVMF_PXE)).takes_script());
}

#[test]
fn of_several_kinds_the_first_with_a_loader_is_chosen() {
    let chosen = |class: &str, codes: &str| {
        let vendor: String = class.bytes().map(|b| format!("{b:02x}")).collect();
        let options = format!("3501013c{:02x}{vendor}5d{:02x}{codes}ff", class.len(), codes.len() / 2);
        let mut got = boot(&packet(&options));
        got.choose(&LoaderTable::default());
        got.arch
    };
    let (x64, other) = (ClientArch::EfiX64, ClientArch::Other);
    for (codes, want) in [
        ("00060007", x64),
        ("00070006", x64),
        ("00000007", ClientArch::Bios),
        ("0006000b0007", x64),
        ("0006000f", ClientArch::EfiIa32),
        ("00100007", x64),
        ("0010", ClientArch::HttpX64),
        ("000600", ClientArch::EfiIa32),
        ("0006000707", x64),
        ("0063006200610060005f005e005d00070000", x64),
        ("0063006200610060005f005e005d005c0007", other(99)),
    ] {
        assert_eq!(chosen("PXEClient", codes), want, "{codes}");
    }
    assert_eq!(chosen("HTTPClient", "00070010"), ClientArch::HttpX64, "by HTTP first");
    assert_eq!(chosen("HTTPClient", "000f0007"), x64);
    // The same option twice is one list.
    let mut got = boot(&packet("3501013c09505845436c69656e745d0200065d020007ff"));
    got.choose(&LoaderTable::default());
    assert_eq!(got.arch, x64);
}

#[test]
fn a_raspberry_pi_is_not_a_bios() {
    let arch = |mac: [u8; 6], options: &str| {
        let mut bytes = packet(options);
        bytes[28..34].copy_from_slice(&mac);
        boot(&bytes).arch
    };
    let rom = "350101 5d020000 3c20505845436c69656e743a417263683a30303030303a554e44493a303032303031";
    for oui in
        [[0xb8, 0x27, 0xeb], [0xdc, 0xa6, 0x32], [0xe4, 0x5f, 0x01], [0x28, 0xcd, 0xc1], [0xd8, 0x3a, 0xdd], [0x2c, 0xcf, 0x67]]
    {
        let mac = [oui[0], oui[1], oui[2], 1, 2, 3];
        assert_eq!(arch(mac, &format!("{rom}ff")), ClientArch::RaspberryPi, "{mac:?}");
        // Its UEFI and an iPXE on it say what they are.
        assert_eq!(arch(mac, "350101 5d02000b 3c09505845436c69656e74 ff"), ClientArch::EfiArm64);
        assert_eq!(arch(mac, &format!("{rom} 4d0469505845 ff")), ClientArch::Bios);
    }
    let id = |text: &str| format!("{rom} 6111 00{text} 000102030405060708090a0b ff");
    assert_eq!(arch(MAC.0, &id("52506934")), ClientArch::RaspberryPi, "RPi4");
    assert_eq!(arch(MAC.0, &id("52506835")), ClientArch::Bios);
    assert_eq!(ClientArch::from_code(41), ClientArch::RaspberryPi);
}

#[test]
fn a_relay_may_want_its_answer_on_its_own_port() {
    for (options, giaddr, want) in [
        ("5202 1300", [10, 0, 0, 254], true),
        ("5208 01040a0000011300", [10, 0, 0, 254], true),
        ("5202 1300", [0; 4], false),
        ("5206 01040a000001", [10, 0, 0, 254], false),
        ("5203 13ff00", [10, 0, 0, 254], false),
    ] {
        let mut bytes = packet(&format!("350101 {options} ff"));
        bytes[24..28].copy_from_slice(&giaddr);
        let got = lease(&bytes);
        assert_eq!((got.from_port, got.relay_port), (want, 67), "{options}");
    }
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
