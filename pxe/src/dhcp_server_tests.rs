//! On the loopback interface with the server's real port: needs root.

use std::sync::Mutex;

use super::*;
use crate::policy::BootDecision;
use crate::request::BootRequest;
use crate::testing::packet;

struct Recorder(Mutex<Vec<EventKind>>);

impl BootPolicy for Recorder {
    fn decide(&self, _: &BootRequest) -> BootDecision {
        BootDecision::Loader
    }

    fn observe(&self, event: &BootEvent) {
        self.0.lock().unwrap().push(event.kind.clone());
    }
}

fn config() -> DhcpConfig {
    DhcpConfig {
        iface: "lo".into(),
        server_ip: [127, 9, 0, 1].into(),
        subnet: Subnet::new([127, 9, 0, 0].into(), 24).unwrap(),
        pool_first: [127, 9, 0, 10].into(),
        pool_last: [127, 9, 0, 20].into(),
        reservations: BTreeMap::new(),
        router: None,
        dns: Vec::new(),
        domain: None,
        search: Vec::new(),
        ntp: Vec::new(),
        lease_secs: 600,
        next_server: None,
        http_base: None,
        loaders: LoaderTable::default(),
    }
}

/// A packet of the client with that last byte in its hardware and its IP address.
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
    crate::wire::Packet::read(&buffer[..len]).unwrap().option(53).unwrap()[0]
}

#[tokio::test]
async fn an_ack_waits_for_its_commit_and_nobody_waits_for_another() {
    let policy = Arc::new(Recorder(Mutex::default()));
    let (journal, mut entries) = mpsc::channel(1);
    let leases = vec![lease(10), lease(11)];
    let server = match DhcpServer::bind(config(), policy.clone(), leases, journal, Arc::new(|| 1_000)).await {
        Ok(server) => server,
        Err(error @ (BindError::NotPermitted { .. } | BindError::PortInUse { .. })) => {
            println!("skipped: {error}");
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

    // The first client's commit hangs; the second is answered meanwhile.
    first.send_to(&from_client(10, "350103ff"), to).await.unwrap();
    let (record, done) = entries.recv().await.unwrap();
    assert_eq!((record.ip, record.expires_at), ([127, 9, 0, 10].into(), 1_600));
    second.send_to(&from_client(11, "350108ff"), to).await.unwrap();
    assert_eq!(reply(&second).await, 5);
    assert!(first.try_recv(&mut [0; 10]).is_err(), "an ACK left before its commit");
    done.send(Ok(())).unwrap();
    assert_eq!(reply(&first).await, 5);

    // A commit that fails: no ACK for it, and the next request is served.
    first.send_to(&from_client(10, "350103ff"), to).await.unwrap();
    entries.recv().await.unwrap().1.send(Err("disk full".into())).unwrap();
    while counters.ignored(Why::JournalFailed) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(first.try_recv(&mut [0; 10]).is_err());
    let failed = EventKind::Ignored { why: Why::JournalFailed, detail: Some("disk full".into()) };
    assert!(policy.0.lock().unwrap().contains(&failed));

    // A journal that is full (its capacity is one): dropped and counted, to be repeated by the client.
    first.send_to(&from_client(10, "350103ff"), to).await.unwrap();
    second.send_to(&from_client(11, "350103ff"), to).await.unwrap();
    while counters.ignored(Why::JournalFull) == 0 {
        tokio::task::yield_now().await;
    }
    entries.recv().await.unwrap().1.send(Ok(())).unwrap();
    assert_eq!(reply(&first).await, 5);
    assert_eq!(counters.get(Count::Ack), 3);

    stop.send(()).unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused() {
    let bind = |config: DhcpConfig| {
        let (journal, _entries) = mpsc::channel(1);
        DhcpServer::bind(config, Arc::new(Recorder(Mutex::default())), Vec::new(), journal, Arc::new(|| 1))
    };
    let error = bind(DhcpConfig { pool_last: [127, 9, 0, 9].into(), ..config() }).await.err().unwrap();
    assert!(error.to_string().contains("the pool ends before it starts"), "{error}");
    assert!(error.hint().contains("cluster.yaml"));
    let error = bind(DhcpConfig { iface: "nonesuch0".into(), ..config() }).await.err().unwrap();
    assert!(matches!(error, BindError::NoSuchInterface { .. }), "{error}");
}
