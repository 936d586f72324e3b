//! The filter, on a wire: two ends of a veth pair in a namespace of this test's own.

use std::net::Ipv4Addr;

use host::tool::{Tool, ToolError};

use super::super::frame::tests::{PEER, bootp, udp};
use super::*;

/// Jumps of the filter end inside it, and every path ends with an answer.
#[test]
fn the_filter_is_well_formed() {
    for (at, (code, jt, jf, _)) in FILTER.iter().enumerate() {
        let furthest = at + 1 + usize::from((*jt).max(*jf));
        assert!(*code == RET || furthest < FILTER.len(), "instruction {at} jumps out");
    }
    assert_eq!(FILTER.last().map(|j| j.0), Some(RET));
}

/// What the kernel's interpreter would do, for packets of our own.
fn passes(frame: &[u8]) -> bool {
    let half = |at: usize| frame.get(at..at + 2).map(|b| u32::from(b[0]) << 8 | u32::from(b[1]));
    let (mut a, mut x, mut pc) = (0u32, 0usize, 0usize);
    loop {
        let (code, jt, jf, k) = FILTER[pc];
        let at = k as usize;
        let jump = |yes: bool| usize::from(if yes { jt } else { jf });
        let loaded = match code {
            LDH => half(at),
            LDB => frame.get(at).map(|b| u32::from(*b)),
            LDH_X => half(x + at),
            LDXB_MSH => frame.get(at).map(|b| {
                x = usize::from(b & 0x0f) * 4;
                a
            }),
            RET => return k > 0,
            _ => Some(a),
        };
        // A load past the end drops the packet.
        let Some(loaded) = loaded else { return false };
        a = loaded;
        pc += 1 + match code {
            JEQ => jump(a == k),
            JSET => jump(a & k != 0),
            _ => 0,
        };
    }
}

#[test]
fn what_belongs_to_a_boot_passes_and_nothing_else() {
    let (seed, it) = (Ipv4Addr::new(10, 44, 0, 1), Ipv4Addr::new(10, 44, 0, 100));
    let own = Mac([2, 0, 0, 0, 0, 1]);
    let to = |ports, payload: &[u8]| udp(PEER, own, (it, seed), ports, payload);
    let mut tcp = to((40_000, 80), b"GET / HTTP/1.1");
    tcp[23] = 6;
    let mut fragment = to((68, 67), &bootp(1, PEER, &[53, 1, 1]));
    fragment[20] = 0x00;
    fragment[21] = 0x10;
    for (what, frame, pass) in [
        ("DISCOVER", to((68, 67), &bootp(1, PEER, &[53, 1, 1])), true),
        ("OFFER", to((67, 68), &bootp(2, PEER, &[53, 1, 2])), true),
        ("proxy", to((4011, 68), &[0; 300]), true),
        ("TFTP request", to((2070, 69), b"\0\x01a\0octet\0"), true),
        ("OACK", to((40_000, 2070), b"\0\x06blksize\x001468\0"), true),
        ("ERROR", to((2070, 40_000), b"\0\x05\0\x08User aborted\0"), true),
        ("first block", to((40_000, 2070), b"\0\x03\0\x01data"), true),
        ("second block", to((40_000, 2070), b"\0\x03\0\x02data"), false),
        ("later acknowledgment", to((2070, 40_000), b"\0\x04\x01\x00"), false),
        ("WireGuard", to((51_820, 51_820), &[4, 0, 0, 0, 9, 9, 9, 9]), false),
        ("TCP", tcp, false),
        ("later fragment", fragment, false),
        ("ARP", [&[0xff; 6], &PEER.0[..], &[8, 6], &[0; 28]].concat(), true),
        ("IPv6", [&[0xff; 6], &PEER.0[..], &[0x86, 0xdd], &[0; 60]].concat(), false),
        ("cut short", to((68, 67), b"")[..38].to_vec(), true),
        ("shorter", to((68, 67), b"")[..30].to_vec(), false),
    ] {
        assert_eq!(passes(&frame), pass, "{what}");
    }
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    let (recorder, _queue) = super::super::Recorder::new(&super::super::Flight::new(0));
    let failed = start("nonesuch0", Ipv4Addr::LOCALHOST, Arc::default(), recorder.queue.clone()).err().unwrap();
    assert!(failed.to_string().contains("nonesuch0"), "{failed:#}");
}

struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Tool::new("ip").args(["netns", "del", &self.0]).run();
    }
}

/// Runs this very test again inside a fresh namespace with a veth pair; `None` where that is not possible here.
fn in_namespace(test: &str) -> Option<String> {
    let name = format!("kdsniff{}", std::process::id());
    match Tool::new("ip").args(["netns", "add", &name]).run() {
        Ok(_) => {}
        Err(ToolError::Start { .. } | ToolError::Failed { .. }) => return None,
        Err(e) => panic!("{e}"),
    }
    let ns = Namespace(name);
    let ip = |args: &str| Tool::new("ip").args(["-n", &ns.0]).args(args.split(' ')).run().unwrap();
    ip("link add seed0 type veth peer name it0");
    ip("address add 10.44.0.1/24 dev seed0");
    ip("link set seed0 up");
    ip("link set it0 up");
    let me = std::env::current_exe().unwrap();
    let run =
        Tool::new("ip").args(["netns", "exec", &ns.0]).arg(me).args(["--exact", test, "--nocapture"]).env("KUBEDOS_SNIFF", "1");
    Some(run.run().unwrap().text())
}

#[test]
fn a_foreign_offer_on_the_wire_is_heard_and_kept() {
    if std::env::var_os("KUBEDOS_SNIFF").is_none() {
        match in_namespace("recorder::sniff::tests::a_foreign_offer_on_the_wire_is_heard_and_kept") {
            Some(text) => assert!(text.contains("heard 2 packets and 1 event"), "{text}"),
            None => kubedos_skip::skip("netns", "this machine allows no network namespaces"),
        }
        return;
    }
    let flight = super::super::Flight::new(0);
    let (recorder, mut queue) = super::super::Recorder::new(&flight);
    let _sniffer = start("seed0", Ipv4Addr::new(10, 44, 0, 1), flight.ring.clone(), recorder.queue.clone()).unwrap();
    // Sent from the other end by a packet socket.
    let (_, address) = link("it0").unwrap();
    let out = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap();
    bind(out.as_raw_fd(), &address).unwrap();
    let ips = (Ipv4Addr::new(10, 44, 0, 9), Ipv4Addr::BROADCAST);
    let other = Mac([2, 0, 0, 0, 0, 7]);
    let send = |frame: &[u8]| nix::sys::socket::send(out.as_raw_fd(), frame, MsgFlags::empty()).unwrap();
    send(&udp(PEER, Mac([0xff; 6]), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST), (68, 67), &bootp(1, PEER, &[53, 1, 1])));
    send(&udp(other, Mac([0xff; 6]), ips, (67, 68), &bootp(2, PEER, &[53, 1, 2, 54, 4, 10, 44, 0, 9, 67, 1, b'x'])));
    send(&udp(other, PEER, ips, (5000, 5000), b"not of a boot"));
    let event = queue.blocking_recv().unwrap();
    assert_eq!(
        (event.kind, event.mac, event.facts.server),
        (cluster_seed::events::EventKind::DhcpForeignOffer, Some(PEER), Some(ips.0))
    );
    assert_eq!(event.facts.xid.as_deref(), Some("1a2b3c4d"));
    println!("heard {} packets and 1 event", flight.ring.of(PEER).len());
}
