//! On the loopback interface with the server's real port: needs root.

use std::sync::Mutex;

use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use super::*;
use crate::dhcp::request::BootRequest;
use crate::policy::{Abort, BootDecision, BootEvent};
use crate::tftp::packet::{ack_packet, read_packet};

#[derive(Default)]
struct Recorder(Mutex<Vec<BootEventKind>>);

impl BootPolicy for Recorder {
    fn decide(&self, _: &BootRequest) -> BootDecision {
        BootDecision::Loader
    }

    fn observe(&self, event: &BootEvent) {
        self.0.lock().unwrap().push(event.kind.clone());
    }
}

struct Running {
    address: SocketAddrV4,
    counters: Arc<Counters>,
    policy: Arc<Recorder>,
    _stop: oneshot::Sender<()>,
}

/// A server on 127.8.`net`.1 that answers clients of `on_link`; `None` if it cannot be opened.
async fn start(net: u8, on_link: [u8; 4], change: impl FnOnce(&mut TftpConfig)) -> Option<Running> {
    let address = Ipv4Addr::new(127, 8, net, 1);
    let mut config = TftpConfig::new("lo", address, Subnet::new(on_link.into(), 24).unwrap());
    change(&mut config);
    let files = FileTable::new([("boot".to_owned(), Arc::from(vec![7u8; 2_000]))]);
    let policy = Arc::new(Recorder::default());
    let server = match TftpServer::bind(config, Arc::new(files), policy.clone()) {
        Ok(server) => server,
        Err(error @ (BindError::NotPermitted { .. } | BindError::PortInUse { .. })) => {
            kubedos_skip::skip("server-ports", error);
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let counters = server.counters();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(server.run(async move {
        let _ = stopped.await;
    }));
    Some(Running { address: SocketAddrV4::new(address, SERVER_PORT), counters, policy, _stop: stop })
}

async fn client(net: u8, last: u8) -> UdpSocket {
    UdpSocket::bind(SocketAddrV4::new([127, 8, net, last].into(), 0)).await.unwrap()
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0u8; 1500];
    let (len, from) = tokio::time::timeout(Duration::from_secs(20), socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    buffer.truncate(len);
    (buffer, from)
}

impl Running {
    /// Waits until it was counted so many times; fails instead of hanging.
    async fn counted(&self, what: Count, times: u64) {
        let reached = async {
            while self.counters.get(what) < times {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), reached).await;
        assert!(waited.is_ok(), "{what:?} was counted {} times, not {times}", self.counters.get(what));
    }
}

#[tokio::test]
async fn a_transfer_comes_from_the_address_asked_and_ends_with_an_error_packet() {
    let Some(server) = start(1, [127, 8, 1, 0], |_| ()).await else { return };
    let socket = client(1, 2).await;
    socket.send_to(&read_packet("/boot", &[("blksize", "1468"), ("tsize", "0")]), server.address).await.unwrap();
    let (options, transfer) = receive(&socket).await;
    assert_eq!(options, b"\0\x06blksize\x001468\0tsize\x002000\0");
    assert_eq!(transfer.ip(), *server.address.ip());
    assert_ne!(transfer.port(), SERVER_PORT);
    // A stranger's ACK is not this client's.
    client(1, 3).await.send_to(&ack_packet(0), transfer).await.unwrap();
    socket.send_to(&ack_packet(0), transfer).await.unwrap();
    assert_eq!(receive(&socket).await.0.len(), 4 + 1468);
    socket.send_to(&error_packet(0, "enough"), transfer).await.unwrap();
    server.counted(Count::TftpAborted, 1).await;
    assert!(server.policy.0.lock().unwrap().contains(&BootEventKind::TftpAborted(Abort::Error("enough".into()))));
}

/// Requests the file and acknowledges its first block, so that the server knows that the client is real.
async fn fetching(server: &Running, net: u8, last: u8) -> (UdpSocket, SocketAddr) {
    let socket = client(net, last).await;
    socket.send_to(&read_packet("boot", &[]), server.address).await.unwrap();
    let (_, transfer) = receive(&socket).await;
    socket.send_to(&ack_packet(1), transfer).await.unwrap();
    // The second block: the answer has arrived.
    assert_eq!(receive(&socket).await.0[..4], [0, 3, 0, 2]);
    (socket, transfer)
}

#[tokio::test]
async fn transfers_are_capped_in_all_and_by_address() {
    let limits = |c: &mut TftpConfig| (c.max_per_address, c.max_transfers) = (2, 3);
    let Some(server) = start(2, [127, 8, 2, 0], limits).await else { return };
    let mut held = vec![fetching(&server, 2, 2).await, fetching(&server, 2, 2).await];
    // The third of one address gets no answer.
    let third = client(2, 2).await;
    third.send_to(&read_packet("boot", &[]), server.address).await.unwrap();
    server.counted(Count::TftpBusy, 1).await;
    // The same request again from the same port is not a second transfer.
    let waiting = client(2, 3).await;
    waiting.send_to(&read_packet("boot", &[]), server.address).await.unwrap();
    server.counted(Count::TftpStarted, 3).await;
    waiting.send_to(&read_packet("boot", &[]), server.address).await.unwrap();
    server.counted(Count::TftpDuplicate, 1).await;
    assert_eq!((server.counters.get(Count::TftpStarted), server.counters.get(Count::TftpPushedOut)), (3, 0));
    // The fourth in total gets the slot of the one that has not answered,
    let fourth = fetching(&server, 2, 4).await;
    server.counted(Count::TftpPushedOut, 1).await;
    assert!(server.policy.0.lock().unwrap().contains(&BootEventKind::TftpAborted(Abort::PushedOut)));
    // the next one the slot of the oldest of an address with two; after that none can be evicted.
    held.push(fetching(&server, 2, 5).await);
    server.counted(Count::TftpPushedOut, 2).await;
    client(2, 6).await.send_to(&read_packet("boot", &[]), server.address).await.unwrap();
    server.counted(Count::TftpBusy, 2).await;
    // A transfer that ends makes room.
    let aborted = server.counters.get(Count::TftpAborted);
    fourth.0.send_to(&error_packet(0, ""), fourth.1).await.unwrap();
    server.counted(Count::TftpAborted, aborted + 1).await;
    fetching(&server, 2, 9).await;
    drop(held);
}

/// Like `tftp_hold.py`: 64 addresses take every slot with a wait of 255 seconds, and never answer.
#[tokio::test]
async fn requests_that_are_never_answered_hold_no_place() {
    let Some(server) = start(6, [127, 8, 6, 0], |c| c.max_transfers = 64).await else { return };
    let options = [("timeout", "255"), ("blksize", "1468")];
    let mut held = Vec::new();
    for n in 0..128u8 {
        let socket = client(6, 100 + n / 8).await;
        socket.send_to(&read_packet("boot", &options), server.address).await.unwrap();
        server.counted(Count::TftpRequest, u64::from(n) + 1).await;
        held.push(socket);
    }
    // Another address is served at its first request in spite of the flood, and so is one from the flood.
    for (done, last) in [(1, 200), (2, 100)] {
        let (socket, transfer) = fetching(&server, 6, last).await;
        for block in 2..=3u16 {
            socket.send_to(&ack_packet(block), transfer).await.unwrap();
            assert_eq!(receive(&socket).await.0[..4], [0, 3, 0, block as u8 + 1]);
        }
        socket.send_to(&ack_packet(4), transfer).await.unwrap();
        server.counted(Count::TftpDone, done).await;
    }
}

#[tokio::test]
async fn who_is_not_on_the_link_gets_nothing() {
    let Some(server) = start(3, [127, 7, 0, 0], |_| ()).await else { return };
    let socket = client(3, 2).await;
    socket.send_to(&read_packet("boot", &[]), server.address).await.unwrap();
    server.counted(Count::TftpOffLink, 1).await;
    assert!(socket.try_recv(&mut [0; 10]).is_err());
    assert_eq!(server.counters.get(Count::TftpRequest), 0);
}

/// A request with any bytes as its name.
fn named(name: &[u8]) -> Vec<u8> {
    [b"\0\x01", name, b"\0octet\0"].concat()
}

#[tokio::test]
async fn refusals_are_short_and_told_and_noise_gets_no_answer() {
    let Some(server) = start(4, [127, 8, 4, 0], |_| ()).await else { return };
    let socket = client(4, 2).await;
    let missing = TransferError::NoSuchFile;
    let told =
        |n: usize| server.policy.0.lock().unwrap().iter().filter(|k| matches!(k, BootEventKind::TftpError(_))).count() == n;
    let refused = [
        (read_packet("nonesuch", &[]), code::NOT_FOUND, missing.clone()),
        (read_packet("../etc/passwd", &[]), code::NOT_FOUND, missing.clone()),
        (read_packet("..%2fboot", &[]), code::NOT_FOUND, missing.clone()),
        (read_packet("boot/", &[]), code::NOT_FOUND, missing.clone()),
        (b"\0\x02boot\0octet\0".to_vec(), code::ACCESS, TransferError::ReadOnly),
        (b"\0\x01boot\0netascii\0".to_vec(), code::ILLEGAL, TransferError::Mode),
        (b"\0\x01BOOT\0mail\0".to_vec(), code::ILLEGAL, TransferError::Mode),
        (b"\0\x01boot\0octet".to_vec(), code::ILLEGAL, TransferError::Mode),
        (b"\0\x01boot\0".to_vec(), code::ILLEGAL, TransferError::Mode),
        (b"\0\x01nonesuch\0netascii\0".to_vec(), code::NOT_FOUND, missing.clone()),
        // What firmware and loaders ask for that read something else as a name (shim#649, netboot.xyz#1198).
        (named(b"a\x01"), code::NOT_FOUND, missing.clone()),
        (named(b"\xbfNIC one"), code::NOT_FOUND, missing.clone()),
        (named(b"\x02\x01\x0c"), code::NOT_FOUND, missing.clone()),
        (named(b"boota\x11"), code::NOT_FOUND, missing.clone()),
        (named(b"boot\xff"), code::NOT_FOUND, missing.clone()),
        (named("f\u{fc}r".as_bytes()), code::NOT_FOUND, missing.clone()),
        (named(b""), code::NOT_FOUND, missing.clone()),
        (named(&[b'n'; 300]), code::NOT_FOUND, missing.clone()),
        (named(&[b'n'; 700]), code::NOT_FOUND, missing.clone()),
        (b"\0\x01boot".to_vec(), code::NOT_FOUND, missing.clone()),
        (b"\0\x01".to_vec(), code::NOT_FOUND, missing),
    ];
    for (n, (packet, code, why)) in refused.iter().enumerate() {
        socket.send_to(packet, server.address).await.unwrap();
        let (answer, _) = receive(&socket).await;
        assert_eq!(answer[..4], [0, 5, 0, *code as u8], "{packet:?}");
        assert!(answer.len() < 40, "no amplification");
        while !told(n + 1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(server.policy.0.lock().unwrap().last(), Some(&BootEventKind::TftpError(why.clone())), "{packet:?}");
    }
    let malformed = server.counters.get(Count::TftpMalformed);
    for noise in [&b"\0\x03\0\x01x"[..], b"\0\x04\0\0", b"\0\x05\0\0x\0", b"\0\x06a\0", b"x"] {
        socket.send_to(noise, server.address).await.unwrap();
    }
    server.counted(Count::TftpMalformed, malformed + 5).await;
    assert!(socket.try_recv(&mut [0; 10]).is_err());
    while !told(refused.len() + 5) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn odd_spellings_many_options_and_padding_are_served() {
    let Some(server) = start(7, [127, 8, 7, 0], |_| ()).await else { return };
    let padded = |mut packet: Vec<u8>| {
        packet.resize(600, b'x');
        packet
    };
    let many: Vec<(String, &str)> = (0..60).map(|n| (format!("o{n}"), "")).collect();
    let mut options: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    options.push(("blksize", "1024"));
    for (last, packet) in (10u8..).zip([
        read_packet("//boot", &[]),
        read_packet("./boot", &[]),
        read_packet("\\boot", &[]),
        read_packet("BOOT", &[]),
        read_packet("/.\\Boot", &[]),
        read_packet("boot", &options),
        padded(read_packet("boot", &[])),
    ]) {
        let socket = client(7, last).await;
        socket.send_to(&packet, server.address).await.unwrap();
        let (answer, _) = receive(&socket).await;
        let asked_options = packet.windows(7).any(|w| w == b"blksize");
        assert_eq!(answer[..2], [0, if asked_options { 6 } else { 3 }], "{packet:?}");
    }
}

#[test]
fn one_thread_is_filled_before_the_next() {
    let of = |counts: &[usize]| {
        let busy = counts.iter().enumerate().flat_map(|(worker, n)| std::iter::repeat_n(worker, *n));
        choose(busy, counts.len())
    };
    assert_eq!(of(&[0, 0]), 0);
    assert_eq!(of(&[FILL - 1, 0]), 0);
    assert_eq!(of(&[FILL, 0]), 1);
    assert_eq!(of(&[FILL, FILL - 1, 0]), 1);
    assert_eq!(of(&[FILL - 1, FILL]), 0, "which has a free slot again");
    assert_eq!(of(&[FILL + 2, FILL, FILL + 1]), 1, "all are full");
    assert_eq!(of(&[FILL]), 0);
}

#[tokio::test]
async fn packets_that_say_nothing_new_do_not_hold_up_the_one_that_does() {
    let Some(server) = start(5, [127, 8, 5, 0], |_| ()).await else { return };
    let socket = client(5, 2).await;
    socket.send_to(&read_packet("boot", &[]), server.address).await.unwrap();
    let (_, transfer) = receive(&socket).await;
    for block in 1..4u16 {
        // Sent together, so that the server may read them in one round.
        for _ in 0..20 {
            assert!(socket.try_send_to(&ack_packet(block - 1), transfer).is_ok());
        }
        assert!(socket.try_send_to(&ack_packet(block), transfer).is_ok());
        let (packet, _) = receive(&socket).await;
        assert_eq!(packet[..4], [0, 3, 0, block as u8 + 1], "the next block, and not the timer's repeat of the last one");
    }
    socket.send_to(&ack_packet(4), transfer).await.unwrap();
    server.counted(Count::TftpDone, 1).await;
}
