//! Known vulnerabilities of boot servers, each with a regression test. The numbers are those of docs/known-holes.md.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use cluster_seed::arch::Arch;
use cluster_seed::ids::Mac;
use pxe::dhcp::leases::{Answer, LeaseTable};
use pxe::dhcp::pool::{PoolConfig, PoolRange};
use pxe::script::{AgentBoot, FileName, KernelCmdline, ScreenText, SeedUrl, agent_script, grub_agent, grub_wait, wait_script};
use pxe::tftp::limits::Limits;
use pxe::tftp::packet::{Packet, PacketError, ReadRequest, parse, read_packet};
use pxe::tftp::transfer::{Send, Status, Transfer};
use pxe::{Classified, Facts, FileTable, Subnet, Why, classify};

const NOW: Duration = Duration::from_secs(1);

fn subnet() -> Subnet {
    Subnet::new(Ipv4Addr::new(10, 0, 0, 0), 24).unwrap()
}

fn dhcp(mac: [u8; 6], options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0u8; 236];
    bytes[..8].copy_from_slice(&[1, 1, 6, 0, 1, 2, 3, 4]);
    bytes[28..34].copy_from_slice(&mac);
    bytes.extend_from_slice(&[99, 130, 83, 99]);
    bytes.extend_from_slice(options);
    bytes.push(255);
    bytes
}

fn request(bytes: &[u8]) -> pxe::dhcp::request::LeaseRequest {
    match classify(bytes, &Facts { iface: "x0".into(), subnet: subnet() }) {
        Classified::Plain(lease) => lease,
        Classified::Boot(boot) => boot.lease,
        Classified::Ignored { why, .. } => panic!("{why}"),
    }
}

#[test]
fn hole_2_wrong_lengths_are_handled_or_refused() {
    let good = dhcp([2, 0, 0, 0, 0, 1], &[53, 1, 1, 12, 3, b'a', b'b', b'c', 82, 6, 5, 4, 10, 0, 0, 1]);
    let facts = Facts { iface: "x0".into(), subnet: subnet() };
    for at in 240..good.len() {
        for value in [0, 1, 127, 128, 254, 255] {
            let mut bytes = good.clone();
            bytes[at] = value;
            for cut in [bytes.len(), at + 1] {
                let _ = classify(&bytes[..cut], &facts);
            }
        }
    }
    assert!(matches!(
        classify(&dhcp([2, 0, 0, 0, 0, 1], &[53, 200, 1]), &facts),
        Classified::Ignored { why: Why::BrokenOptions, .. }
    ));
}

#[test]
fn hole_3_a_name_is_a_key_and_never_a_path() {
    let files = FileTable::new([("boot".to_owned(), Arc::from(&b"x"[..])), ("grub/grub.cfg".to_owned(), Arc::from(&b"y"[..]))]);
    assert!(files.has("boot") && files.has("/boot") && files.has("/grub/grub.cfg"));
    for name in [
        "../boot",
        "grub/../boot",
        "%2e%2e/boot",
        "..\\boot",
        "//boot",
        "./boot",
        "boot/",
        "/etc/passwd",
        "grub\\grub.cfg",
        "BOOT",
    ] {
        assert!(!files.has(name), "{name}");
    }
    let long = "a/".repeat(32_768);
    assert_eq!(parse(&read_packet(&long, &[])), Err(PacketError::TooLong));
    assert_eq!(parse(b"\0\x01boot"), Err(PacketError::Unterminated));
    assert_eq!(parse(b"\0\x01bo\x1bot\0octet\0"), Err(PacketError::Name));
    // Text after a NUL is not part of the name.
    let Ok(Packet::Read(read)) = parse(b"\0\x01boot\0octet\0/../x\0") else { panic!("not read") };
    assert_eq!(read.name, "boot");
}

fn transfer(len: usize, options: &[(&str, &str)]) -> Transfer {
    let options = options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Transfer::new(vec![7u8; len].into(), &ReadRequest { name: "f".into(), options }, Limits::default())
}

#[test]
fn hole_4_windows_errors_and_options_of_value_zero() {
    let mut t = transfer(100_000, &[("windowsize", "4"), ("tsize", "0"), ("blksize", "0")]);
    t.start(NOW);
    assert_eq!(t.option_ack(), b"\0\x06windowsize\x004\0tsize\x00100000\0", "0 asks for the size and is not a block size");
    assert_eq!(t.on_packet(&[0, 4, 0, 0], NOW).send, Send::Blocks(1..=4));
    assert_eq!(t.on_packet(&[0, 4, 0, 2], NOW).send, Send::Blocks(3..=6), "the rest of the window was lost");
    assert_eq!(t.on_packet(&[0, 4, 0, 2], NOW).send, Send::Nothing, "repeated twice, retransmitted once");
    assert!(matches!(t.on_packet(b"\0\x05\0\0stop\0", NOW).status, Status::Aborted { message } if message == "stop"));
}

#[test]
fn hole_5_a_client_that_never_answered_gets_at_most_four_packets() {
    for options in [&[][..], &[("windowsize", "64"), ("blksize", "1468")]] {
        let mut t = transfer(1_000_000, options);
        let mut packets = 0;
        let mut step = t.start(NOW);
        while step.status == Status::Running {
            packets += match step.send {
                Send::Nothing => 0,
                Send::Options => 1,
                Send::Blocks(blocks) => blocks.count(),
            };
            step = t.on_timeout(NOW);
        }
        assert_eq!((packets, step.status), (4, Status::TimedOut), "a window is never sent before an answer");
    }
}

#[test]
fn hole_6_padded_datagrams_are_read() {
    let mut bytes = read_packet("boot", &[("tsize", "0")]);
    bytes.resize(400, 0);
    let Ok(Packet::Read(read)) = parse(&bytes) else { panic!("not read") };
    assert_eq!((read.name.as_str(), read.options.len()), ("boot", 1));
    let mut t = transfer(2_000, &[]);
    t.start(NOW);
    assert_eq!(t.on_packet(&[&[0, 4, 0, 1][..], &[0; 42]].concat(), NOW).send, Send::Blocks(2..=2));
    let mut padded = dhcp([2, 0, 0, 0, 0, 1], &[53, 1, 1]);
    padded.resize(600, 0);
    assert_eq!(request(&padded).mac, Mac([2, 0, 0, 0, 0, 1]));
}

#[test]
fn hole_9_no_text_adds_a_word_or_a_line_to_a_boot_script() {
    let seed = SeedUrl(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 80));
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let evil = ["x init=/bin/sh", "x\nshell", "${net0/mac}", "$(reboot)", "x; reboot", "\"x", "a\u{2028}b", "x\0y", "x || shell"];
    for text in evil {
        assert!(KernelCmdline::new().params([text]).is_err(), "{text:?}");
        assert!(KernelCmdline::new().param("quiet", Some(text)).is_err(), "{text:?}");
        let clean = ScreenText::new("x");
        for (told, plain) in [
            (wait_script(seed, mac, text, &ScreenText::new(text), 5), wait_script(seed, mac, "bios", &clean, 5)),
            (grub_wait(seed, mac, Arch::Amd64, &ScreenText::new(text), 5), grub_wait(seed, mac, Arch::Amd64, &clean, 5)),
        ] {
            assert_eq!(told.lines().count(), plain.lines().count(), "{text:?}");
            assert_eq!(
                told.matches(['$', ';', '|', '"', '{']).count(),
                plain.matches(['$', ';', '|', '"', '{']).count(),
                "{text:?}"
            );
        }
    }
    for reserved in ["init=/x", "rdinit=/bin/sh", "root=/dev/sda", "kubedos.seed=http://evil", "console=ttyS9", "memtest=1"] {
        assert!(KernelCmdline::new().params([reserved]).is_err(), "{reserved}");
    }
    let (kernel, initrd, extra) = (FileName::new("vmlinuz").unwrap(), FileName::new("initrd.img").unwrap(), KernelCmdline::new());
    let boot =
        AgentBoot { seed, mac, arch: Arch::Amd64, kernel: &kernel, initrd: &initrd, consoles: &[], extra: &extra, rescue: true };
    for script in [agent_script(&boot).unwrap(), grub_agent(&boot).unwrap()] {
        assert!(!script.contains("password") && !script.contains("token"), "hole 15: a boot script holds no secret");
    }
}

fn table(machines: u8) -> LeaseTable {
    let ip = |last| Ipv4Addr::new(10, 0, 0, last);
    let ranges = vec![PoolRange { first: ip(10), last: ip(9 + machines) }];
    let config = PoolConfig {
        subnet: subnet(),
        ranges,
        server_ip: ip(1),
        router: None,
        lease_secs: 600,
        stranger_secs: 600,
        reservations: Default::default(),
    };
    LeaseTable::new(config, Vec::new())
}

#[test]
fn hole_17_cloned_addresses_and_zero_uuids_are_distinguished_by_other_fields() {
    let zeros = [&[97u8, 17][..], &[0; 17]].concat();
    let ask = |mac, id: &[u8]| {
        let id = if id.is_empty() { Vec::new() } else { [&[61, id.len() as u8][..], id].concat() };
        request(&dhcp(mac, &[&[53, 1, 1][..], &zeros, &id].concat()))
    };
    let mac = [2, 0, 0, 0, 0, 1];
    let mut t = table(10);
    let first = t.offer(&ask(mac, &[0, 1, 1]), 100).unwrap();
    let second = t.offer(&ask(mac, &[0, 1, 2]), 100).unwrap();
    assert_ne!(first, second, "the same hardware address and UUID, two identifiers");
    // Two identical clones are one client: both get the same address, and no other client loses one.
    let clone = t.offer(&ask(mac, &[0, 1, 1]), 101).unwrap();
    assert_eq!(clone, first);
    assert_ne!(t.offer(&ask([2, 0, 0, 0, 0, 2], &[]), 101).unwrap(), first);
}

#[test]
fn hole_19_random_addresses_do_not_starve_clients_that_answer() {
    let mut t = table(200);
    for n in 0..50_000u32 {
        let [_, b, c, d] = n.to_be_bytes();
        let _ = t.offer(&request(&dhcp([2, 9, 9, b, c, d], &[53, 1, 1])), 100);
        if n % 500 == 0 {
            let mac = [2, 0, 0, 0, 0, (n / 500) as u8];
            let ip = t.offer(&request(&dhcp(mac, &[53, 1, 1])), 100).unwrap();
            let options = [&[53, 1, 3, 54, 4, 10, 0, 0, 1, 50, 4][..], &ip.octets()].concat();
            assert!(matches!(t.request(&request(&dhcp(mac, &options)), 100), Answer::Ack(_)), "{n}");
        }
    }
    assert_eq!(t.active(100), 100);
}
