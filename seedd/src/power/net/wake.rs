//! Wake-on-LAN: the magic packet, on the seed's own netboot interface and nowhere else.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result};
use cluster_seed::ids::Mac;
use socket2::{Domain, Protocol, Socket, Type};

/// The discard port: nobody answers there.
const PORT: u16 = 9;
/// How often it is sent: a broadcast may get lost.
const TIMES: usize = 3;

/// Six bytes of ones, then sixteen times the address (AMD publication 20213).
pub fn magic(mac: Mac) -> Vec<u8> {
    let mut packet = vec![0xff; 6];
    (0..16).for_each(|_| packet.extend(mac.0));
    packet
}

/// Sends it as a broadcast that cannot leave the interface.
pub fn wake(iface: &str, mac: Mac) -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).context("opening a socket")?;
    socket.bind_device(Some(iface.as_bytes())).with_context(|| format!("choosing interface {iface}"))?;
    socket.set_broadcast(true).context("preparing a broadcast")?;
    let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, PORT).into();
    let packet = magic(mac);
    for _ in 0..TIMES {
        socket.send_to(&packet, &to).with_context(|| format!("sending on interface {iface}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_is_the_one_that_cards_wait_for() {
        let packet = magic(Mac([0x52, 0x54, 0, 0xab, 0, 1]));
        assert_eq!(packet.len(), 102);
        assert_eq!(packet[..6], [0xff; 6]);
        assert!(packet[6..].chunks(6).all(|c| c == [0x52, 0x54, 0, 0xab, 0, 1]));
        assert!(wake("nonesuch0", Mac([2; 6])).is_err());
    }
}
