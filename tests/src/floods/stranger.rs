//! What the stranger sends: bounded in rate, and until it is told to stop.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster_seed::ids::Mac;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::fake_agent::random;

/// Addresses of the stranger: 10.44.0.20 and up, outside of the seed's pool.
pub const ADDRESSES: u8 = 64;
const FIRST: u8 = 20;
const SEED: Ipv4Addr = Ipv4Addr::new(10, 44, 0, 1);
/// Nobody has it: a server that is really there cannot be told from one that is meant (docs/netboot.md).
const ROGUE: Ipv4Addr = Ipv4Addr::new(10, 44, 0, 90);
/// Connections of one address, and transfers.
const EACH: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(1);

pub fn addresses() -> impl Iterator<Item = Ipv4Addr> {
    (FIRST..FIRST + ADDRESSES).map(|n| Ipv4Addr::new(10, 44, 0, n))
}

/// What was sent, by kind.
#[derive(Debug, Default)]
pub struct Floods {
    transfers: AtomicU64,
    requests: AtomicU64,
    claims: AtomicU64,
    hellos: AtomicU64,
    handshakes: AtomicU64,
    offers: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn of(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Floods {
    pub fn claims(&self) -> u64 {
        of(&self.claims)
    }

    pub fn summary(&self) -> String {
        format!(
            "{} TFTP requests, {} idle HTTP requests, {} claims, {} hellos, {} leases of made-up machines, {} forged offers",
            of(&self.transfers),
            of(&self.requests),
            of(&self.claims),
            of(&self.hellos),
            of(&self.handshakes),
            of(&self.offers)
        )
    }

    /// An error if one of them did not come to the seed: then nothing was shown.
    pub fn were_floods(&self) -> Result<()> {
        let all = [&self.transfers, &self.requests, &self.claims, &self.hellos];
        ensure!(all.iter().all(|c| of(c) > 200) && of(&self.handshakes) > 0, "a flood did not flow: {}", self.summary());
        Ok(())
    }

    /// Runs in the stranger's namespace until `stop`.
    pub fn claims_only(&self, stop: &AtomicBool) -> Result<()> {
        std::thread::scope(|scope| {
            for from in addresses().take(EACH) {
                scope.spawn(move || until(stop, || self.claim(from)));
            }
        });
        Ok(())
    }

    /// Everything at once, until `stop`. `macs` are those of the rack: hellos are sent in their names too.
    pub fn all(&self, stop: &AtomicBool, macs: &[Mac]) -> Result<()> {
        let udp = |at: Ipv4Addr, port: u16| UdpSocket::bind((at, port)).context("opening the stranger's socket");
        let tftp = addresses().map(|a| udp(a, 0)).collect::<Result<Vec<_>>>()?;
        let (client, server) = (udp(Ipv4Addr::UNSPECIFIED, 68)?, udp(Ipv4Addr::UNSPECIFIED, 67)?);
        for socket in [&client, &server] {
            socket.set_broadcast(true).context("allowing broadcasts")?;
            socket.set_read_timeout(Some(TIMEOUT)).context("limiting a wait")?;
            setsockopt(socket, sockopt::BindToDevice, &"eth0".into()).context("binding to the interface")?;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| until(stop, || self.hold_transfers(&tftp)));
            for group in addresses().collect::<Vec<_>>().chunks(EACH) {
                let group = group.to_vec();
                scope.spawn(move || {
                    let mut held: Vec<Option<TcpStream>> = Vec::new();
                    held.resize_with(group.len() * EACH, || None);
                    until(stop, || self.hold_connections(&group, &mut held));
                });
            }
            for from in addresses().take(2) {
                scope.spawn(move || until(stop, || self.claim(from)));
            }
            scope.spawn(move || {
                let mut number = 0;
                until(stop, || self.hello(macs, &mut number));
            });
            scope.spawn(|| until(stop, || self.lease(&client)));
            scope.spawn(|| until(stop, || self.forge(&server)));
        });
        Ok(())
    }

    /// 512 transfers that are never answered, every five seconds.
    fn hold_transfers(&self, sockets: &[UdpSocket]) -> Option<Duration> {
        let request = b"\0\x01undionly.kpxe\0octet\0timeout\x00255\0";
        for _ in 0..EACH {
            for socket in sockets {
                socket.send_to(request, (SEED, 69)).ok()?;
                count(&self.transfers);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Duration::from_secs(4))
    }

    /// Eight idle connections of each address, and one small request over each in three seconds.
    fn hold_connections(&self, from: &[Ipv4Addr], held: &mut [Option<TcpStream>]) -> Option<Duration> {
        for (place, connection) in held.iter_mut().enumerate() {
            let source = from[place / EACH];
            if connection.is_none() {
                *connection = dial(source).ok();
            }
            let sent = connection.as_mut().is_some_and(|c| {
                let mut scrap = [0; 4096];
                let _ = c.set_nonblocking(true).and_then(|()| c.read(&mut scrap).map(|_| ()));
                c.write_all(b"GET /boot/none HTTP/1.1\r\nHost: x\r\n\r\n").is_ok()
            });
            match sent {
                true => count(&self.requests),
                false => *connection = None,
            }
        }
        Some(Duration::from_secs(3))
    }

    fn claim(&self, from: Ipv4Addr) -> Option<Duration> {
        let body = format!("{{\"payload\":\"xxxxxxxxxx\",\"key\":\"{}\",\"signature\":\"\"}}", "0".repeat(64));
        let mut connection = dial(from).ok()?;
        // As many as one connection takes.
        for _ in 0..64 {
            if post(&mut connection, &format!("/api/v1/agent/{}/claim", "09".repeat(16)), &body).is_none() {
                break;
            }
            count(&self.claims);
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(Duration::from_millis(5))
    }

    /// Every second one in the name of a machine of the rack.
    fn hello(&self, macs: &[Mac], number: &mut usize) -> Option<Duration> {
        *number += 1;
        let [a, b, c, ..] = random().ok()?;
        let mac = if number.is_multiple_of(2) { *macs.get(*number / 2 % macs.len().max(1))? } else { Mac([2, 0x77, 0, a, b, c]) };
        let from = addresses().nth(*number % usize::from(ADDRESSES))?;
        let body = format!("{{\"protocol\":{},\"boot_mac\":\"{mac}\"}}", cluster_seed::agent::PROTOCOL);
        if let Ok(mut connection) = dial(from)
            && post(&mut connection, "/api/v1/agent/hello", &body).is_some()
        {
            count(&self.hellos);
        }
        Some(Duration::from_millis(20))
    }

    /// A made-up machine takes an address.
    fn lease(&self, socket: &UdpSocket) -> Option<Duration> {
        let [a, b, c, d, xid @ ..] = random().ok()?;
        let (mac, xid) = ([2, 0x78, a, b, c, d], [xid[0], xid[1], xid[2], xid[3]]);
        let send = |options: &[u8]| socket.send_to(&message(1, mac, xid, options), (Ipv4Addr::BROADCAST, 67)).ok();
        send(&[53, 1, 1])?;
        if let Some(address) = answer(socket, xid, 2) {
            send(&[&[53, 1, 3, 50, 4][..], &address, &[54, 4], &SEED.octets()].concat())?;
            if answer(socket, xid, 5).is_some() {
                count(&self.handshakes);
            }
        }
        Some(Duration::from_millis(50))
    }

    /// Answers the seed's own search for other servers, and no machine of the rack.
    fn forge(&self, socket: &UdpSocket) -> Option<Duration> {
        let mut bytes = [0; 1500];
        let Ok((len, _)) = socket.recv_from(&mut bytes) else { return Some(Duration::ZERO) };
        let asked = bytes.get(..len)?;
        let of_the_rack = asked.get(28..32).is_some_and(|m| m == [0x52, 0x54, 0x00, 0x6b] || m.starts_with(&[2, 0x78]));
        if asked.first() != Some(&1) || of_the_rack || len < 240 {
            return Some(Duration::ZERO);
        }
        let (mac, xid) = (asked.get(28..34)?.try_into().ok()?, asked.get(4..8)?.try_into().ok()?);
        let mut offer = message(2, mac, xid, &[&[53, 1, 2, 54, 4][..], &ROGUE.octets(), &[51, 4, 0, 0, 14, 16]].concat());
        offer[16..20].copy_from_slice(&[10, 44, 0, 67]);
        if socket.send_to(&offer, (Ipv4Addr::BROADCAST, 68)).is_ok() {
            count(&self.offers);
        }
        Some(Duration::ZERO)
    }
}

/// Repeats `round` until `stop`; what cannot be sent now is tried again a moment later.
fn until(stop: &AtomicBool, mut round: impl FnMut() -> Option<Duration>) {
    while !stop.load(Ordering::Relaxed) {
        let pause = round().unwrap_or(Duration::from_millis(200));
        let since = Instant::now();
        while since.elapsed() < pause && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(pause.saturating_sub(since.elapsed()).min(Duration::from_millis(100)));
        }
    }
}

/// A connection from one of the stranger's addresses to the machines' listener.
fn dial(from: Ipv4Addr) -> Result<TcpStream> {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).context("opening a socket")?;
    // It limits connect(2) too (socket(7)).
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::seconds(1)).context("limiting a connection")?;
    bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(from, 0))).context("binding to an address")?;
    connect(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(SEED, 80))).context("connecting")?;
    let stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(TIMEOUT)).context("limiting a connection")?;
    Ok(stream)
}

/// Some of the answer; `None` if there is none.
fn post(connection: &mut TcpStream, path: &str, body: &str) -> Option<()> {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body.as_bytes())).ok()?;
    let mut answer = [0; 2048];
    (connection.read(&mut answer).ok()? > 0).then_some(())
}

/// A BOOTP message of 300 bytes at least (RFC 951, RFC 1542), with the broadcast flag.
fn message(op: u8, mac: [u8; 6], xid: [u8; 4], options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0u8; 236];
    bytes[..4].copy_from_slice(&[op, 1, 6, 0]);
    bytes[4..8].copy_from_slice(&xid);
    bytes[10] = 0x80;
    bytes[28..34].copy_from_slice(&mac);
    bytes.extend_from_slice(&[99, 130, 83, 99]);
    bytes.extend_from_slice(options);
    bytes.push(255);
    bytes.resize(bytes.len().max(300), 0);
    bytes
}

/// The address in the answer of that kind (option 53) to `xid`, within [`TIMEOUT`] and a bounded number of packets.
fn answer(socket: &UdpSocket, xid: [u8; 4], kind: u8) -> Option<[u8; 4]> {
    let mut bytes = [0; 1500];
    for _ in 0..64 {
        let (len, _) = socket.recv_from(&mut bytes).ok()?;
        let packet = bytes.get(..len)?;
        let is_kind = packet.get(240..).is_some_and(|o| o.windows(3).any(|w| w == [53, 1, kind]));
        if packet.get(4..8) == Some(&xid) && is_kind {
            return packet.get(16..20)?.try_into().ok();
        }
    }
    None
}
