//! Sends DHCP packets from a file and prints the answers: `ask FILE`, in the network namespace of a client.
//!
//! Each line is `NAME CIADDR GIADDR OPTIONS-IN-HEX [AT=HEX…]`; every packet has its own hardware address and transaction id and
//! asks for a broadcast answer. `AT=HEX` replaces bytes of the packet; `AT=` cuts it off there. It prints one line per packet: `NAME KIND ADDRESS OPTION-CODES`, or `NAME silence`.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

type Failure = Box<dyn std::error::Error>;

fn bytes_of(hex: &str) -> Result<Vec<u8>, Failure> {
    (0..hex.len()).step_by(2).map(|i| Ok(u8::from_str_radix(hex.get(i..i + 2).ok_or("odd")?, 16)?)).collect()
}

fn main() -> Result<(), Failure> {
    let file = std::env::args().nth(1).ok_or("usage: ask FILE")?;
    let socket = UdpSocket::bind("0.0.0.0:68")?;
    socket.set_broadcast(true)?;
    socket.set_read_timeout(Some(Duration::from_millis(700)))?;
    for (n, line) in (1u8..).zip(std::fs::read_to_string(file)?.lines()) {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, ciaddr, giaddr, options, changes @ ..] = &words[..] else { return Err(line.into()) };
        let mut packet = vec![0u8; 236];
        packet[..8].copy_from_slice(&[1, 1, 6, 0, 0x77, 0, 0, n]);
        packet[10] = 0x80;
        packet[12..16].copy_from_slice(&ciaddr.parse::<Ipv4Addr>()?.octets());
        packet[24..28].copy_from_slice(&giaddr.parse::<Ipv4Addr>()?.octets());
        packet[28..34].copy_from_slice(&[2, 0, 0, 0, 0, n]);
        packet.extend_from_slice(&[99, 130, 83, 99]);
        packet.extend(bytes_of(options)?);
        for change in changes {
            let (at, hex) = change.split_once('=').ok_or("AT=HEX")?;
            let (at, new) = (at.parse::<usize>()?, bytes_of(hex)?);
            packet.truncate(if new.is_empty() { at } else { packet.len() });
            packet.get_mut(at..at + new.len()).ok_or("beyond the packet")?.copy_from_slice(&new);
        }
        socket.send_to(&packet, SocketAddrV4::new(Ipv4Addr::BROADCAST, 67))?;
        println!("{name} {}", answer(&socket, &packet)?);
    }
    Ok(())
}

fn answer(socket: &UdpSocket, asked: &[u8]) -> Result<String, Failure> {
    let mut buffer = [0u8; 1600];
    while let Ok((len, _)) = socket.recv_from(&mut buffer) {
        let got = &buffer[..len];
        if len < 240 || got[0] != 2 || got[4..8] != asked[4..8] {
            continue;
        }
        let packet = pxe::dhcp::wire::Packet::read(got).map_err(|why| why.to_string())?;
        let kind = match packet.option(53) {
            Some([2]) => "OFFER",
            Some([5]) => "ACK",
            Some([6]) => "NAK",
            _ => "?",
        };
        let codes: Vec<String> = (1..=254u8).filter(|c| packet.option(*c).is_some()).map(|c| c.to_string()).collect();
        let ip = Ipv4Addr::new(got[16], got[17], got[18], got[19]);
        return Ok(format!("{kind} {} {}", if ip.is_unspecified() { "none" } else { "address" }, codes.join(",")));
    }
    Ok("silence".into())
}
