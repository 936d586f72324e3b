//! The DHCP server's socket: receives on one interface, commits leases, sends.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use cluster_seed::ids::Mac;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::bind::{BindError, udp_on};
use crate::counters::{Count, Counters};
use crate::leases::{LeaseRecord, LeaseTable, PoolConfig, Reservation};
use crate::loader::LoaderTable;
use crate::offer::ReplyConfig;
use crate::policy::{BootEvent, BootPolicy, EventKind};
use crate::request::Facts;
use crate::responder::{Outcome, Reply, Responder, SERVER_PORT};
use crate::subnet::Subnet;
use crate::why::Why;

/// The most leases that wait for the disk at once. Beyond it REQUESTs are dropped; clients repeat them.
pub const MAX_PENDING: usize = 4_096;
/// Pause after a receive error (interface down), so that the loop does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Seconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;
/// A record to make durable, and where to say that it is.
pub type JournalEntry = (LeaseRecord, oneshot::Sender<Result<(), String>>);
/// Where leases go to be made durable. The receiver commits them in groups.
pub type LeaseJournal = mpsc::Sender<JournalEntry>;

/// Everything one interface serves.
#[derive(Debug, Clone)]
pub struct DhcpConfig {
    pub iface: String,
    /// The server's address on that interface.
    pub server_ip: Ipv4Addr,
    pub subnet: Subnet,
    pub pool_first: Ipv4Addr,
    pub pool_last: Ipv4Addr,
    pub reservations: BTreeMap<Mac, Reservation>,
    pub router: Option<Ipv4Addr>,
    /// Empty: the server's own address is sent.
    pub dns: Vec<Ipv4Addr>,
    pub domain: Option<String>,
    pub search: Vec<String>,
    pub ntp: Vec<Ipv4Addr>,
    /// At least 60 seconds.
    pub lease_secs: u32,
    /// The TFTP server; absent: `server_ip`.
    pub next_server: Option<Ipv4Addr>,
    /// `http://address[:port]` for UEFI HTTP boot clients.
    pub http_base: Option<String>,
    pub loaders: LoaderTable,
}

/// A bound DHCP server.
pub struct DhcpServer {
    socket: Arc<UdpSocket>,
    responder: Responder,
    journal: LeaseJournal,
    clock: Clock,
}

impl DhcpServer {
    /// Checks the configuration, loads `leases` and opens port 67 on the interface.
    pub async fn bind(
        config: DhcpConfig,
        policy: Arc<dyn BootPolicy>,
        leases: Vec<LeaseRecord>,
        journal: LeaseJournal,
        clock: Clock,
    ) -> Result<Self, BindError> {
        let iface = config.iface.clone();
        let pool = PoolConfig {
            subnet: config.subnet,
            first: config.pool_first,
            last: config.pool_last,
            server_ip: config.server_ip,
            router: config.router,
            lease_secs: config.lease_secs,
            reservations: config.reservations,
        };
        let table = LeaseTable::new(pool, leases).map_err(|what| BindError::Config { iface: iface.clone(), what })?;
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, SERVER_PORT);
        let socket = Arc::new(udp_on(&iface, any, true)?);
        // The broadcast socket takes any address; a wrong one in the replies would break every boot later.
        udp_on(&iface, SocketAddrV4::new(config.server_ip, 0), false)?;
        let responder = Responder {
            facts: Facts { iface: iface.into(), subnet: config.subnet },
            config: ReplyConfig {
                server_ip: config.server_ip,
                subnet: config.subnet,
                router: config.router,
                dns: config.dns,
                domain: config.domain,
                search: config.search,
                ntp: config.ntp,
                lease_secs: config.lease_secs,
                next_server: config.next_server.unwrap_or(config.server_ip),
                http_base: config.http_base,
                loaders: config.loaders,
            },
            table,
            policy,
            counters: Arc::new(Counters::default()),
        };
        Ok(DhcpServer { socket, responder, journal, clock })
    }

    pub fn counters(&self) -> Arc<Counters> {
        self.responder.counters.clone()
    }

    /// Serves until `shutdown` completes. A lease that waits for the disk then is not acknowledged.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        let mut pending = JoinSet::new();
        let mut buffer = vec![0u8; crate::wire::MAX_PACKET + 1];
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                Some(_) = pending.join_next(), if !pending.is_empty() => {}
                received = self.socket.recv_from(&mut buffer) => match received {
                    Ok((len, _)) => self.handle(&buffer[..len], &mut pending).await,
                    Err(error) => {
                        self.responder.counters.add(Count::ReceiveError);
                        tracing::warn!(iface = %self.responder.facts.iface, %error, "receiving DHCP packets failed");
                        tokio::time::sleep(ERROR_PAUSE).await;
                    }
                },
            }
        }
    }

    async fn handle(&mut self, bytes: &[u8], pending: &mut JoinSet<()>) {
        let now = (self.clock)();
        match self.responder.handle(bytes, now) {
            Outcome::Nothing => {}
            Outcome::Send(reply) => self.sender().send(reply).await,
            Outcome::Commit { record, reply } => {
                let (done, committed) = oneshot::channel();
                let sender = self.sender();
                if pending.len() >= MAX_PENDING || self.journal.try_send((record, done)).is_err() {
                    sender.refuse(reply, Why::JournalFull, None);
                    return;
                }
                // Another client's packet is not kept waiting by this one's commit.
                pending.spawn(async move {
                    let result = committed.await.unwrap_or_else(|_| Err("the lease store has stopped".into()));
                    match (result, reply) {
                        (Ok(()), Some(reply)) => sender.send(reply).await,
                        (Ok(()), None) => {}
                        (Err(error), reply) => sender.refuse(reply, Why::JournalFailed, Some(error)),
                    }
                });
            }
        }
    }

    fn sender(&self) -> Sender {
        Sender { socket: self.socket.clone(), policy: self.responder.policy.clone(), counters: self.responder.counters.clone() }
    }
}

struct Sender {
    socket: Arc<UdpSocket>,
    policy: Arc<dyn BootPolicy>,
    counters: Arc<Counters>,
}

impl Sender {
    async fn send(&self, reply: Reply) {
        if let Err(error) = self.socket.send_to(&reply.bytes, reply.to).await {
            self.refuse(Some(reply), Why::SendFailed, Some(error.to_string()));
            return;
        }
        self.counters.add(match reply.event.kind {
            EventKind::Offer => Count::Offer,
            EventKind::Nak { .. } => Count::Nak,
            _ => Count::Ack,
        });
        self.policy.observe(&reply.event);
    }

    fn refuse(&self, reply: Option<Reply>, why: Why, detail: Option<String>) {
        self.counters.add_ignored(why);
        if let Some(error) = &detail {
            tracing::warn!(%why, %error, "no DHCP reply was sent");
        }
        if let Some(reply) = reply {
            self.policy.observe(&BootEvent { kind: EventKind::Ignored { why, detail }, ..reply.event });
        }
    }
}

#[cfg(test)]
#[path = "dhcp_server_tests.rs"]
mod tests;
