//! The listener on 127.0.0.1 with real sockets.

use std::time::Duration;

use camino::Utf8Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::serve;
use crate::client_tests::machines;
use crate::server_socket::Impatient;

#[tokio::test]
async fn serves_tells_the_peer_and_stops() {
    let (mock, router) = machines(Utf8Path::new("/nonexistent"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, router, async {
        let _ = stopped.await;
    }));
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET /boot/ipxe?mac=52:54:00:ab:00:01 HTTP/1.1\r\nHost: seed\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("#!ipxe\n"), "{answer}");
    assert_eq!(mock.state().callers[0].to_string(), "127.0.0.1");

    let mut rude = TcpStream::connect(address).await.unwrap();
    rude.write_all(b"\x16\x03\x01 not HTTP at all\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = rude.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");

    stop.send(()).unwrap();
    server.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_dropped() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let mut socket = Impatient::new(socket, Duration::from_millis(50));
    let chunk = vec![0u8; 1 << 20];
    // The kernel's buffers take some megabytes; then it waits, and gives up.
    let error = loop {
        if let Err(e) = socket.write_all(&chunk).await {
            break e;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    drop(client);
}
