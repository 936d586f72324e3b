//! The listener on 127.0.0.1 with real sockets.

use std::time::Duration;

use camino::Utf8Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::serve;
use crate::listener::socket::Impatient;
use crate::testing::client::machines;

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

#[tokio::test]
async fn a_peer_that_takes_a_little_now_and_then_is_dropped_and_a_slow_one_is_not() {
    // (bytes it takes every 20 ms, dropped)
    for (bite, dropped) in [(64, true), (256 << 10, false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = Impatient::new(socket, Duration::from_secs(2));
        let reader = tokio::spawn(async move {
            let mut client = client;
            let mut buffer = vec![0u8; bite];
            while let Ok(n) = client.read(&mut buffer).await {
                if n == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let chunk = vec![0u8; 1 << 20];
        let mut result = Ok(());
        for _ in 0..24 {
            result = socket.write_all(&chunk).await;
            if result.is_err() {
                break;
            }
        }
        assert_eq!(result.is_err(), dropped, "{bite} bytes at a time");
        drop(socket);
        reader.abort();
    }
}

#[tokio::test]
async fn one_address_cannot_keep_the_others_out() {
    let (_, router) = machines(Utf8Path::new("/nonexistent"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, router, std::future::pending()));
    let from = |last: u8| async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, last], 0).into()).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: seed\r\n\r\n").await.unwrap();
        let mut answer = [0u8; 12];
        // One that is closed at once may be reset before it is read.
        let ok = stream.read_exact(&mut answer).await.is_ok() && &answer == b"HTTP/1.1 200";
        ok.then_some(stream)
    };
    let mut held = Vec::new();
    for n in 0..crate::limits::MAX_PER_ADDRESS {
        held.push(from(2).await.unwrap_or_else(|| panic!("connection {n} of one address")));
    }
    assert!(from(2).await.is_none(), "one more than an address may have");
    assert!(from(3).await.is_some(), "another address is served");
    held.pop();
    // The server learns of the end a moment later.
    let mut again = None;
    for _ in 0..200 {
        again = from(2).await;
        if again.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(again.is_some(), "what was given back can be taken again");
    server.abort();
}
