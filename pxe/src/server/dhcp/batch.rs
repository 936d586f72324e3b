//! Many datagrams per system call, for the DHCP server's sockets.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, sendmsg};

use crate::dhcp::wire::MAX_PACKET;

/// Datagrams per call.
pub const BATCH: usize = 64;

/// Buffers for a batch of datagrams.
pub(crate) struct Inbox {
    buffers: Vec<Vec<u8>>,
    lengths: Vec<(usize, SocketAddrV4)>,
}

impl Inbox {
    pub fn new() -> Self {
        Inbox { buffers: vec![vec![0u8; MAX_PACKET + 1]; BATCH], lengths: Vec::with_capacity(BATCH) }
    }

    /// Receives queued datagrams, at most [`BATCH`].
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.lengths.clear();
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self.buffers.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
        match recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            Ok(received) => {
                let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
                self.lengths.extend(received.map(|m| (m.bytes, m.address.map_or(nobody, SocketAddrV4::from))));
                Ok(self.lengths.len())
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    pub fn get(&self, n: usize) -> (&[u8], SocketAddrV4) {
        let (len, from) = self.lengths[n];
        (&self.buffers[n][..len], from)
    }
}

/// Sends from the server's own address, whatever the routing table prefers. One result per datagram.
pub(crate) fn send_all(socket: &UdpSocket, from: Ipv4Addr, batch: &[(&[u8], SocketAddrV4)]) -> Vec<Result<(), Errno>> {
    let info = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: u32::from(from).to_be() },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let control = [ControlMessage::Ipv4PacketInfo(&info)];
    let slices: Vec<[IoSlice<'_>; 1]> = batch.iter().map(|(bytes, _)| [IoSlice::new(bytes)]).collect();
    let to: Vec<Option<SockaddrIn>> = batch.iter().map(|(_, to)| Some(SockaddrIn::from(*to))).collect();
    let mut results = Vec::with_capacity(batch.len());
    while results.len() < batch.len() {
        let at = results.len();
        let end = batch.len().min(at + BATCH);
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(end - at, Some(cmsg_space!(libc::in_pktinfo)));
        let flags = MsgFlags::MSG_DONTWAIT;
        match sendmmsg(socket.as_raw_fd(), &mut headers, slices[at..end].iter(), &to[at..end], control, flags) {
            Ok(sent) => results.extend(sent.map(|_| Ok(()))),
            // The error belongs to the first datagram; send it alone to get its result.
            Err(_) => {
                let alone = sendmsg(socket.as_raw_fd(), &slices[at], &control, flags, to[at].as_ref());
                results.push(alone.map(|_| ()));
            }
        }
    }
    results
}
