//! Other DHCP servers: one DISCOVER on the named interface, and a short wait for offers.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context as _, Result};
use cluster_seed::ids::Mac;
use flight::recorder::REHEARSAL_PREFIX;
use host::clock::Stopwatch;
use socket2::{Domain, Protocol, Socket, Type};

use crate::doctor::dhcp::{self, Message, Reply, Stage};

/// How long to wait for offers; a server that pings first takes a second or two.
const WAIT: Duration = Duration::from_secs(3);
/// Most offers read.
const MAX_ANSWERS: usize = 64;

/// A socket for a client on one interface.
pub fn client_socket(iface: &str) -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).context("opening a socket")?;
    socket.bind_device(Some(iface.as_bytes())).with_context(|| format!("choosing interface {iface}"))?;
    // A DHCP client of this machine may hold the port on another interface.
    socket.set_reuse_address(true).context("sharing port 68")?;
    socket.set_broadcast(true).context("preparing a broadcast")?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into()).context("opening port 68")?;
    Ok(socket)
}

/// Sends one DISCOVER and collects the offers. It requests none of them.
pub fn ask_who_answers(iface: &str) -> Result<Vec<Reply>> {
    let socket = std::net::UdpSocket::from(client_socket(iface)?);
    let [a, b, c] = REHEARSAL_PREFIX;
    let mac = Mac([a, b, c, 0xff, 0xff, 0xff]);
    let xid = std::process::id() ^ 0x6b64_0000;
    let question = dhcp::message(Message::Discover, Stage::Plain, mac, xid);
    socket.send_to(&question, SocketAddrV4::new(Ipv4Addr::BROADCAST, 67)).with_context(|| format!("probing {iface}"))?;
    let (began, mut found, mut buffer) = (Stopwatch::start(), Vec::new(), [0u8; 1_500]);
    while let Some(left) = WAIT.checked_sub(began.elapsed()).filter(|l| !l.is_zero()) {
        socket.set_read_timeout(Some(left)).context("waiting for offers")?;
        match socket.recv_from(&mut buffer) {
            Ok((len, _)) => found.extend(dhcp::reply(&buffer[..len]).filter(|r| r.xid == xid && r.kind == 2)),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => break,
            Err(e) => return Err(e).with_context(|| format!("listening on {iface}")),
        }
        if found.len() >= MAX_ANSWERS {
            break;
        }
    }
    Ok(found)
}
