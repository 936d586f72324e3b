//! What is counted, and under which names.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use kubedos_flow::kernel::layout::{Direction, Role};
use kubedos_flow::report::{Connection, Flow, Report};
use kubedos_flow::units::unit;

use super::lab::{LONG, Lab, possible};
use super::traffic::{reaches, tcp, udp, udp_from};

/// Bytes of a transfer: not a multiple of any segment.
const BYTES: usize = 3_000_017;

/// Flows of a service with n2 on a plane.
pub fn flow(report: &Report, plane: &str, protocol: &str, port: u16, direction: Direction) -> Option<Flow> {
    let is =
        |f: &&Flow| f.plane == plane && f.protocol == protocol && f.port == port && f.direction == direction && f.peer == "n2";
    report.total.flows.iter().find(is).cloned()
}

pub fn connection(report: &Report, port: u16) -> Option<Connection> {
    report.total.connections.iter().find(|c| c.port == port && c.peer == "n2").cloned()
}

/// Transfers on new ports until neither side sent anything twice, which would be counted again; the flow of that one.
pub fn transferred(
    agent: &super::lab::Agent<'_>,
    direction: Direction,
    first: u16,
    bytes: usize,
    transfer: impl Fn(u16),
) -> Flow {
    for port in first..first + 10 {
        // Of the kernel, not of the agent: a node does not see what its peer sends again.
        let before = agent.lab().retransmits();
        transfer(port);
        let flow = agent.until("the transfer", |r| {
            // The connection is counted when it is open, and its round-trip time when it ends.
            connection(r, port).filter(|c| c.rtt_us.is_some())?;
            flow(r, "wg3", "tcp", port, direction).filter(|f| f.payload >= bytes as u64)
        });
        if agent.lab().retransmits() == before {
            return flow;
        }
    }
    panic!("every transfer had retransmits");
}

#[test]
fn the_bytes_of_a_transfer_are_counted_to_the_byte() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new(&["wg3"]);
    let agent = lab.agent(&[]).watching(&["wg3"]);
    for (out_to, in_to, header) in [("10.80.0.3", "10.80.0.2", 40), ("fd00:80::3", "fd00:80::2", 60)] {
        let base = if header == 40 { 7000 } else { 7100 };
        let sent = transferred(&agent, Direction::Out, base, BYTES, |port| tcp(&lab.a, &lab.b, out_to, port, BYTES));
        assert_eq!((sent.payload, sent.role), (BYTES as u64, Role::Client), "{sent:?}");
        assert!(sent.rtt_us.is_some(), "{sent:?}");
        // Every packet has the headers of IP and TCP, those of a segmented one too; TCP has at most 40 bytes of options.
        let overhead = sent.bytes - sent.payload;
        assert!((sent.packets * header..=sent.packets * (header + 40)).contains(&overhead), "{sent:?}");
        assert!(sent.packets >= BYTES as u64 / 1500, "{sent:?}");

        let got = transferred(&agent, Direction::In, base + 50, BYTES, |port| tcp(&lab.b, &lab.a, in_to, port, BYTES));
        assert_eq!((got.payload, got.role), (BYTES as u64, Role::Server), "{got:?}");
    }
    // Without retransmits and options every byte is known.
    for (to, port, header) in [("10.80.0.3", 7200, 28), ("fd00:80::3", 7201, 48)] {
        udp(&lab.a, to, port, 500, 333);
        let sent = agent.until("the datagrams", |r| flow(r, "wg3", "udp", port, Direction::Out).filter(|f| f.packets >= 500));
        assert_eq!((sent.packets, sent.bytes, sent.payload), (500, 500 * (333 + header), 500 * 333), "{sent:?}");
    }
}

#[test]
fn padding_of_ethernet_is_not_counted() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new(&["wg3"]);
    let agent = lab.agent(&[]).watching(&["wg3"]);
    // 1 byte of payload: 29 bytes, less than the 46 that Ethernet has at least.
    udp(&lab.b, "10.80.0.2", 7300, 10, 1);
    let got = agent.until("the datagrams", |r| flow(r, "wg3", "udp", 7300, Direction::In).filter(|f| f.packets >= 10));
    assert_eq!((got.packets, got.bytes, got.payload), (10, 290, 10));
}

#[test]
fn a_service_is_named_by_its_own_port_whatever_the_clients_is() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new(&["wg3"]);
    let agent = lab.agent(&[]).watching(&["wg3"]);
    // As NFS does: a low port of the client, and a service on a higher one.
    let to: SocketAddr = "10.80.0.3:2049".parse().unwrap();
    let (ready, wait) = std::sync::mpsc::channel();
    let server = lab.b.inside(move || {
        let listener = TcpListener::bind(to).unwrap();
        ready.send(()).unwrap();
        listener.accept().unwrap().0.write_all(b"hello").unwrap();
    });
    wait.recv_timeout(LONG).unwrap();
    let client = lab.a.inside(move || {
        let socket = nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Inet,
            nix::sys::socket::SockType::Stream,
            nix::sys::socket::SockFlag::empty(),
            None,
        )
        .unwrap();
        let at = |text: &str| nix::sys::socket::SockaddrIn::from(text.parse::<std::net::SocketAddrV4>().unwrap());
        nix::sys::socket::bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &at("10.80.0.2:812")).unwrap();
        nix::sys::socket::connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &at("10.80.0.3:2049")).unwrap();
        let mut text = String::new();
        TcpStream::from(socket).read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!((client.join().unwrap().as_str(), server.join().unwrap()), ("hello", ()));
    let found = agent.until("the connection", |r| {
        let got = flow(r, "wg3", "tcp", 2049, Direction::In).filter(|f| f.payload == 5)?;
        Some((got, connection(r, 2049)?))
    });
    assert_eq!((found.0.role, found.1.role, found.1.opened), (Role::Client, Role::Client, 1));
    agent.until("no row of the client's port", |r| flow(r, "wg3", "tcp", 812, Direction::Out).is_none().then_some(()));
}

#[test]
fn connections_have_a_unit_and_refused_ones_are_failures() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new(&["wg3"]);
    let agent = lab.agent(&[]).watching(&["wg3"]);
    (0..3).for_each(|_| tcp(&lab.a, &lab.b, "10.80.0.3", 7400, 10));
    assert!(!reaches(&lab.a, "10.80.0.3", 7401));
    let (good, bad) = agent.until("both", |r| {
        let good = connection(r, 7400).filter(|c| c.opened == 3)?;
        Some((good, connection(r, 7401)?))
    });
    assert_eq!((good.failed, bad.opened, bad.failed), (0, 0, 1));
    // The cgroup of this process.
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = own.lines().find_map(|l| l.strip_prefix("0::")).unwrap_or("/");
    assert_eq!(good.unit, unit(path.trim_start_matches('/')), "{own}");
    assert_eq!(good.plane, "wg3");
}

#[test]
fn retransmits_are_counted() {
    if !possible(&["nft"]) {
        return;
    }
    let lab = Lab::new(&["wg3"]);
    let agent = lab.agent(&[]).watching(&["wg3"]);
    let to: SocketAddr = "10.80.0.3:7500".parse().unwrap();
    let (ready, wait) = std::sync::mpsc::channel();
    let server = lab.b.inside(move || {
        let listener = TcpListener::bind(to).unwrap();
        ready.send(()).unwrap();
        listener.accept().unwrap().0
    });
    wait.recv_timeout(LONG).unwrap();
    let mut client = lab.a.inside(move || TcpStream::connect_timeout(&to, LONG).unwrap()).join().unwrap();
    let _server = server.join().unwrap();
    lab.b.nft("table inet t { chain in { type filter hook input priority 0; tcp dport 7500 drop; }; }");
    client.write_all(b"lost").unwrap();
    let seen = agent.until("retransmits", |r| connection(r, 7500).filter(|c| c.retransmits >= 2));
    assert_eq!((seen.opened, seen.role), (1, Role::Client));
}

#[test]
fn a_drop_of_nftables_has_its_reason() {
    if !possible(&["nft"]) {
        return;
    }
    let lab = Lab::new(&["wg2", "wg3"]);
    let agent = lab.agent(&[]).watching(&["wg2", "wg3"]);
    lab.a.nft(
        "table inet t {
           chain in { type filter hook input priority 0; tcp dport 9999 drop; }
           chain out { type filter hook output priority 0; udp dport 9998 drop; }
         }",
    );
    assert!(!reaches(&lab.b, "10.80.0.2", 9999));
    // A program is told that its packet was refused.
    let sender = lab.a.inside(|| {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        (0..4).filter(|_| socket.send_to(&[7; 100], "10.79.0.3:9998").is_err()).count()
    });
    let refused = sender.join().unwrap();
    assert_eq!(refused, 4);
    let drops = agent.until("both drops", |r| {
        let of = |port| r.total.drops.iter().find(|d| d.port == port).cloned();
        Some((of(9999)?, of(9998).filter(|d| d.packets >= 4)?))
    });
    for (drop, plane, protocol, direction) in [(&drops.0, "wg3", "tcp", Direction::In), (&drops.1, "wg2", "udp", Direction::Out)]
    {
        assert_eq!((drop.reason.as_str(), drop.peer.as_str()), ("NETFILTER_DROP", "n2"), "{drop:?}");
        assert_eq!((drop.plane.as_str(), drop.protocol.as_str(), drop.direction), (plane, protocol, direction), "{drop:?}");
    }
    assert_eq!((drops.1.packets, drops.1.bytes), (4, 4 * 128));
}

#[test]
fn the_metrics_plane_that_carries_a_kubelet_is_a_violation() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new(&["eth0", "wg2", "wg3"]);
    let agent = lab.agent(&[]).watching(&["underlay", "wg2", "wg3"]);
    for address in ["10.79.0.2", "10.80.0.2"] {
        tcp(&lab.b, &lab.a, address, 10_250, 100);
    }
    // A plane's own packets on the underlay, and a scan that finds nothing.
    udp_from(51_822, &lab.b, "10.44.0.2", 51_822, 3, 100);
    assert!(!reaches(&lab.b, "10.79.0.2", 4194));
    let report = agent.until("everything", |r| {
        let all = flow(r, "underlay", "udp", 51_822, Direction::In).is_some()
            && flow(r, "wg3", "tcp", 10_250, Direction::In).is_some()
            && flow(r, "wg2", "tcp", 4194, Direction::In).is_some()
            && !r.violations.is_empty();
        all.then(|| r.clone())
    });
    let texts: Vec<&str> = report.violations.iter().map(|v| v.text.as_str()).collect();
    assert_eq!(texts, ["wg2 carried tcp/10250 with n2"]);
    assert_eq!(report.lost, Default::default());
}
