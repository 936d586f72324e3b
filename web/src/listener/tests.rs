//! The listener on 127.0.0.1 with real sockets.

use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::fast::Fast;
use super::places::Capacity;
use super::{Bounds, Way, run, serve};
use crate::listener::socket::Impatient;
use crate::meter::{DoorMeter, Turn};
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

/// A connection from 127.0.0.`last`.
async fn from(address: std::net::SocketAddr, last: u8) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, last], 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

/// The head of the answer to a small request, if there is one. One that is closed at once may be reset before it is read.
async fn ask(stream: &mut TcpStream) -> Option<String> {
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: seed\r\n\r\n").await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let (_, length) = head.split_once("Content-Length: ")?;
    let length = length.lines().next()?.parse().unwrap();
    stream.read_exact(&mut vec![0u8; length]).await.ok()?;
    head.starts_with("HTTP/1.1 200").then_some(head)
}

async fn ended(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0u8; 1024]).await, Ok(0) | Err(_))
}

/// The machines' listener and the pages' in small: 16 places, 4 of an address, and no time limit that could free one.
async fn small() -> [(std::net::SocketAddr, Arc<DoorMeter>, tokio::task::JoinHandle<()>); 2] {
    let patient = Duration::from_secs(600);
    let capacity = Capacity { connections: 16, per_address: 4 };
    let bounds = Bounds { capacity, handshake: patient, head: patient, stall: patient };
    let (mock, router) = machines(Utf8Path::new("/nonexistent"));
    let fast = Fast::new(mock, router.clone(), Arc::default(), Arc::new(|_| ()), Box::new(|| 0));
    let mut servers = Vec::new();
    for way in [Way::Machines(Arc::new(fast)), Way::Plain] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, meter) = (listener.local_addr().unwrap(), Arc::new(DoorMeter::default()));
        let server = run(listener, way, router.clone(), meter.clone(), std::future::pending(), bounds);
        servers.push((address, meter, tokio::spawn(server)));
    }
    servers.try_into().unwrap_or_else(|_| panic!("two servers"))
}

/// `http_keep.py`: every connection asks for something small, and then for more as long as it is let.
#[tokio::test]
async fn idle_connections_of_many_addresses_keep_no_other_out() {
    for (address, meter, server) in small().await {
        let mut held = Vec::new();
        for _ in 0..4 {
            for last in 10..20 {
                let mut stream = from(address, last).await;
                if ask(&mut stream).await.is_some() {
                    held.push(stream);
                }
            }
        }
        assert!(held.len() >= 12, "{}", held.len());
        // Others that say nothing yet: the idle ones make room for them.
        let mut silent = Vec::new();
        for last in 30..40 {
            silent.push(from(address, last).await);
        }
        let mut closed = 0;
        for last in 100..140 {
            let mut fresh = from(address, last).await;
            let head = ask(&mut fresh).await.unwrap_or_else(|| panic!("127.0.0.{last} is not served"));
            closed += usize::from(head.contains("Connection: close\r\n"));
        }
        assert!(closed > 0, "while places are scarce");
        assert!(meter.get(Turn::Idle) > 0);
        server.abort();
    }
}

/// Slowloris: half a head, a body that does not come, and nothing at all.
#[tokio::test]
async fn unfinished_requests_of_many_addresses_keep_no_other_out() {
    let post =
        "POST /api/v1/agent/hello HTTP/1.1\r\nHost: seed\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{";
    for (address, meter, server) in small().await {
        for begun in ["", "GET /v2/ HTTP/1.1\r\nHost: s", post] {
            let mut held = Vec::new();
            for last in 10..26 {
                let mut stream = from(address, last).await;
                let _ = stream.write_all(begun.as_bytes()).await;
                held.push(stream);
            }
            let mut fresh = Vec::new();
            for last in 100..110 {
                let mut stream = from(address, last).await;
                assert!(ask(&mut stream).await.is_some(), "127.0.0.{last} is not served beside {begun:?}");
                fresh.push(stream);
            }
            // The oldest went.
            assert!(ended(&mut held[0]).await);
        }
        assert!(meter.get(Turn::Unfinished) > 0);
        server.abort();
    }
}

#[tokio::test]
async fn who_is_turned_away_is_told_so() {
    let [(address, meter, server), (_, _, pages)] = small().await;
    // Busy, each with a body that does not come.
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = from(address, 9).await;
        stream.write_all(b"POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\n").await.unwrap();
        held.push(stream);
    }
    let mut fifth = from(address, 9).await;
    let mut answer = String::new();
    fifth.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: "), "{answer}");
    assert_eq!(meter.get(Turn::Address), 1);
    server.abort();
    pages.abort();
}

/// A demonstration on one machine: a whole rack has the address 127.0.0.1.
#[tokio::test]
async fn the_seeds_own_address_may_hold_more() {
    for (address, _, server) in small().await {
        let mut held = Vec::new();
        for n in 0..12 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert!(ask(&mut stream).await.is_some(), "{n}");
            held.push(stream);
        }
        // The last of them made places scarce, and ended with its answer.
        assert!(ended(&mut held[11]).await);
        let mut more = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut more).await.is_some());
        server.abort();
    }
}

#[tokio::test]
async fn one_address_cannot_keep_the_others_out() {
    let (_, router) = machines(Utf8Path::new("/nonexistent"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, router, std::future::pending()));
    // Each is busy: it has sent a part of its next request's body.
    let from = |last: u8| async move {
        let mut stream = from(address, last).await;
        ask(&mut stream).await?;
        let begun = b"POST /api/v1/agent/hello HTTP/1.1\r\nHost: seed\r\nContent-Length: 9\r\n\r\n";
        stream.write_all(begun).await.unwrap();
        Some(stream)
    };
    let mut held = Vec::new();
    for n in 0..crate::limits::MAX_OF_BROWSER {
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
