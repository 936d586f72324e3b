//! The HTTPS port with real sockets: good clients, bad clients, and clients that speak something else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::places::Capacity;
use super::{BOUNDS, Bounds, Way, run};
use crate::testing::client::machines;

struct Server {
    address: SocketAddr,
    trusts: TlsConnector,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

async fn start(bounds: Bounds) -> Server {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let server = server.with_no_client_auth().with_single_cert(vec![cert.der().clone()], private).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (_, router) = machines(Utf8Path::new("/nonexistent"));
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let task = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        run(listener, Way::Tls(acceptor), router, Arc::default(), stopped, bounds).await;
    });
    Server { address, trusts: TlsConnector::from(Arc::new(client)), stop, task }
}

impl Server {
    async fn connect(&self) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        self.trusts.connect(ServerName::try_from("127.0.0.1").unwrap(), socket).await.unwrap()
    }

    /// A complete exchange of an ordinary client.
    async fn serves(&self) {
        let mut client = self.connect().await;
        let ask = b"GET /boot/ipxe?mac=52:54:00:ab:00:01 HTTP/1.1\r\nHost: seed\r\nConnection: close\r\n\r\n";
        client.write_all(ask).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("#!ipxe\n"), "{answer}");
    }

    /// The same, once the place of the connection before is free, which is a moment after its end.
    async fn serves_soon(&self) {
        for _ in 0..500 {
            let socket = TcpStream::connect(self.address).await.unwrap();
            let name = ServerName::try_from("127.0.0.1").unwrap();
            if self.trusts.connect(name, socket).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it serves nobody");
    }

    async fn ends(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
        assert!(TcpStream::connect(self.address).await.is_err());
    }
}

async fn answer_to(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // The server may hang up before all of it is sent.
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn serves_under_tls_and_stops() {
    let server = start(BOUNDS).await;
    server.serves().await;
    server.ends().await;
}

#[tokio::test]
async fn plain_http_is_told_to_speak_tls() {
    let server = start(BOUNDS).await;
    let large = format!("POST /login HTTP/1.1\r\nHost: seed\r\n\r\nuser={}", "x".repeat(9_000));
    for request in ["GET / HTTP/1.1\r\nHost: seed\r\n\r\n", large.as_str()] {
        let answer = String::from_utf8(answer_to(server.address, request.as_bytes()).await).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 ") && body.contains("https://"), "{answer}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())) || head.ends_with(&body.len().to_string()));
        assert!(!answer.contains("Set-Cookie") && !answer.contains("Location"));
    }
    assert!(answer_to(server.address, b"GET / HTTP/1.1\r\nHost: se").await.is_empty(), "half a head gets no answer");
    server.serves().await;
    server.ends().await;
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let server = start(BOUNDS).await;
    let mut hello_of_ssl2 = vec![0x80, 0x2e, 0x01, 0x00, 0x02];
    hello_of_ssl2.resize(48, 7);
    let mut long_record = vec![0x16, 3, 1, 0xff, 0xff];
    long_record.resize(70_000, 0x41);
    let mut garbage: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0x16],
        vec![0x16, 3, 1, 0, 0],
        vec![0x16, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff],
        vec![0x17, 3, 3, 0, 1, 0],
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        vec![b'\n'; 5_000],
        vec![b'A'; 100_000],
        hello_of_ssl2,
        long_record,
    ];
    // One byte after the other of a hello that would be good, changed.
    garbage.extend((0..64).map(|at| {
        let mut hello = vec![0x16, 3, 1, 0, 60, 1, 0, 0, 56, 3, 3];
        hello.resize(65, 0);
        hello[at] ^= 0x55;
        hello
    }));
    for bytes in garbage {
        let answer = answer_to(server.address, &bytes).await;
        // Silence, a TLS alert, or the answer to plain HTTP.
        assert!(answer.is_empty() || answer[0] == 0x15 || answer.starts_with(b"HTTP/1.1 400 "), "{bytes:?}: {answer:?}");
    }
    server.serves().await;
    server.ends().await;
}

const BEGUN: [&[u8]; 3] = [b"", &[0x16, 3, 1, 0, 60, 1, 0], b"GET / HTTP/1.1\r\n"];

fn one_place() -> Capacity {
    Capacity { connections: 1, per_address: 8 }
}

async fn has_ended(silent: &mut TcpStream) -> bool {
    let ended = silent.read(&mut [0u8; 64]).await;
    ended.is_ok() || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn a_silent_handshake_is_cut_and_counts_before_it_began() {
    let server = start(Bounds { capacity: one_place(), handshake: Duration::from_secs(1), ..BOUNDS }).await;
    for begun in BEGUN {
        let mut silent = TcpStream::connect(server.address).await.unwrap();
        silent.write_all(begun).await.unwrap();
        // There is one place, and the silent one has it: the same address gets no other.
        let mut second = TcpStream::connect(server.address).await.unwrap();
        assert!(has_ended(&mut second).await && has_ended(&mut silent).await);
        server.serves_soon().await;
    }
    server.ends().await;
}

#[tokio::test]
async fn a_silent_handshake_keeps_no_other_address_out() {
    let server = start(Bounds { capacity: one_place(), handshake: Duration::from_secs(600), ..BOUNDS }).await;
    for begun in BEGUN {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        let mut silent = socket.connect(server.address).await.unwrap();
        silent.write_all(begun).await.unwrap();
        server.serves_soon().await;
        assert!(has_ended(&mut silent).await);
    }
    server.ends().await;
}

#[tokio::test]
async fn stalls_and_half_requests_are_cut_under_tls_too() {
    let server = start(Bounds { head: Duration::from_millis(100), ..BOUNDS }).await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET / HTT").await.unwrap();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest).await;
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{rest:?}");
    server.ends().await;

    // A peer that takes nothing: requests whose answers it never reads, until the buffers of both kernels are full.
    let server = start(Bounds { stall: Duration::from_millis(100), ..BOUNDS }).await;
    let mut greedy = server.connect().await;
    let ask = b"GET /boot/ipxe?mac=52:54:00:ab:00:01 HTTP/1.1\r\nHost: seed\r\n\r\n".repeat(1_000);
    let cut = loop {
        if let Err(e) = greedy.write_all(&ask).await {
            break e;
        }
        if let Err(e) = greedy.flush().await {
            break e;
        }
    };
    use std::io::ErrorKind as K;
    assert!(matches!(cut.kind(), K::ConnectionReset | K::BrokenPipe | K::ConnectionAborted), "{cut:?}");
    server.serves().await;
    server.ends().await;
}
