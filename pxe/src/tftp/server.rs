//! The TFTP server's sockets: requests on port 69, one socket and one task per transfer.

use std::collections::HashMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::packet::{Packet, PacketError, ReadRequest, code, error_packet, parse};
use super::transfer::{Limits, Status, Step, Transfer};
use crate::bind::{BindError, udp_on};
use crate::counters::{Count, Counters};
use crate::policy::{BootEvent, BootPolicy, EventKind};
use crate::subnet::Subnet;

pub const SERVER_PORT: u16 = 69;
/// A transfer that is still running after this time is ended, however steady: it holds a slot.
pub const MAX_DURATION: Duration = Duration::from_secs(900);
/// Pause after a receive error (interface down), so that the loop does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// The longest datagram read.
const MAX_DATAGRAM: usize = 1_500;

/// The files served: a name is a key here and never reaches a file system.
#[derive(Debug, Default)]
pub struct FileTable(RwLock<HashMap<String, Arc<[u8]>>>);

impl FileTable {
    pub fn new(files: impl IntoIterator<Item = (String, Arc<[u8]>)>) -> Self {
        FileTable(RwLock::new(files.into_iter().collect()))
    }

    /// Replaces all files at once. Transfers that run keep what they started with.
    pub fn replace(&self, files: impl IntoIterator<Item = (String, Arc<[u8]>)>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = files.into_iter().collect();
    }

    /// The file of that name; one leading `/`, which some firmware adds, is not part of it.
    pub fn get(&self, name: &str) -> Option<Arc<[u8]>> {
        let files = self.0.read().unwrap_or_else(PoisonError::into_inner);
        files.get(name).or_else(|| files.get(name.strip_prefix('/')?)).cloned()
    }
}

#[derive(Debug, Clone)]
pub struct TftpConfig {
    pub iface: String,
    /// The address clients use; transfers answer from it.
    pub address: Ipv4Addr,
    /// Only addresses of this network are answered.
    pub on_link: Subnet,
    pub limits: Limits,
    /// Transfers at once.
    pub max_transfers: usize,
    /// Transfers at once of one address.
    pub max_per_address: usize,
}

impl TftpConfig {
    /// The defaults: 512 transfers in all, 8 of one address.
    pub fn new(iface: &str, address: Ipv4Addr, on_link: Subnet) -> Self {
        let limits = Limits::default();
        TftpConfig { iface: iface.to_owned(), address, on_link, limits, max_transfers: 512, max_per_address: 8 }
    }
}

pub struct TftpServer {
    socket: UdpSocket,
    iface: Arc<str>,
    config: TftpConfig,
    files: Arc<FileTable>,
    policy: Arc<dyn BootPolicy>,
    counters: Arc<Counters>,
    tasks: JoinSet<()>,
    active: HashMap<SocketAddrV4, Active>,
    by_task: HashMap<Id, SocketAddrV4>,
}

struct Active {
    request: ReadRequest,
    contacted: Arc<AtomicBool>,
    abort: AbortHandle,
}

impl TftpServer {
    /// Opens port 69 on the interface.
    pub async fn bind(config: TftpConfig, files: Arc<FileTable>, policy: Arc<dyn BootPolicy>) -> Result<Self, BindError> {
        let socket = udp_on(&config.iface, SocketAddrV4::new(config.address, SERVER_PORT), false)?;
        Ok(TftpServer {
            socket,
            iface: config.iface.as_str().into(),
            config,
            files,
            policy,
            counters: Arc::new(Counters::default()),
            tasks: JoinSet::new(),
            active: HashMap::new(),
            by_task: HashMap::new(),
        })
    }

    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Serves until `shutdown` completes; running transfers end with it.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        let mut buffer = vec![0u8; MAX_DATAGRAM];
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => self.forget(ended),
                received = self.socket.recv_from(&mut buffer) => match received {
                    Ok((len, SocketAddr::V4(from))) => self.handle(&buffer[..len], from).await,
                    Ok(_) => {}
                    Err(error) => {
                        self.counters.add(Count::ReceiveError);
                        tracing::warn!(iface = %self.iface, %error, "receiving TFTP packets failed");
                        tokio::time::sleep(ERROR_PAUSE).await;
                    }
                },
            }
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
        if let Some(client) = self.by_task.remove(&id)
            && self.active.get(&client).is_some_and(|a| a.abort.id() == id)
        {
            self.active.remove(&client);
        }
    }

    async fn handle(&mut self, bytes: &[u8], from: SocketAddrV4) {
        if !self.config.on_link.is_host(*from.ip()) || from.port() == 0 {
            self.counters.add(Count::TftpOffLink);
            return;
        }
        match parse(bytes) {
            Ok(Packet::Read(request)) => self.read_request(request, from).await,
            Ok(Packet::Write) => self.refuse(from, Count::TftpRefused, code::ACCESS, "this server is read-only").await,
            Err(PacketError::Mode) => self.refuse(from, Count::TftpRefused, code::ILLEGAL, "only mode octet is served").await,
            Err(PacketError::Name | PacketError::Options | PacketError::TooLong) => {
                self.refuse(from, Count::TftpMalformed, code::ILLEGAL, "malformed request").await;
            }
            // Data, ACK and ERROR belong to a transfer's own port; an answer could start a loop.
            Ok(_) | Err(_) => self.counters.add(Count::TftpMalformed),
        }
    }

    async fn read_request(&mut self, request: ReadRequest, from: SocketAddrV4) {
        self.counters.add(Count::TftpRequest);
        let Some(file) = self.files.get(&request.name) else {
            self.refuse(from, Count::TftpNotFound, code::NOT_FOUND, "no such file").await;
            let kind = EventKind::TftpError { why: "no such file".into() };
            self.policy.observe(&tftp_event(kind, &self.iface, from, &request.name, None));
            return;
        };
        if let Some(active) = self.active.get(&from) {
            if active.request == request && !active.contacted.load(Ordering::Relaxed) {
                // The first answer is on its way or will be repeated: a second transfer would answer twice.
                self.counters.add(Count::TftpDuplicate);
                return;
            }
            active.abort.abort();
            self.active.remove(&from);
            self.counters.add(Count::TftpAborted);
            let kind = EventKind::TftpAborted { why: "replaced by a new request".into() };
            self.policy.observe(&tftp_event(kind, &self.iface, from, &request.name, None));
        }
        let of_address = self.active.keys().filter(|client| client.ip() == from.ip()).count();
        if self.active.len() >= self.config.max_transfers || of_address >= self.config.max_per_address {
            // Silence: the client asks again, an ERROR would end its boot.
            self.counters.add(Count::TftpBusy);
            return;
        }
        self.start(request, file, from).await;
    }

    async fn start(&mut self, request: ReadRequest, file: Arc<[u8]>, from: SocketAddrV4) {
        let local = SocketAddrV4::new(self.config.address, 0);
        let socket = match udp_on(&self.config.iface, local, false) {
            Ok(socket) => socket,
            Err(error) => {
                self.counters.add(Count::TftpBusy);
                tracing::warn!(iface = %self.iface, %error, "opening a transfer's socket failed");
                return;
            }
        };
        let contacted = Arc::new(AtomicBool::new(false));
        let run = Run {
            transfer: Transfer::new(file, &request, self.config.limits),
            socket,
            client: from,
            name: request.name.clone(),
            iface: self.iface.clone(),
            policy: self.policy.clone(),
            counters: self.counters.clone(),
            contacted: contacted.clone(),
        };
        let abort = self.tasks.spawn(run.run());
        self.by_task.insert(abort.id(), from);
        self.active.insert(from, Active { request, contacted, abort });
    }

    async fn refuse(&self, to: SocketAddrV4, count: Count, code: u16, text: &str) {
        self.counters.add(count);
        // Nobody waits for it: a client that misses the answer asks again.
        let _ = self.socket.send_to(&error_packet(code, text), to).await;
    }
}

struct Run {
    transfer: Transfer,
    socket: UdpSocket,
    client: SocketAddrV4,
    name: String,
    iface: Arc<str>,
    policy: Arc<dyn BootPolicy>,
    counters: Arc<Counters>,
    contacted: Arc<AtomicBool>,
}

impl Run {
    async fn run(mut self) {
        self.counters.add(Count::TftpStarted);
        self.observe(EventKind::TftpStarted, None);
        let kind = match tokio::time::timeout(MAX_DURATION, self.serve()).await {
            Ok(Ok(Status::Done)) => EventKind::TftpDone,
            Ok(Ok(Status::Aborted { message })) => EventKind::TftpAborted { why: message },
            Ok(Ok(Status::TimedOut | Status::Running)) => EventKind::TftpError { why: "the client fell silent".into() },
            Ok(Err(error)) => EventKind::TftpError { why: error.to_string() },
            Err(_) => EventKind::TftpError { why: format!("not done in {} s", MAX_DURATION.as_secs()) },
        };
        self.counters.add(match kind {
            EventKind::TftpDone => Count::TftpDone,
            EventKind::TftpAborted { .. } => Count::TftpAborted,
            _ => Count::TftpFailed,
        });
        let bytes = self.transfer.acked_bytes();
        self.counters.add_tftp_bytes(bytes);
        self.observe(kind, Some(bytes));
    }

    async fn serve(&mut self) -> std::io::Result<Status> {
        // Connected, the kernel drops packets of other senders and reports a closed port at once.
        self.socket.connect(self.client).await?;
        let mut buffer = vec![0u8; MAX_DATAGRAM];
        let mut step = self.transfer.start();
        let mut deadline = Instant::now();
        loop {
            let Step { send, rearm, status } = step;
            for packet in &send {
                match self.socket.send(packet).await {
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Err(error),
                    // A full queue or a firewall's drop is a lost packet like any other.
                    Ok(_) | Err(_) => {}
                }
            }
            if status != Status::Running {
                return Ok(status);
            }
            if rearm {
                deadline = Instant::now() + self.transfer.timeout();
            }
            step = match tokio::time::timeout_at(deadline, self.socket.recv(&mut buffer)).await {
                Ok(received) => self.transfer.on_packet(&buffer[..received?]),
                Err(_) => self.transfer.on_timeout(),
            };
            self.contacted.store(self.transfer.contacted(), Ordering::Relaxed);
        }
    }

    fn observe(&self, kind: EventKind, bytes: Option<u64>) {
        self.policy.observe(&tftp_event(kind, &self.iface, self.client, &self.name, bytes));
    }
}

fn tftp_event(kind: EventKind, iface: &Arc<str>, client: SocketAddrV4, name: &str, bytes: Option<u64>) -> BootEvent {
    BootEvent { ip: Some(*client.ip()), file: Some(name.to_owned()), bytes, ..BootEvent::new(kind, iface.clone()) }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
