//! Opening a UDP socket on exactly one interface, with errors an operator can act on.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use host::random::RandomError;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce};
use socket2::{Domain, Protocol, Socket, Type};

use crate::dhcp::config::ConfigError;

/// Receive buffer of the DHCP server in bytes: about 3,500 packets.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Why a server could not start on its interface.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("interface {iface:?} does not exist")]
    NoSuchInterface { iface: String },
    #[error("UDP port {port} on interface {iface} is in use")]
    PortInUse { iface: String, port: u16 },
    #[error("not permitted to open UDP port {port} on interface {iface}")]
    NotPermitted { iface: String, port: u16 },
    #[error("interface {iface} does not have the address {address}")]
    NoSuchAddress { iface: String, address: Ipv4Addr },
    #[error("opening UDP port {port} on interface {iface}")]
    Socket { iface: String, port: u16, source: io::Error },
    #[error("configuration of interface {iface}")]
    Config { iface: String, source: ConfigError },
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl BindError {
    /// The remedy, in one line.
    pub fn hint(&self) -> String {
        match self {
            BindError::NoSuchInterface { .. } => "`ip -brief link` lists the interfaces of this host".into(),
            BindError::PortInUse { port, .. } => {
                format!("`ss -ulpn 'sport = :{port}'` shows the server that uses it (often dnsmasq or tftpd-hpa); stop it")
            }
            BindError::NotPermitted { .. } => "run as root, or with CAP_NET_BIND_SERVICE and CAP_NET_RAW".into(),
            BindError::NoSuchAddress { iface, address } => {
                format!("add the address first: `ip address add {address}/PREFIX dev {iface}`")
            }
            BindError::Socket { iface, .. } => format!("`ip address show dev {iface}` shows the state of the interface"),
            BindError::Config { .. } => "correct the dhcp section of cluster.yaml".into(),
            BindError::Random(_) => "`dmesg` shows what is wrong with this kernel's random numbers".into(),
        }
    }
}

/// Opens a nonblocking UDP socket bound to `iface` (SO_BINDTODEVICE) and `address`.
///
/// SO_REUSEADDR is not set: a second server on the port must be an error, not silently share it.
pub(crate) fn udp_on(iface: &str, address: SocketAddrV4, broadcast: bool) -> Result<std::net::UdpSocket, BindError> {
    open(iface, address, broadcast, false)
}

/// The same, sharing the port with other programs: a DHCP client on this host uses 68 too.
pub(crate) fn udp_shared_on(iface: &str, address: SocketAddrV4) -> Result<std::net::UdpSocket, BindError> {
    open(iface, address, true, true)
}

fn open(iface: &str, address: SocketAddrV4, broadcast: bool, shared: bool) -> Result<std::net::UdpSocket, BindError> {
    let failed = |source: io::Error| -> BindError {
        let (iface, port) = (iface.to_owned(), address.port());
        match source.raw_os_error() {
            Some(libc::ENODEV) => BindError::NoSuchInterface { iface },
            Some(libc::EADDRINUSE) => BindError::PortInUse { iface, port },
            Some(libc::EPERM | libc::EACCES) => BindError::NotPermitted { iface, port },
            Some(libc::EADDRNOTAVAIL) => BindError::NoSuchAddress { iface, address: *address.ip() },
            _ => BindError::Socket { iface, port, source },
        }
    };
    if iface.is_empty() || iface.len() >= libc::IFNAMSIZ || iface.contains(['\0', '/']) {
        return Err(BindError::NoSuchInterface { iface: iface.chars().take(libc::IFNAMSIZ).collect() });
    }
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).map_err(failed)?;
    // Before bind(): the kernel then lets several interfaces hold the same port.
    socket.bind_device(Some(iface.as_bytes())).map_err(failed)?;
    socket.set_reuse_address(shared).map_err(failed)?;
    socket.set_broadcast(broadcast).map_err(failed)?;
    if broadcast {
        // For a rack that powers on at once. Root may exceed the kernel's limit; without that right the limit applies.
        let _ = setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).or_else(|_| setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER));
    }
    socket.set_nonblocking(true).map_err(failed)?;
    socket.bind(&address.into()).map_err(failed)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_does_not_exist_is_named_with_a_hint() {
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        for name in ["nonesuch0", "", "a-name-longer-than-15", "a\0b"] {
            let error = udp_on(name, any, true).unwrap_err();
            assert!(matches!(error, BindError::NoSuchInterface { .. }), "{name:?}: {error}");
            assert!(error.hint().contains("ip -brief link"));
        }
    }

    #[test]
    fn a_port_in_use_and_a_foreign_address_are_told_apart() {
        let first = udp_on("lo", SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), false).unwrap();
        let port = first.local_addr().unwrap().port();
        let error = udp_on("lo", SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), false).unwrap_err();
        assert!(matches!(error, BindError::PortInUse { port: p, .. } if p == port), "{error}");
        assert!(error.hint().contains(&port.to_string()));

        let foreign = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 0);
        let error = udp_on("lo", foreign, false).unwrap_err();
        assert!(matches!(error, BindError::NoSuchAddress { .. }), "{error}");
    }
}
