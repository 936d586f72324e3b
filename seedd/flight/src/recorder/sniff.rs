//! Captures packets on the netboot interface (packet(7)), for the download on a machine's page and to see the replies of other
//! DHCP servers. It never sends, and a kernel filter passes only packets that belong to booting.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use cluster_seed::events::EventKind;
use cluster_seed::ids::Mac;
use host::clock::now_ns;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, socket};
use site::store::events::PacketFacts;
use socket2::{SockFilter, Socket};

use super::frame::{Seen, What, read};
use super::ring::{Packet, Ring};
use super::{Queue, WireEvent};

/// Bytes kept of a frame.
const SNAP: usize = 1_600;
/// How often the thread checks whether it should stop.
const LOOK: Duration = Duration::from_millis(500);

/// Stops capturing when it is dropped.
pub struct Sniffer {
    stop: Arc<AtomicBool>,
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The interface's own hardware address, and where to bind.
fn link(iface: &str) -> Result<(Mac, LinkAddr)> {
    let all = getifaddrs().context("listing interfaces")?;
    let found = all.filter(|a| a.interface_name == iface).find_map(|a| a.address?.as_link_addr().copied());
    let link = found.ok_or_else(|| anyhow!("interface {iface:?} has no hardware address"))?;
    Ok((Mac(link.addr().ok_or_else(|| anyhow!("interface {iface:?} is not an Ethernet interface"))?), link))
}

/// Starts capturing on a separate thread.
pub fn start(iface: &str, seed: Ipv4Addr, ring: Arc<Ring>, queue: Queue) -> Result<Sniffer> {
    let (own, address) = link(iface)?;
    let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
        .context("opening a packet socket")?;
    let fd = Socket::from(fd);
    let filter: Vec<_> = FILTER.iter().map(|(code, jt, jf, k)| SockFilter::new(*code, *jt, *jf, *k)).collect();
    fd.attach_filter(&filter).context("setting the filter of the packet socket")?;
    bind(fd.as_raw_fd(), &address).with_context(|| format!("listening on interface {iface}"))?;
    // Packets that arrived between the two calls may be from another interface.
    fd.set_nonblocking(true).context("preparing the packet socket")?;
    let mut other = [0u8; 1];
    while recv(fd.as_raw_fd(), &mut other, MsgFlags::empty()).is_ok() {}
    fd.set_nonblocking(false).context("preparing the packet socket")?;
    fd.set_read_timeout(Some(LOOK)).context("preparing the packet socket")?;
    let stop = Arc::new(AtomicBool::new(false));
    let (asked, iface) = (stop.clone(), iface.to_owned());
    std::thread::Builder::new()
        .name("sniffer".to_owned())
        .spawn(move || listen(&fd, &asked, own, seed, &iface, &ring, &queue))
        .context("starting the capture thread")?;
    Ok(Sniffer { stop })
}

fn listen(fd: &Socket, stop: &AtomicBool, own: Mac, seed: Ipv4Addr, iface: &str, ring: &Ring, queue: &Queue) {
    let mut buffer = vec![0u8; SNAP];
    while !stop.load(Ordering::Relaxed) {
        // MSG_TRUNC: returns the length on the wire even if the buffer is shorter.
        let length = match recv(fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC) {
            Ok(length) => length,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => continue,
            // The interface is down; it may come up again.
            Err(error) => {
                tracing::debug!(%error, iface, "listening for packets");
                std::thread::sleep(LOOK);
                continue;
            }
        };
        let bytes = &buffer[..length.min(SNAP)];
        let Some(seen) = read(bytes, own, seed) else { continue };
        let packet = Packet { at: now_ns(), length: u32::try_from(length).unwrap_or(u32::MAX), bytes: bytes.into() };
        let at = packet.at / 1_000_000;
        ring.push(seen.mac, seen.what == What::Granted, packet);
        if let Some(event) = event(&seen, at, iface) {
            queue.put(event);
        }
    }
}

/// The text of events about other servers.
fn event(seen: &Seen, at: u64, iface: &str) -> Option<WireEvent> {
    let facts = |xid: u32, server| PacketFacts {
        iface: Some(iface.to_owned()),
        xid: Some(format!("{xid:08x}")),
        server: Some(server),
        ..PacketFacts::default()
    };
    let (kind, text, facts) = match seen.what {
        What::Foreign { server, offered, xid, ack, boot } => {
            let says = if ack { "assigned" } else { "offered" };
            let also = if boot { ", with a boot file" } else { ", without a boot file" };
            let kind = if ack { EventKind::DhcpForeignAck } else { EventKind::DhcpForeignOffer };
            let facts =
                PacketFacts { file: boot.then(|| "another server's".to_owned()), ip: Some(offered), ..facts(xid, server) };
            (kind, format!("another DHCP server, {server}, {says} {offered}{also}"), facts)
        }
        What::TookOther { server, xid } => {
            (EventKind::DhcpForeignChosen, format!("it accepts the offer of another DHCP server, {server}"), facts(xid, server))
        }
        What::Other | What::Granted => return None,
    };
    Some(WireEvent { text, mac: Some(seen.mac), facts, ..WireEvent::new(at, kind) })
}

/// One instruction: code, jump if true, jump if false, constant.
type Op = (u16, u8, u8, u32);

/// BPF codes (linux/filter.h): loads of a halfword and a byte at a fixed or indexed place, the index of the IPv4 header,
/// jumps, the answer.
const LDH: u16 = 0x28;
const LDB: u16 = 0x30;
const LDH_X: u16 = 0x48;
const LDXB_MSH: u16 = 0xb1;
const JEQ: u16 = 0x15;
const JSET: u16 = 0x45;
const RET: u16 = 0x06;
const ALL: u32 = 0x4_0000;

/// ARP; UDP on ports 67, 68, 69 and 4011; and of TFTP transfers, which use their own ports, the packets that show their
/// outcome: option acknowledgments, errors, and the first block with its answer.
const FILTER: &[Op] = &[
    (LDH, 0, 0, 12),
    (JEQ, 19, 0, 0x0806),  //  1: ARP → accept (21)
    (JEQ, 0, 19, 0x0800),  //  2: not IPv4 → drop (22)
    (LDB, 0, 0, 23),       //  3
    (JEQ, 0, 17, 17),      //  4: not UDP → drop
    (LDH, 0, 0, 20),       //  5
    (JSET, 15, 0, 0x1fff), //  6: a later fragment → drop
    (LDXB_MSH, 0, 0, 14),  //  7: X = length of the IPv4 header
    (LDH_X, 0, 0, 14),     //  8: source port
    (JEQ, 11, 0, 67),      //  9
    (JEQ, 10, 0, 69),      // 10
    (JEQ, 9, 0, 4011),     // 11
    (LDH_X, 0, 0, 16),     // 12: destination port
    (JEQ, 7, 0, 67),       // 13
    (JEQ, 6, 0, 69),       // 14
    (JEQ, 5, 0, 4011),     // 15
    (LDH_X, 0, 0, 22),     // 16: TFTP's opcode
    (JEQ, 3, 0, 6),        // 17: OACK
    (JEQ, 2, 0, 5),        // 18: ERROR
    (LDH_X, 0, 0, 24),     // 19: the block's number, of DATA and ACK
    (JEQ, 0, 1, 1),        // 20: not the first → drop
    (RET, 0, 0, ALL),      // 21
    (RET, 0, 0, 0),        // 22
];

#[cfg(test)]
mod tests;
