//! The kernel's neighbour table of one interface, through rtnetlink(7).
//!
//! It has two uses: to send a reply to an address that its client does not use yet (RFC 2131 section 4.1), and to make
//! the kernel send ARP requests for an address.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use cluster_seed::ids::Mac;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

// linux/rtnetlink.h, linux/netlink.h, linux/neighbour.h.
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const NUD_REACHABLE: u16 = 0x02;
const NUD_STALE: u16 = 0x04;
const NUD_DELAY: u16 = 0x08;
const NUD_PROBE: u16 = 0x10;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
const NUD_NONE: u16 = 0;
/// "Use it": the kernel sends an ARP request at once.
const NTF_USE: u8 = 0x01;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const AF_INET: u8 = 2;
const HEADER: usize = 16;
const NDMSG: usize = 12;

/// A socket to the kernel for one interface.
#[derive(Debug)]
pub struct Neighbours {
    socket: OwnedFd,
    index: u32,
    sequence: u32,
}

impl Neighbours {
    /// Needs CAP_NET_ADMIN for changes; opening alone does not.
    pub fn open(iface: &str) -> io::Result<Self> {
        let index = if_nametoindex(iface)?;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        // The kernel answers synchronously: the timeout only guards against bugs.
        setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(500))?;
        Ok(Neighbours { socket, index, sequence: 0 })
    }

    /// Adds an address to the table, so that a reply reaches a client that does not use it yet.
    pub fn learn(&mut self, ip: Ipv4Addr, mac: Mac) -> io::Result<()> {
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.change(&self.message(RTM_NEWNEIGH, flags, NUD_REACHABLE, 0, ip, Some(mac)))
    }

    /// Removes an address from the table and has the kernel send an ARP request for it. A permanent entry of the operator is
    /// kept and is an error: remote hosts influence which addresses are probed.
    pub fn ask(&mut self, ip: Ipv4Addr) -> io::Result<()> {
        let known = self.exchange(&self.message(RTM_GETNEIGH, NLM_F_REQUEST, NUD_NONE, 0, ip, None));
        if known.is_ok_and(|reply| state(&reply).is_some_and(|s| s & (NUD_PERMANENT | NUD_NOARP) != 0)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        match self.change(&self.message(RTM_DELNEIGH, NLM_F_REQUEST | NLM_F_ACK, NUD_NONE, 0, ip, None)) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
            _ => {}
        }
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
        self.change(&self.message(RTM_NEWNEIGH, flags, NUD_NONE, NTF_USE, ip, None))
    }

    /// The hardware address that answered since the probe.
    pub fn answered(&mut self, ip: Ipv4Addr) -> io::Result<Option<Mac>> {
        let message = self.message(RTM_GETNEIGH, NLM_F_REQUEST, NUD_NONE, 0, ip, None);
        let reply = match self.exchange(&message) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            other => other?,
        };
        Ok(read_neighbour(&reply))
    }

    fn message(&self, kind: u16, flags: u16, state: u16, ntf: u8, ip: Ipv4Addr, mac: Option<Mac>) -> Vec<u8> {
        let mut body = vec![AF_INET, 0, 0, 0];
        body.extend_from_slice(&self.index.to_ne_bytes());
        body.extend_from_slice(&state.to_ne_bytes());
        body.extend_from_slice(&[ntf, 0]);
        attribute(&mut body, NDA_DST, &ip.octets());
        if let Some(Mac(mac)) = mac {
            attribute(&mut body, NDA_LLADDR, &mac);
        }
        let mut out = Vec::with_capacity(HEADER + body.len());
        out.extend_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(&flags.to_ne_bytes());
        out.extend_from_slice(&self.sequence.wrapping_add(1).to_ne_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend(body);
        out
    }

    fn change(&mut self, message: &[u8]) -> io::Result<()> {
        self.exchange(message).map(|_| ())
    }

    /// One request and its answer.
    fn exchange(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        self.sequence = self.sequence.wrapping_add(1);
        sendto(self.socket.as_raw_fd(), message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut buffer = vec![0u8; 1024];
        loop {
            let len = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let reply = &buffer[..len];
            if len < HEADER || reply[8..12] != self.sequence.to_ne_bytes() {
                continue;
            }
            if u16::from_ne_bytes([reply[4], reply[5]]) != NLMSG_ERROR {
                return Ok(reply.to_vec());
            }
            let code = reply.get(16..20).map_or(-libc::EIO, |b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
            return if code == 0 { Ok(Vec::new()) } else { Err(Errno::from_raw(-code).into()) };
        }
    }
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The state in an RTM_NEWNEIGH message.
fn state(message: &[u8]) -> Option<u16> {
    let body = message.get(HEADER..)?;
    Some(u16::from_ne_bytes([*body.get(8)?, *body.get(9)?]))
}

/// The hardware address in an RTM_NEWNEIGH message, if the neighbour has answered.
fn read_neighbour(message: &[u8]) -> Option<Mac> {
    let body = message.get(HEADER..)?;
    if state(message)? & (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE) == 0 {
        return None;
    }
    let mut rest = body.get(NDMSG..)?;
    while let [a, b, c, d, ..] = rest {
        let len = usize::from(u16::from_ne_bytes([*a, *b]));
        let value = rest.get(4..len)?;
        if u16::from_ne_bytes([*c, *d]) == NDA_LLADDR {
            return value.try_into().ok().map(Mac);
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
    None
}
