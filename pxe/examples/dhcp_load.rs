//! Simulates DHCP clients behind a relay, at a higher rate than perfdhcp reaches on the cores that it shares with the server:
//! `dhcp_load SERVER OWN-ADDRESS RATE SECONDS CLIENTS`.
//!
//! It starts RATE exchanges (DISCOVER, OFFER, REQUEST, ACK) per second, independent of the answers, cycling through CLIENTS
//! hardware addresses. It never retransmits; an exchange not complete within a second counts as lost. Prints one line of JSON.

use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt};

type Failure = Box<dyn std::error::Error>;

/// An exchange that takes longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(1);
const BATCH: usize = 64;
/// Large enough that the client never drops an answer: only the server is measured.
const RECEIVE_BUFFER: usize = 8 << 20;
const OPTIONS: usize = 240;

#[derive(Clone, Copy)]
struct Exchange {
    began: Instant,
    offered: Ipv4Addr,
    done: bool,
}

struct Load {
    socket: UdpSocket,
    own: Ipv4Addr,
    clients: u32,
    exchanges: Vec<Exchange>,
    times: Vec<Duration>,
    /// Who has which address.
    holders: HashMap<Ipv4Addr, u32>,
    /// Unexpected answers, and addresses that two clients hold.
    wrong: u64,
    out: Vec<Vec<u8>>,
    buffers: Vec<Vec<u8>>,
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [server, own, rate, seconds, clients] = &args[..] else {
        return Err("usage: dhcp_load SERVER OWN-ADDRESS RATE SECONDS CLIENTS".into());
    };
    let (own, server): (Ipv4Addr, Ipv4Addr) = (own.parse()?, server.parse()?);
    let (rate, seconds, clients): (f64, f64, u32) = (rate.parse()?, seconds.parse()?, clients.parse()?);
    let socket = UdpSocket::bind(SocketAddrV4::new(own, 67))?;
    socket.connect(SocketAddrV4::new(server, 67))?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).or_else(|_| setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER))?;
    let mut load = Load {
        socket,
        own,
        clients,
        exchanges: Vec::with_capacity((rate * seconds) as usize + BATCH),
        times: Vec::new(),
        holders: HashMap::new(),
        wrong: 0,
        out: Vec::new(),
        buffers: vec![vec![0; 1500]; BATCH],
    };
    load.run(rate, Duration::from_secs_f64(seconds))?;
    load.report(seconds);
    Ok(())
}

impl Load {
    fn run(&mut self, rate: f64, time: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let elapsed = began.elapsed();
            if elapsed >= time + PATIENCE || (elapsed >= time && self.times.len() == self.exchanges.len()) {
                return Ok(());
            }
            let due = (rate * elapsed.min(time).as_secs_f64()) as usize;
            while self.exchanges.len() < due && self.out.len() < BATCH {
                self.discover();
            }
            while self.receive()? == BATCH {}
            if self.out.is_empty() && self.exchanges.len() >= due {
                let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
                poll(&mut fds, PollTimeout::from(1u8))?;
            }
            self.send()?;
        }
    }

    fn discover(&mut self) {
        let xid = self.exchanges.len() as u32;
        self.exchanges.push(Exchange { began: Instant::now(), offered: Ipv4Addr::UNSPECIFIED, done: false });
        let packet = self.packet(xid, &[53, 1, 1, 55, 4, 1, 3, 6, 15, 255]);
        self.out.push(packet);
    }

    fn packet(&self, xid: u32, options: &[u8]) -> Vec<u8> {
        let client = xid % self.clients;
        let mut bytes = vec![0u8; OPTIONS];
        bytes[..4].copy_from_slice(&[1, 1, 6, 1]);
        bytes[4..8].copy_from_slice(&xid.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.own.octets());
        bytes[28..30].copy_from_slice(&[2, 0x0c]);
        bytes[30..34].copy_from_slice(&client.to_be_bytes());
        bytes[236..240].copy_from_slice(&[99, 130, 83, 99]);
        bytes.extend_from_slice(options);
        bytes.resize(300, 0);
        bytes
    }

    fn send(&mut self) -> Result<(), Failure> {
        let mut sent = 0;
        while sent < self.out.len() {
            let end = self.out.len().min(sent + BATCH);
            let slices: Vec<[IoSlice<'_>; 1]> = self.out[sent..end].iter().map(|b| [IoSlice::new(b)]).collect();
            let mut headers = MultiHeaders::<SockaddrIn>::preallocate(end - sent, None);
            let to = vec![None; end - sent];
            sent += sendmmsg(self.socket.as_raw_fd(), &mut headers, slices.iter(), &to, [], MsgFlags::empty())?.count();
        }
        self.out.clear();
        Ok(())
    }

    fn receive(&mut self) -> Result<usize, Failure> {
        let mut buffers = std::mem::take(&mut self.buffers);
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = buffers.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
        let flags = MsgFlags::MSG_DONTWAIT;
        let lengths: Vec<usize> = match recvmmsg(self.socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None) {
            Ok(received) => received.map(|m| m.bytes).collect(),
            // Refused: the server's port is closed; counted as loss.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        for (buffer, length) in buffers.iter().zip(&lengths) {
            self.heard(&buffer[..*length]);
        }
        self.buffers = buffers;
        Ok(lengths.len())
    }

    fn heard(&mut self, bytes: &[u8]) {
        let Some((xid, ip, kind, server)) = read(bytes) else { return self.wrong += 1 };
        let Some(exchange) = self.exchanges.get_mut(xid as usize).filter(|e| !e.done) else { return };
        let elapsed = exchange.began.elapsed();
        match kind {
            2 if exchange.offered.is_unspecified() => {
                exchange.offered = ip;
                let [a, b, c, d] = ip.octets();
                let [e, f, g, h] = server;
                let options = [53, 1, 3, 50, 4, a, b, c, d, 54, 4, e, f, g, h, 55, 4, 1, 3, 6, 15, 255];
                let packet = self.packet(xid, &options);
                self.out.push(packet);
            }
            // Accept one offer.
            2 => {}
            5 if exchange.offered == ip => {
                exchange.done = true;
                if elapsed <= PATIENCE {
                    self.times.push(elapsed);
                }
                let client = xid % self.clients;
                self.wrong += u64::from(*self.holders.entry(ip).or_insert(client) != client);
            }
            _ => self.wrong += 1,
        }
    }

    fn report(&mut self, seconds: f64) {
        self.times.sort_unstable();
        let at = |share: usize| self.times.get(self.times.len() * share / 100).map_or(0.0, |t| t.as_secs_f64() * 1e3);
        let (started, whole) = (self.exchanges.len().max(1) as f64, self.times.len() as f64);
        println!(
            "{{\"rate\":{:.1},\"lost_percent\":{:.3},\"p50_ms\":{:.2},\"p99_ms\":{:.2},\"wrong\":{}}}",
            whole / seconds,
            100.0 * (1.0 - whole / started),
            at(50),
            at(99),
            self.wrong
        );
    }
}

/// Transaction id, assigned address, message type and server identifier.
fn read(bytes: &[u8]) -> Option<(u32, Ipv4Addr, u8, [u8; 4])> {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok());
    let (xid, ip) = (u32::from_be_bytes(word(4)?), Ipv4Addr::from(word(16)?));
    let (mut kind, mut server) = (None, None);
    let mut rest = bytes.get(OPTIONS..)?;
    while let [code, after @ ..] = rest {
        match (code, after) {
            (255, _) => break,
            (0, _) => rest = after,
            (_, [length, value @ ..]) => {
                let value = value.get(..usize::from(*length))?;
                match (code, value) {
                    (53, [k]) => kind = Some(*k),
                    (54, _) => server = value.try_into().ok(),
                    _ => {}
                }
                rest = &after[1 + value.len()..];
            }
            _ => return None,
        }
    }
    Some((xid, ip, kind?, server?))
}
