//! Requests of real firmware that bends the standards: the answers, and the events of those that are refused.
//! docs/compatibility.md has the same as a table, with the answers of other servers.

use super::*;

const BIOS: &str = "350101 390205c0 3708 01032b363c424361 6111 00404142434445464748494a4b4c4d4e4f 5d020000 5e03010201 \
    3c20 505845436c69656e743a417263683a30303030303a554e44493a303032303031";

fn to(bytes: &[u8]) -> (Option<Reply>, Vec<BootEvent>) {
    let (mut r, policy) = with_networks(&[]);
    let outcome = r.handle_from(bytes, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68), NOW);
    let reply = match outcome {
        Outcome::Send(reply) => Some(reply),
        Outcome::Nothing => None,
        other => panic!("{other:?}"),
    };
    (reply, policy.events.lock().unwrap().clone())
}

/// The boot file of an offer.
fn boot_file(bytes: &[u8]) -> Option<String> {
    let (reply, _) = to(bytes);
    reply?.event.file
}

fn header(change: impl FnOnce(&mut Vec<u8>), options: &str) -> Vec<u8> {
    let mut bytes = packet(options);
    change(&mut bytes);
    bytes
}

#[test]
fn what_bends_the_standard_is_answered_from_what_was_whole() {
    let long_name = format!("0cff{}", "61".repeat(255));
    for (name, more) in [
        ("no end mark", ""),
        ("the last option is cut off", "0c28 7261636b"),
        ("a code without its length", "0c"),
        ("message type twice", "350101 ff"),
        ("message type twice and different", "350103 ff"),
        ("maximum size twice", "3902012c ff"),
        ("identifier twice", "3d0701525400123456 3d0701525400123456 ff"),
        ("requested address twice", "32040a00000a 32040a00000b ff"),
        ("requested address too long", "32050a00000a00 ff"),
        ("requested address too short", "32030a0000 ff"),
        ("overload 0", "340100 ff"),
        ("overload 1, an empty field", "340101 ff"),
        ("overload 3, empty fields", "340103 ff"),
        ("overload 4", "340104 ff"),
        ("overload without a value", "3400 ff"),
        ("kinds twice", "5d020007 ff"),
        ("vendor class twice", "3c09505845436c69656e74 ff"),
        ("empty options", "0c00 3d00 4d00 af00 5200 7600 ff"),
        ("a host name of 255 bytes", long_name.as_str()),
        ("padding between options", "000000 0c0161 000000 ff"),
        ("what follows the end mark", "ff 350103 0cff"),
    ] {
        assert_eq!(boot_file(&packet(&format!("{BIOS} {more}"))).as_deref(), Some("undionly.kpxe"), "{name}");
    }
    assert_eq!(boot_file(&header(|b| b.resize(1_472, 0), BIOS)).as_deref(), Some("undionly.kpxe"), "padded to a whole frame");
    assert_eq!(boot_file(&header(|b| b[8..10].fill(0xff), BIOS)).as_deref(), Some("undionly.kpxe"), "secs");
}

#[test]
fn every_packet_that_is_not_answered_is_told_with_its_machine() {
    let other = "not_ethernet";
    for (name, bytes, why, has_mac) in [
        ("no cookie", header(|b| b[236..240].fill(0), ""), "bad_cookie", true),
        ("BOOTP", header(|b| b.resize(300, 0), "ff"), "no_message_type", true),
        ("nothing but a broken option", packet("0cc878"), "broken_options", true),
        ("short", packet("")[..236].to_vec(), "too_short", true),
        ("shorter", packet("")[..20].to_vec(), "too_short", false),
        ("nothing", Vec::new(), "too_short", false),
        ("long", header(|b| b.resize(1_501, 0), BIOS), "too_long", true),
        ("a server's", header(|b| b[0] = 2, BIOS), "not_a_request", false),
        ("IPoIB", header(|b| (b[1], b[2]) = (32, 0), BIOS), other, false),
        ("no address", header(|b| b[28..34].fill(0), BIOS), "bad_mac", false),
        ("broadcast", header(|b| b[28..34].fill(0xff), BIOS), "bad_mac", false),
        ("too many hops", header(|b| b[3] = 17, BIOS), "too_many_hops", true),
        ("unknown type", packet("350109 ff"), "bad_message_type", true),
        ("an OFFER", packet("350102 ff"), "server_message", true),
    ] {
        let (reply, events) = to(&bytes);
        assert!(reply.is_none(), "{name}");
        let [BootEvent { kind: BootEventKind::Ignored { why: got, .. }, mac, .. }] = &events[..] else {
            panic!("{name}: {events:?}")
        };
        assert_eq!((got.name(), mac.is_some()), (why, has_mac), "{name}");
    }
}

#[test]
fn who_has_no_hardware_address_is_known_by_its_other_one() {
    let (mut r, policy) = with_networks(&[]);
    for (from, want) in [([10, 0, 0, 77], Some([10, 0, 0, 77].into())), ([0; 4], None)] {
        r.handle_from(&packet("")[..20], SocketAddrV4::new(from.into(), 68), NOW);
        assert_eq!(policy.events.lock().unwrap().last().unwrap().ip, want);
    }
}

#[test]
fn a_kind_further_back_in_the_list_is_offered_its_loader() {
    let list = |codes: &str| OVMF_PXE.replacen("5d020007", &format!("5d{:02x}{codes}", codes.len() / 2), 1);
    let (reply, events) = to(&packet(&list("00060007")));
    assert_eq!(reply.unwrap().event.file.as_deref(), Some("snponly.efi"));
    assert_eq!(events[0].arch.unwrap().name(), "efi-x64");
    let (reply, events) = to(&packet(&list("0006")));
    assert!(reply.is_none());
    assert!(matches!(&events[1].kind, BootEventKind::Ignored { cause: Some(Cause::NoLoader), .. }), "{events:?}");
}

#[test]
fn a_cards_ipxe_is_replaced_by_the_loader_and_the_loader_gets_the_script() {
    let rom = |features: &[u8]| {
        let flags: String = features.iter().map(|c| format!("{c:02x}0101")).collect();
        format!("{BIOS} 4d0469505845 af{:02x}{flags} ff", flags.len() / 2)
    };
    for (features, file) in [
        (&[16u8, 33, 17, 18, 34, 23][..], "undionly.kpxe"),
        (&[16, 33, 19], "undionly.kpxe"),
        (&[16, 33, 24], "undionly.kpxe"),
        (&[16, 33, 19, 24], "http://10.0.0.1/boot/ipxe"),
    ] {
        let (reply, events) = to(&packet(&rom(features)));
        let reply = reply.unwrap();
        assert_eq!(reply.event.file.as_deref(), Some(file), "{features:?}");
        assert_eq!(events[0].ipxe, file.starts_with("http"), "what is replaced is firmware");
        assert_eq!(option(&reply, 60).is_some(), !file.starts_with("http"));
    }
    // The loader itself, as Debian builds it: no second round.
    assert_eq!(boot_file(&packet(IPXE_ROM)).as_deref(), Some("http://10.0.0.1/boot/ipxe"));
    assert_eq!(boot_file(&packet(IPXE_EFI)).as_deref(), Some("http://10.0.0.1/boot/ipxe"));
}

#[test]
fn a_raspberry_pi_gets_no_loader_for_a_pc() {
    let pi = header(|b| b[28..31].copy_from_slice(&[0xdc, 0xa6, 0x32]), BIOS);
    let (reply, events) = to(&pi);
    assert!(reply.is_none());
    let BootEventKind::Ignored { detail, .. } = &events[1].kind else { panic!("{events:?}") };
    assert_eq!(detail.as_deref(), Some("no boot loader for arm-rpiboot"));
    // Its operating system is a client like any other.
    assert!(to(&header(|b| b[28..31].copy_from_slice(&[0xdc, 0xa6, 0x32]), "350101 ff")).0.is_some());
}

#[test]
fn a_relay_that_asks_for_it_is_answered_on_its_own_port() {
    let (mut r, _) = with_networks(&[[10, 1, 0, 0]]);
    let relay: Ipv4Addr = [10, 1, 0, 254].into();
    for (more, from, want) in [
        ("", 12_345, 67),
        ("5202 1300", 12_345, 12_345),
        ("5206 1300 01020304", 1_067, 1_067),
        ("5202 1300", 67, 67),
        ("5202 1300", 0, 67),
    ] {
        let bytes = relayed(&format!("350101 {more} ff"), [10, 1, 0, 254]);
        let reply = sent(r.handle_from(&bytes, SocketAddrV4::new(relay, from), NOW));
        assert_eq!(reply.to, SocketAddrV4::new(relay, want), "{more} {from}");
        let nak = relayed(&format!("350103 3204c0a80105 {more} ff"), [10, 1, 0, 254]);
        assert_eq!(sent(r.handle_from(&nak, SocketAddrV4::new(relay, from), NOW)).to.port(), want, "{more} {from}");
    }
    // A client on the link is answered on port 68 whatever it says.
    let reply = sent(r.handle_from(&packet("350101 5202 1300 ff"), SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 9_999), NOW));
    assert_eq!(reply.to.port(), 68);
}

/// Each state of RFC 2131 section 4.3.2 of a machine without a lease here, in each mode.
#[test]
fn a_stranger_is_refused_only_where_this_server_decides() {
    let elsewhere = "3204c0a80105";
    let (in_pool, beside_pool) = ("32040a00000a", "32040a000063");
    let renew = |ip: [u8; 4]| header(|b| b[12..16].copy_from_slice(&ip), "350103 ff");
    let table = [
        ("INIT-REBOOT, other network", packet(&format!("350103 {elsewhere} ff")), ["NAK", "silence", "silence"]),
        ("INIT-REBOOT, in the pool", packet(&format!("350103 {in_pool} ff")), ["silence", "silence", "silence"]),
        ("INIT-REBOOT, beside the pool", packet(&format!("350103 {beside_pool} ff")), ["silence", "silence", "silence"]),
        ("INIT-REBOOT, the server's own", packet("350103 32040a000001 ff"), ["silence", "silence", "silence"]),
        ("RENEWING, other network", renew([192, 168, 1, 5]), ["NAK", "silence", "silence"]),
        ("RENEWING, in the pool", renew([10, 0, 0, 10]), ["silence", "silence", "silence"]),
        ("RENEWING, beside the pool", renew([10, 0, 0, 99]), ["silence", "silence", "silence"]),
        ("SELECTING, in the pool", packet(&format!("350103 36040a000001 {in_pool} ff")), ["ACK", "silence", "silence"]),
        ("SELECTING, beside the pool", packet(&format!("350103 36040a000001 {beside_pool} ff")), ["NAK", "silence", "silence"]),
        (
            "SELECTING another server",
            packet(&format!("350103 360a0a000002 {elsewhere} ff").replace("360a", "3604")),
            ["silence"; 3],
        ),
        ("no address", packet("350103 ff"), ["silence"; 3]),
    ];
    for (name, bytes, want) in table {
        for (mode, want) in ["full", "reservation", "proxy"].into_iter().zip(want) {
            let (mut r, policy) = with_networks(&[]);
            if mode == "reservation" {
                r.networks[0].table = LeaseTable::new(r.networks[0].config.network.pool(SERVER, false), Vec::new());
            }
            if mode == "proxy" {
                r.serving = Serving::Proxy;
            }
            let got = match r.handle(&bytes, NOW) {
                Outcome::Nothing => "silence",
                Outcome::Send(Reply { event: BootEvent { kind: BootEventKind::Nak { .. }, .. }, .. }) => "NAK",
                Outcome::Commit { .. } => "ACK",
                other => panic!("{other:?}"),
            };
            assert_eq!(got, want, "{name}, {mode}");
            let told = kinds(&policy);
            assert_eq!(got == "silence", matches!(told.last(), Some(BootEventKind::Ignored { .. })), "{name}, {mode}: {told:?}");
        }
    }
}
