//! Simulates a rack that powers on: `rack SERVER MACHINES FIRST-NUMBER FLOOD-PACKETS [FILE]`, in the clients' namespace.
//!
//! Each machine behaves like firmware (PXE options, broadcast flag, waits of 1, 2, 4 and 8 s), then fetches FILE by TFTP.
//! At the same time a stranger sends FLOOD-PACKETS: DISCOVERs with random hardware addresses, and noise. Every ACK is printed
//! at once as `ack MAC IP`; the last line is `booted N of M`.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pxe::tftp::packet::{Packet, ack_packet, parse, read_packet};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const WAITS: [u64; 4] = [1, 2, 4, 8];

#[derive(Clone, Copy, PartialEq)]
enum State {
    Discover,
    Request { ip: Ipv4Addr, server: Ipv4Addr },
    Bound(Ipv4Addr),
    Failed,
}

struct Machine {
    mac: [u8; 6],
    state: State,
    tries: usize,
    again: Instant,
}

fn message(mac: [u8; 6], xid: u32, options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0u8; 236];
    bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
    bytes[4..8].copy_from_slice(&xid.to_be_bytes());
    bytes[10] = 0x80;
    bytes[28..34].copy_from_slice(&mac);
    bytes.extend_from_slice(&[99, 130, 83, 99]);
    bytes.extend_from_slice(options);
    bytes.extend_from_slice(&[93, 2, 0, 7, 60, 32]);
    bytes.extend_from_slice(b"PXEClient:Arch:00007:UNDI:003000");
    bytes.push(255);
    bytes
}

impl Machine {
    fn ask(&mut self, number: u32, socket: &UdpSocket) -> Result<(), Failure> {
        let mut options = vec![53, 1, 1];
        if let State::Request { ip, server } = self.state {
            options = [&[53, 1, 3, 50, 4][..], &ip.octets(), &[54, 4], &server.octets()].concat();
        }
        let Some(wait) = WAITS.get(self.tries) else {
            self.state = State::Failed;
            return Ok(());
        };
        (self.tries, self.again) = (self.tries + 1, Instant::now() + Duration::from_secs(*wait));
        socket.send_to(&message(self.mac, number, &options), SocketAddrV4::new(Ipv4Addr::BROADCAST, 67))?;
        Ok(())
    }

    fn hear(
        &mut self,
        number: u32,
        packet: &pxe::dhcp::wire::Packet<'_>,
        bytes: &[u8],
        socket: &UdpSocket,
    ) -> Result<(), Failure> {
        let ip = Ipv4Addr::new(bytes[16], bytes[17], bytes[18], bytes[19]);
        match (self.state, packet.option(53), packet.address(54)) {
            (State::Discover, Some([2]), Some(server)) if !ip.is_unspecified() => {
                (self.state, self.tries) = (State::Request { ip, server }, 0);
                self.ask(number, socket)?;
            }
            (State::Request { ip: asked, .. }, Some([5]), _) if ip == asked => {
                self.state = State::Bound(ip);
                let [a, b, c, d, e, f] = self.mac;
                println!("ack {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} {ip}");
                std::io::stdout().flush()?;
            }
            (State::Request { .. }, Some([6]), _) => {
                (self.state, self.tries) = (State::Discover, 0);
                self.ask(number, socket)?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn flood(server: Ipv4Addr, packets: u32) -> Result<(), Failure> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut state = 88_172_645_463_325_252u64;
    for n in 0..packets {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [a, b, c, d, e, ..] = state.to_be_bytes();
        let mut packet = message([2, a, b, c, d, e], n | 0x8000_0000, &[53, 1, 1]);
        match n % 4 {
            // Truncated, with a changed byte, or valid.
            0 => packet.truncate((state % 300) as usize),
            1 => packet[(state % 280) as usize] ^= a | 1,
            _ => {}
        }
        // A full send queue on this side is ignored.
        let _ = socket.send_to(&packet, SocketAddrV4::new(server, 67));
        if n % 4 == 0 {
            let _ = socket.send_to(&packet, SocketAddrV4::new(server, 69));
        }
        if n % 64 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// Fetches the file in lock-step; returns its length.
fn fetch(server: Ipv4Addr, name: &str) -> Result<usize, Failure> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut last = read_packet(name, &[("blksize", "1468"), ("tsize", "0")]);
    let (mut to, mut next, mut got) = (std::net::SocketAddr::from((server, 69)), 1u16, 0usize);
    let mut buffer = [0u8; 1600];
    let mut silent = 0;
    socket.send_to(&last, to)?;
    loop {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else {
            silent += 1;
            if silent > 8 {
                return Err("the server stopped answering".into());
            }
            socket.send_to(&last, to)?;
            continue;
        };
        silent = 0;
        match parse(&buffer[..len])? {
            Packet::OptionAck(_) if next == 1 => last = ack_packet(0),
            Packet::Data { block, data } if block == next => {
                got += data.len();
                last = ack_packet(block);
                next = next.wrapping_add(1);
                if data.len() < 1468 {
                    socket.send_to(&last, from)?;
                    return Ok(got);
                }
            }
            Packet::Data { .. } => {}
            other => return Err(format!("{other:?}").into()),
        }
        to = from;
        socket.send_to(&last, to)?;
    }
}

fn power_on(machines: &mut HashMap<u32, Machine>, socket: &UdpSocket) -> Result<(), Failure> {
    let mut buffer = [0u8; 1600];
    for (number, machine) in machines.iter_mut() {
        machine.ask(*number, socket)?;
    }
    loop {
        if let Ok((len, _)) = socket.recv_from(&mut buffer)
            && let Ok(packet) = pxe::dhcp::wire::Packet::read(&buffer[..len])
            && let Some(machine) = machines.get_mut(&packet.xid)
        {
            machine.hear(packet.xid, &packet, &buffer[..len], socket)?;
        }
        let now = Instant::now();
        let mut waiting = false;
        for (number, machine) in machines.iter_mut() {
            let open = matches!(machine.state, State::Discover | State::Request { .. });
            waiting |= open;
            if open && machine.again <= now {
                machine.ask(*number, socket)?;
            }
        }
        if !waiting {
            return Ok(());
        }
    }
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [server, count, first, packets, file @ ..] = &args[..] else {
        return Err("usage: rack SERVER MACHINES FIRST-NUMBER FLOOD-PACKETS [FILE]".into());
    };
    let (server, count, first): (Ipv4Addr, u32, u32) = (server.parse()?, count.parse()?, first.parse()?);
    let packets = packets.parse()?;
    let socket = UdpSocket::bind("0.0.0.0:68")?;
    socket.set_broadcast(true)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let stranger = std::thread::spawn(move || flood(server, packets));
    let machine = |n: u32| {
        let [_, b, c, d] = n.to_be_bytes();
        Machine { mac: [0x52, 0x54, 0x01, b, c, d], state: State::Discover, tries: 0, again: Instant::now() }
    };
    let mut machines: HashMap<u32, Machine> = (first..first + count).map(|n| (n, machine(n))).collect();
    power_on(&mut machines, &socket)?;
    let bound: Vec<Ipv4Addr> =
        machines.values().filter_map(|m| if let State::Bound(ip) = m.state { Some(ip) } else { None }).collect();
    let different: HashSet<&Ipv4Addr> = bound.iter().collect();
    if different.len() != bound.len() {
        return Err("an address was assigned twice".into());
    }
    let booted = Arc::new(AtomicUsize::new(0));
    let fetching: Vec<_> = bound
        .iter()
        .map(|_| {
            let (booted, file) = (booted.clone(), file.first().cloned());
            std::thread::spawn(move || match file.map(|name| fetch(server, &name)) {
                None | Some(Ok(_)) => drop(booted.fetch_add(1, Ordering::Relaxed)),
                Some(Err(error)) => eprintln!("fetching: {error}"),
            })
        })
        .collect();
    fetching.into_iter().for_each(|t| drop(t.join()));
    stranger.join().map_err(|_| "the flood ended early")??;
    println!("booted {} of {count}", booted.load(Ordering::Relaxed));
    Ok(())
}
