//! On the loopback interface with the server's real port: needs root.

use std::sync::Mutex;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use super::*;
use crate::counters::Count;
use crate::dhcp::network::NetworkConfig;
use crate::dhcp::pool::PoolRange;
use crate::dhcp::request::BootRequest;
use crate::dhcp::testing::packet;
use crate::policy::{BootDecision, BootEvent, BootEventKind};
use crate::subnet::Subnet;
use crate::why::Why;

struct Recorder(Mutex<Vec<BootEventKind>>);

impl BootPolicy for Recorder {
    fn decide(&self, _: &BootRequest) -> BootDecision {
        BootDecision::Loader
    }

    fn observe(&self, event: &BootEvent) {
        self.0.lock().unwrap().push(event.kind.clone());
    }
}

fn config() -> DhcpConfig {
    let subnet = Subnet::new([127, 9, 0, 0].into(), 24).unwrap();
    let range = PoolRange { first: [127, 9, 0, 10].into(), last: [127, 9, 0, 20].into() };
    let own = NetworkConfig::new(subnet, vec![range], 600);
    DhcpConfig { probe: false, watch: false, ..DhcpConfig::new("lo", [127, 9, 0, 1].into(), DhcpMode::Full, own) }
}

/// A packet of the client whose hardware and IP address end in this byte.
fn from_client(last: u8, options: &str) -> Vec<u8> {
    let mut bytes = packet(options);
    bytes[33] = last;
    bytes[12..16].copy_from_slice(&[127, 9, 0, last]);
    bytes
}

fn lease(last: u8) -> LeaseRecord {
    let mac = Mac([0x52, 0x54, 0x00, 0x12, 0x34, last]);
    LeaseRecord { mac, ip: [127, 9, 0, last].into(), expires_at: 2_000, hostname: None, client_id: None }
}

/// The message type of the next reply.
async fn reply(socket: &UdpSocket) -> u8 {
    let mut buffer = [0u8; 1500];
    let (len, from) = tokio::time::timeout(Duration::from_secs(20), socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(from.port(), SERVER_PORT);
    assert!(len >= 300);
    crate::dhcp::wire::Packet::read(&buffer[..len]).unwrap().option(53).unwrap()[0]
}

/// Results of the commits, in order; commits wait for them.
struct Disk {
    asked: std::sync::mpsc::Receiver<Vec<LeaseRecord>>,
    answer: std::sync::mpsc::Sender<std::io::Result<()>>,
}

fn disk() -> (Disk, Commit) {
    let (ask, asked) = std::sync::mpsc::channel();
    let (answer, answers) = std::sync::mpsc::channel();
    let commit = move |records: &[LeaseRecord]| {
        ask.send(records.to_vec()).map_err(std::io::Error::other)?;
        answers.recv().map_err(std::io::Error::other)?
    };
    (Disk { asked, answer }, Box::new(commit))
}

impl Disk {
    async fn asked(&self) -> Vec<LeaseRecord> {
        loop {
            match self.asked.try_recv() {
                Ok(records) => return records,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }
}

/// There is one port 67.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn an_ack_waits_for_its_commit_and_nobody_waits_for_another() {
    let _one = ONE.lock().await;
    let policy = Arc::new(Recorder(Mutex::default()));
    let (disk, commit) = disk();
    let leases = [lease(10), lease(11)];
    let server = match DhcpServer::bind(config(), policy.clone(), &leases, commit, Arc::new(|| 1_000)) {
        Ok(server) => server,
        Err(error @ (BindError::NotPermitted { .. } | BindError::PortInUse { .. })) => {
            kubedos_skip::skip("server-ports", error);
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let counters = server.counters();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async move {
        let _ = stopped.await;
    }));
    let client = |last: u8| UdpSocket::bind(SocketAddrV4::new([127, 9, 0, last].into(), 68));
    let (first, second) = (client(10).await.unwrap(), client(11).await.unwrap());
    let to = (Ipv4Addr::new(127, 9, 0, 1), SERVER_PORT);

    // The first client's commit blocks; the second client is answered.
    first.send_to(&from_client(10, "350103ff"), to).await.unwrap();
    let records = disk.asked().await;
    assert_eq!((records.len(), records[0].ip, records[0].expires_at), (1, [127, 9, 0, 10].into(), 1_120));
    second.send_to(&from_client(11, "350108ff"), to).await.unwrap();
    assert_eq!(reply(&second).await, 5);
    assert!(first.try_recv(&mut [0; 10]).is_err(), "an ACK was sent before its commit");
    // Requests that arrive while the disk is busy form one group.
    for _ in 0..3 {
        second.send_to(&from_client(11, "350103ff"), to).await.unwrap();
    }
    while counters.get(Count::Request) < 4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    disk.answer.send(Ok(())).unwrap();
    assert_eq!(reply(&first).await, 5);
    assert_eq!(disk.asked().await.len(), 3);
    disk.answer.send(Ok(())).unwrap();
    assert_eq!(reply(&second).await, 5);

    // A commit that fails: no ACK for it, and the next request is served.
    first.send_to(&from_client(10, "350103ff"), to).await.unwrap();
    disk.asked().await;
    disk.answer.send(Err(std::io::Error::other("disk full"))).unwrap();
    while counters.ignored(Why::JournalFailed) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(first.try_recv(&mut [0; 10]).is_err());
    let failed = BootEventKind::Ignored {
        why: Why::JournalFailed,
        cause: None,
        detail: Some("writing the lease journal: disk full".into()),
    };
    assert!(policy.0.lock().unwrap().contains(&failed));
    first.send_to(&from_client(10, "350103ff"), to).await.unwrap();
    disk.asked().await;
    disk.answer.send(Ok(())).unwrap();
    assert_eq!(reply(&first).await, 5);

    stop.send(()).unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn a_disk_that_hangs_for_long_costs_no_lease() {
    let (disk, commit) = disk();
    let leases: Vec<_> = (10..20).map(lease).collect();
    let policy = Arc::new(Recorder(Mutex::default()));
    let _one = ONE.lock().await;
    let server = match DhcpServer::bind(config(), policy, &leases, commit, Arc::new(|| 1_000)) {
        Ok(server) => server,
        Err(error @ (BindError::NotPermitted { .. } | BindError::PortInUse { .. })) => {
            kubedos_skip::skip("server-ports", error);
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let counters = server.counters();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async move {
        let _ = stopped.await;
    }));
    let client = UdpSocket::bind(SocketAddrV4::new([127, 9, 0, 12].into(), 68)).await.unwrap();
    // More groups than the channel holds: one request per loop.
    let most = MAX_GROUPS as u64 + 20;
    for n in 0..most {
        client.send_to(&from_client(12, "350103ff"), (Ipv4Addr::new(127, 9, 0, 1), SERVER_PORT)).await.unwrap();
        while counters.get(Count::Request) <= n {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let mut committed = 0;
    while committed < most {
        committed += disk.asked().await.len() as u64;
        disk.answer.send(Ok(())).unwrap();
    }
    for _ in 0..most {
        assert_eq!(reply(&client).await, 5);
    }
    assert_eq!(counters.ignored(Why::JournalFull), 0);
    stop.send(()).unwrap();
    task.await.unwrap();
}

#[test]
fn an_invalid_configuration_is_refused() {
    let bind = |config: DhcpConfig| {
        DhcpServer::bind(config, Arc::new(Recorder(Mutex::default())), &[], disk().1, Arc::new(|| 1)).err().unwrap()
    };
    let wrong = |config| match bind(config) {
        error @ BindError::Config { .. } => (error.hint(), std::error::Error::source(&error).unwrap().to_string()),
        other => panic!("{other}"),
    };
    let mut backwards = config();
    backwards.networks[0].ranges[0].last = [127, 9, 0, 9].into();
    let (hint, what) = wrong(backwards);
    assert!(what.contains("ends before it starts") && hint.contains("cluster.yaml"), "{what}; {hint}");
    let mut twice = config();
    twice.networks.push(twice.networks[0].clone());
    assert!(wrong(twice).1.contains("overlap"));
    assert!(wrong(DhcpConfig { networks: Vec::new(), ..config() }).1.contains("0 networks"));
    let error = bind(DhcpConfig { iface: "nonesuch0".into(), ..config() });
    assert!(matches!(error, BindError::NoSuchInterface { .. }), "{error}");
}
