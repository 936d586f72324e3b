//! The TFTP server's listener: requests on port 69, one socket per transfer, transfers on a few threads.

mod places;
mod shared;
mod worker;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;

use self::places::{Active, Place, Places};
use self::shared::{Job, Order, Shared, tftp_event};
use self::worker::Worker;
use super::bind::{BindError, udp_on};
use super::wake::event_fd;
use crate::counters::{Count, Counters};
use crate::dhcp::presence::Presence;
use crate::policy::{Abort, BootEventKind, BootPolicy, TransferError};
use crate::subnet::Subnet;
use crate::tftp::files::FileTable;
use crate::tftp::limits::{Limits, MAX_DATAGRAM, MAX_WORKERS, SERVER_PORT};
use crate::tftp::packet::{MAX_REQUEST, Packet, PacketError, ReadRequest, code, error_packet, has_name, parse, shown_name};
use crate::tftp::transfer::Transfer;

/// Transfers assigned to one thread before the next is used: a busy thread finds many packets at each wake-up, and waking a
/// thread costs more than handling a packet.
const FILL: usize = 128;
/// Pause after a receive error (interface down), so that the loop does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
#[derive(Debug, Clone)]
pub struct TftpConfig {
    pub iface: String,
    /// The address clients use; transfers answer from it.
    pub address: Ipv4Addr,
    /// Only addresses of this network are answered,
    pub on_link: Subnet,
    /// and of these networks behind relays.
    pub relayed: Vec<Subnet>,
    pub limits: Limits,
    /// Most concurrent transfers.
    pub max_transfers: usize,
    /// Most concurrent transfers per address.
    pub max_per_address: usize,
    /// Threads that run transfers, 1 to [`MAX_WORKERS`].
    pub workers: usize,
    /// Where to report machines that fetched a file.
    pub presence: Arc<Presence>,
}

impl TftpConfig {
    /// The defaults: 512 transfers in total, 8 per address, one thread per two processors up to [`MAX_WORKERS`]. The remaining
    /// processors are left for DHCP, HTTP and the kernel.
    pub fn new(iface: &str, address: Ipv4Addr, on_link: Subnet) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, |n| (n.get() / 2).clamp(1, MAX_WORKERS));
        TftpConfig {
            iface: iface.to_owned(),
            address,
            on_link,
            relayed: Vec::new(),
            limits: Limits::default(),
            max_transfers: 512,
            max_per_address: 8,
            workers,
            presence: Arc::default(),
        }
    }

    fn answers(&self, ip: Ipv4Addr) -> bool {
        self.on_link.is_host(ip) || self.relayed.iter().any(|net| net.is_host(ip))
    }
}

pub struct TftpServer {
    socket: UdpSocket,
    config: TftpConfig,
    files: Arc<FileTable>,
    policy: Arc<dyn BootPolicy>,
    counters: Arc<Counters>,
}

impl TftpServer {
    /// Opens port 69 on the interface.
    pub fn bind(config: TftpConfig, files: Arc<FileTable>, policy: Arc<dyn BootPolicy>) -> Result<Self, BindError> {
        let socket = udp_on(&config.iface, SocketAddrV4::new(config.address, SERVER_PORT), false)?;
        Ok(TftpServer { socket, config, files, policy, counters: Arc::default() })
    }

    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Serves until `shutdown` completes; running transfers end with it.
    ///
    /// The server has its own threads: a packet takes one system call to read and one to answer, and the wake-ups of an async
    /// runtime would cost more than both (adr/0016).
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let shared = Arc::new(Shared {
            iface: self.config.iface.as_str().into(),
            policy: self.policy,
            counters: self.counters,
            active: Mutex::new(Places::new(self.config.max_transfers, self.config.max_per_address)),
            stop: AtomicBool::new(false),
            began: Instant::now(),
            presence: self.config.presence.clone(),
        });
        let mut listener =
            Listener { socket: self.socket, config: self.config, files: self.files, shared, workers: Vec::new(), next: 0 };
        let mut threads = Vec::new();
        let started = listener.start_workers(&mut threads).and_then(|()| event_fd());
        let (shared, wakes) = (listener.shared.clone(), listener.wakes());
        match started {
            Ok(wake) => {
                let own = wake.clone();
                threads.extend(std::thread::Builder::new().name("tftp".into()).spawn(move || listener.run(&own)).ok());
                shutdown.await;
                shared.stop.store(true, Ordering::Relaxed);
                let _ = wake.write(1);
            }
            Err(error) => {
                tracing::error!(%error, "starting the TFTP server's threads; TFTP is not served");
                shared.stop.store(true, Ordering::Relaxed);
            }
        }
        for wake in wakes {
            let _ = wake.write(1);
        }
        let _ = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|t| drop(t.join()))).await;
    }
}

struct Listener {
    socket: UdpSocket,
    config: TftpConfig,
    files: Arc<FileTable>,
    shared: Arc<Shared>,
    workers: Vec<(Sender<Order>, Arc<EventFd>)>,
    next: u64,
}

impl Listener {
    fn start_workers(&mut self, threads: &mut Vec<std::thread::JoinHandle<()>>) -> io::Result<()> {
        for n in 0..self.config.workers.clamp(1, MAX_WORKERS) {
            let (sender, orders) = channel();
            let wake = event_fd()?;
            let worker = Worker::new(self.shared.clone(), wake.clone(), orders)?;
            threads.push(std::thread::Builder::new().name(format!("tftp-{n}")).spawn(move || worker.run())?);
            self.workers.push((sender, wake));
        }
        Ok(())
    }

    fn wakes(&self) -> Vec<Arc<EventFd>> {
        self.workers.iter().map(|(_, wake)| wake.clone()).collect()
    }

    fn run(mut self, wake: &EventFd) {
        let mut buffer = vec![0u8; MAX_DATAGRAM];
        while !self.shared.stop.load(Ordering::Relaxed) {
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN), PollFd::new(wake.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::NONE);
            match self.socket.recv_from(&mut buffer) {
                Ok((len, SocketAddr::V4(from))) => self.handle(&buffer[..len], from),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => {
                    self.shared.counters.add(Count::ReceiveError);
                    tracing::warn!(iface = %self.shared.iface, %error, "receiving TFTP packets failed");
                    std::thread::sleep(ERROR_PAUSE);
                }
            }
        }
    }

    fn handle(&mut self, bytes: &[u8], from: SocketAddrV4) {
        // A longer request is padded, or has more options than RFC 2347 allows.
        let is_read = bytes.starts_with(&[0, 1]);
        let bytes = if is_read { &bytes[..bytes.len().min(MAX_REQUEST)] } else { bytes };
        if !self.config.answers(*from.ip()) || from.port() == 0 {
            self.shared.counters.add(Count::TftpOffLink);
            return self.record(bytes, from, TransferError::OffLink);
        }
        match parse(bytes) {
            Ok(Packet::Read(request)) => self.read_request(bytes, request, from),
            Ok(Packet::Write) => self.refuse(bytes, from, Count::TftpRefused, code::ACCESS, TransferError::ReadOnly),
            // The mode matters only for a file that is there.
            Err(PacketError::Mode | PacketError::Unterminated)
                if has_name(bytes) && self.files.find(&shown_name(bytes)).is_some() =>
            {
                self.refuse(bytes, from, Count::TftpRefused, code::ILLEGAL, TransferError::Mode);
            }
            // Whatever cannot be a name is the name of no file: shim, which asks for the text of its own boot entry, goes on to
            // GRUB after this code only.
            Err(_) if is_read => self.refuse(bytes, from, Count::TftpMalformed, code::NOT_FOUND, TransferError::NoSuchFile),
            // Data, ACK and ERROR belong to a transfer's port; answering them could start a loop.
            Ok(_) | Err(_) => {
                self.shared.counters.add(Count::TftpMalformed);
                self.record(&[], from, TransferError::NotARequest);
            }
        }
    }

    fn read_request(&mut self, bytes: &[u8], request: ReadRequest, from: SocketAddrV4) {
        self.shared.counters.add(Count::TftpRequest);
        let Some(file) = self.files.find(&request.name) else {
            return self.refuse(bytes, from, Count::TftpNotFound, code::NOT_FOUND, TransferError::NoSuchFile);
        };
        let shared = self.shared.clone();
        let mut active = shared.active.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = active.running.get(&from) {
            if old.request == request && !old.contacted.load(Ordering::Relaxed) {
                // The first answer was sent or will be repeated; a second transfer would answer twice.
                self.shared.counters.add(Count::TftpDuplicate);
                return;
            }
            self.order(old.worker, Order::Abort(old.id, Abort::Replaced));
            active.running.remove(&from);
        }
        let now = shared.began.elapsed();
        match active.find(*from.ip(), now) {
            Place::Free => {}
            Place::Instead(old) => {
                self.shared.counters.add(Count::TftpPushedOut);
                self.order(old.worker, Order::Abort(old.id, Abort::PushedOut));
            }
            // No answer: the client retries, while an ERROR would abort its boot.
            Place::None => return self.shared.counters.add(Count::TftpBusy),
        }
        let socket = udp_on(&self.config.iface, SocketAddrV4::new(self.config.address, 0), false);
        let socket = match socket.map_err(|e| e.to_string()).and_then(|s| s.connect(from).map(|()| s).map_err(|e| e.to_string()))
        {
            Ok(socket) => socket,
            Err(error) => {
                self.shared.counters.add(Count::TftpBusy);
                tracing::warn!(iface = %self.shared.iface, %error, "opening a transfer's socket failed");
                return;
            }
        };
        self.next += 1;
        let (id, worker) = (self.next, choose(active.running.values().map(|a| a.worker), self.workers.len()));
        let contacted = Arc::new(AtomicBool::new(false));
        let transfer = Transfer::new(file, &request, self.config.limits);
        let name = request.name.clone();
        active.running.insert(from, Active { id, request, contacted: contacted.clone(), worker, since: now });
        drop(active);
        self.order(worker, Order::Start(Box::new(Job { id, transfer, socket, client: from, name, contacted })));
    }

    fn order(&self, worker: usize, order: Order) {
        let (sender, wake) = &self.workers[worker];
        if sender.send(order).is_ok() {
            let _ = wake.write(1);
        }
    }

    fn refuse(&self, request: &[u8], to: SocketAddrV4, count: Count, code: u16, why: TransferError) {
        self.shared.counters.add(count);
        // Best effort: a client that misses the answer retries.
        let _ = self.socket.send_to(&error_packet(code, &why.to_string()), to);
        self.record(request, to, why);
    }

    fn record(&self, request: &[u8], from: SocketAddrV4, why: TransferError) {
        let kind = BootEventKind::TftpError(why);
        self.shared.policy.observe(&tftp_event(kind, &self.shared.iface, from, &shown_name(request), None));
    }
}

/// The thread for another transfer: the first with room, or the one with the fewest. `busy` is the thread of each running
/// transfer.
fn choose(busy: impl Iterator<Item = usize>, workers: usize) -> usize {
    let mut counts = [0; MAX_WORKERS];
    busy.for_each(|worker| counts[worker] += 1);
    let counts = &counts[..workers];
    let fewest = || (0..workers).min_by_key(|w| counts[*w]).unwrap_or(0);
    counts.iter().position(|n| *n < FILL).unwrap_or_else(fewest)
}

#[cfg(test)]
mod tests;
