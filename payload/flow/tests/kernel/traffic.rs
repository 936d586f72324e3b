//! Transfers between the namespaces.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use super::lab::{LONG, Node};

/// Sends `bytes` over one TCP connection; the receiver answers nothing and closes when it has everything.
pub fn tcp(from: &Node, to: &Node, address: &str, port: u16, bytes: usize) {
    let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
    let (ready, wait) = std::sync::mpsc::channel();
    let server = to.inside(move || {
        let listener = TcpListener::bind(address).unwrap();
        ready.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut held = Vec::new();
        stream.read_to_end(&mut held).unwrap();
        held.len()
    });
    wait.recv_timeout(LONG).unwrap();
    let client = from.inside(move || {
        let mut stream = TcpStream::connect_timeout(&address, LONG).unwrap();
        stream.write_all(&vec![7; bytes]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // Until the other side has closed.
        stream.set_read_timeout(Some(LONG)).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    });
    client.join().unwrap();
    assert_eq!(server.join().unwrap(), bytes);
}

/// Sends datagrams from any port; nobody receives them.
pub fn udp(from: &Node, address: &str, port: u16, datagrams: usize, size: usize) {
    udp_from(0, from, address, port, datagrams, size);
}

/// The same from one port.
pub fn udp_from(source: u16, from: &Node, address: &str, port: u16, datagrams: usize, size: usize) {
    let to = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
    let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
    let any = SocketAddr::new(any.parse::<IpAddr>().unwrap(), source);
    let sender = from.inside(move || {
        let socket = UdpSocket::bind(any).unwrap();
        // Not connected: an answer "port unreachable" is no error then.
        (0..datagrams).for_each(|_| assert_eq!(socket.send_to(&vec![7; size], to).unwrap(), size));
    });
    sender.join().unwrap();
}

/// True if a connection was made within two seconds.
pub fn reaches(from: &Node, address: &str, port: u16) -> bool {
    let to = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
    let client = from.inside(move || TcpStream::connect_timeout(&to, std::time::Duration::from_secs(2)).is_ok());
    client.join().unwrap()
}
