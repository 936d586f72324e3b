//! Listening sockets of this node, by /proc/net: on which addresses and ports something may listen.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// State of a listening TCP socket, and of a UDP socket without a peer (Linux, include/net/tcp_states.h).
const TCP_LISTEN: &str = "0A";
const UDP_OPEN: &str = "07";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    pub protocol: Protocol,
    pub address: IpAddr,
    pub port: u16,
}

impl std::fmt::Display for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}:{}", self.protocol.as_str(), self.address, self.port)
    }
}

/// Reads /proc/net/tcp, tcp6, udp or udp6 (proc_net(5)). Addresses are in the byte order of a little-endian machine, which all
/// supported architectures are.
pub fn parse(protocol: Protocol, text: &str) -> Vec<Socket> {
    let wanted = match protocol {
        Protocol::Tcp => TCP_LISTEN,
        Protocol::Udp => UDP_OPEN,
    };
    let line = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (address, port) = fields.next()?.split_once(':')?;
        (fields.nth(1)? == wanted).then_some(())?;
        Some(Socket { protocol, address: parse_address(address)?, port: u16::from_str_radix(port, 16).ok()? })
    };
    text.lines().skip(1).filter_map(line).collect()
}

fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_le_bytes());
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (n, part) in bytes.chunks_mut(4).enumerate() {
                part.copy_from_slice(&word(8 * n)?);
            }
            let address = Ipv6Addr::from(bytes);
            Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
        }
        _ => None,
    }
}

/// Where something may listen.
#[derive(Debug, Default)]
pub struct Allowed {
    /// Networks of the planes.
    pub planes: Vec<IpNet>,
    /// Addresses of bridges of this machine, on which containers reach it, and virtual addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// Ports on any address.
    pub anywhere: BTreeSet<(Protocol, u16)>,
    /// First and last port that the kernel gives to programs that send UDP packets.
    pub ephemeral: (u16, u16),
}

impl Allowed {
    pub fn allows(&self, socket: &Socket) -> bool {
        socket.address.is_loopback()
            || self.planes.iter().any(|net| net.contains(&socket.address))
            || self.addresses.contains(&socket.address)
            || self.anywhere.contains(&(socket.protocol, socket.port))
            // A program that waits for an answer. The firewall drops everything else.
            || socket.protocol == Protocol::Udp && (self.ephemeral.0..=self.ephemeral.1).contains(&socket.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0A8C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 02004E0A:238C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1
   3: 65002C0A:8CA0 01002C0A:0050 01 00000000:00000000 00:00000000 00000000     0        0 4 1
";
    const TCP6: &str = "\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000
   1: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 00000000:00000000
   2: 0000000000000000FFFF000065002C0A:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000
";

    fn socket(protocol: Protocol, address: &str, port: u16) -> Socket {
        Socket { protocol, address: address.parse().unwrap(), port }
    }

    #[test]
    fn sockets_are_read_as_the_kernel_prints_them() {
        let tcp = |address, port| socket(Protocol::Tcp, address, port);
        assert_eq!(parse(Protocol::Tcp, TCP), [tcp("127.0.0.1", 2700), tcp("0.0.0.0", 22), tcp("10.78.0.2", 9100)]);
        assert_eq!(parse(Protocol::Tcp, TCP6), [tcp("::", 80), tcp("::1", 631), tcp("10.44.0.101", 8080)]);
        assert_eq!(parse(Protocol::Tcp, "x\n y: z\n 0: 00:00 0 0A\n"), []);
    }

    #[test]
    fn this_machine_has_what_its_kernel_says() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = std::fs::read_to_string("/proc/net/tcp").unwrap();
        assert!(parse(Protocol::Tcp, &text).contains(&socket(Protocol::Tcp, "127.0.0.1", port)));
    }

    #[test]
    fn only_the_planes_and_named_ports_are_allowed() {
        let allowed = Allowed {
            planes: ["10.78.0.0/16", "fd00:78::/64"].map(|net| net.parse().unwrap()).into(),
            addresses: ["10.88.0.1".parse().unwrap()].into(),
            anywhere: [(Protocol::Tcp, 22), (Protocol::Udp, 51821)].into(),
            ephemeral: (32768, 60999),
        };
        for (socket, ok) in [
            (socket(Protocol::Tcp, "127.8.0.1", 1), true),
            (socket(Protocol::Tcp, "::1", 1), true),
            (socket(Protocol::Tcp, "10.78.0.2", 9100), true),
            (socket(Protocol::Tcp, "10.79.0.2", 9100), false),
            (socket(Protocol::Tcp, "fd00:78::2", 9100), true),
            (socket(Protocol::Tcp, "fd00:79::2", 9100), false),
            (socket(Protocol::Udp, "10.88.0.1", 53), true),
            (socket(Protocol::Udp, "10.88.0.2", 53), false),
            (socket(Protocol::Tcp, "0.0.0.0", 22), true),
            (socket(Protocol::Udp, "0.0.0.0", 22), false),
            (socket(Protocol::Tcp, "0.0.0.0", 80), false),
            (socket(Protocol::Tcp, "::", 80), false),
            (socket(Protocol::Udp, "::", 51821), true),
            (socket(Protocol::Tcp, "10.44.0.101", 9100), false),
            (socket(Protocol::Udp, "0.0.0.0", 32767), false),
            (socket(Protocol::Udp, "0.0.0.0", 32768), true),
            (socket(Protocol::Udp, "0.0.0.0", 60999), true),
            (socket(Protocol::Udp, "0.0.0.0", 61000), false),
            (socket(Protocol::Tcp, "0.0.0.0", 40000), false),
        ] {
            assert_eq!(allowed.allows(&socket), ok, "{socket}");
        }
    }
}
