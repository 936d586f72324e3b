//! The DHCP server's sockets: ports 67 and 4011 of one interface, and port 68 to detect other servers.

pub mod limits;

pub mod journal;

mod batch;

mod outbox;

mod commit;

mod event_loop;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use cluster_seed::ids::Mac;
use nix::sys::eventfd::EventFd;

use self::commit::committer;
use self::event_loop::EventLoop;
use self::limits::{BOOT_SERVER_PORT, Clock, Commit, MAX_GROUPS};
use self::outbox::Outbox;
use super::bind::{BindError, udp_on, udp_shared_on};
use super::neighbours::Neighbours;
use super::wake::event_fd;
use crate::counters::Counters;
use crate::dhcp::config::DhcpConfig;
use crate::dhcp::leases::LeaseRecord;
use crate::dhcp::mode::DhcpMode;
use crate::dhcp::presence::Presence;
use crate::dhcp::request::Facts;
use crate::dhcp::responder::{CLIENT_PORT, INFORMS, Responder, SERVER_PORT};
use crate::dhcp::watch::Watch;
use crate::policy::BootPolicy;

/// A bound DHCP server.
pub struct DhcpServer {
    socket: UdpSocket,
    boot_server: Option<UdpSocket>,
    watching: Option<UdpSocket>,
    watch: Watch,
    responder: Responder,
    commit: Commit,
    clock: Clock,
    presence: Arc<Presence>,
}

impl DhcpServer {
    /// Checks the configuration, loads `leases` and opens the ports on the interface.
    pub fn bind(
        config: DhcpConfig,
        policy: Arc<dyn BootPolicy>,
        leases: &[LeaseRecord],
        commit: Commit,
        clock: Clock,
    ) -> Result<Self, BindError> {
        let iface = config.iface.as_str();
        let networks = config.build(leases).map_err(|source| BindError::Config { iface: iface.to_owned(), source })?;
        let any = |port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        let socket = udp_on(iface, any(SERVER_PORT), true)?;
        // The broadcast socket accepts any address; a wrong one in the replies would break every boot.
        udp_on(iface, SocketAddrV4::new(config.server_ip, 0), false)?;
        let beside = matches!(config.mode, DhcpMode::Proxy | DhcpMode::Auto);
        let boot_server = optional(udp_on(iface, any(BOOT_SERVER_PORT), false), beside)?;
        let watching = match config.watch || config.mode == DhcpMode::Auto {
            true => optional(udp_shared_on(iface, any(CLIENT_PORT)), config.mode == DhcpMode::Auto)?,
            false => None,
        };
        let first = u32::from_ne_bytes(host::random::bytes()?);
        let watch = Watch::new(
            config.mode,
            config.server_ip,
            config.networks[0].subnet,
            hardware_address(iface, config.server_ip),
            first,
        );
        let responder = Responder {
            facts: Facts { iface: iface.into(), subnet: config.networks[0].subnet },
            networks,
            relays: config.relays,
            serving: watch.serving(),
            probe: config.probe,
            informs: INFORMS,
            policy,
            counters: Arc::new(Counters::default()),
        };
        Ok(DhcpServer { socket, boot_server, watching, watch, responder, commit, clock, presence: Arc::default() })
    }

    pub fn counters(&self) -> Arc<Counters> {
        self.responder.counters.clone()
    }

    /// Where to report machines that were heard from: until then a machine is a stranger and its lease is short.
    pub fn presence(&self) -> Arc<Presence> {
        self.presence.clone()
    }

    /// Serves until `shutdown` completes.
    ///
    /// It uses three threads: one reads, decides and sends replies without a lease record; another stores groups of leases and
    /// then sends their ACKs; a third sends those of large groups while the next sync runs (adr/0016).
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let stop = Arc::new(AtomicBool::new(false));
        let started = event_fd().and_then(|wake| Ok((self.start(&stop, &wake)?, wake)));
        let (threads, wake) = match started {
            Ok(started) => started,
            Err(error) => return tracing::error!(%error, "starting the DHCP server's threads; DHCP is not served"),
        };
        shutdown.await;
        stop.store(true, Ordering::Relaxed);
        let _ = wake.write(1);
        let _ = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|t| drop(t.join()))).await;
    }

    fn start(self, stop: &Arc<AtomicBool>, wake: &Arc<EventFd>) -> std::io::Result<Vec<std::thread::JoinHandle<()>>> {
        let (groups, receiver) = sync_channel(MAX_GROUPS);
        let pending = Arc::new(AtomicUsize::new(0));
        let outboxes = [self.socket.try_clone()?, self.socket.try_clone()?].map(|socket| Outbox::new(socket, &self.responder));
        let (committer, pacer) = committer(outboxes, receiver, self.commit, pending.clone());
        let main = EventLoop {
            outbox: Outbox::new(self.socket, &self.responder),
            boot_server: self.boot_server,
            watching: self.watching,
            neighbours: Neighbours::open(&self.responder.facts.iface).ok(),
            watch: self.watch,
            responder: self.responder,
            groups,
            group: Vec::new(),
            pending,
            probing: Default::default(),
            suspects: Vec::new(),
            servers: Vec::new(),
            presence: self.presence,
            clock: self.clock,
            stop: stop.clone(),
        };
        let wake = wake.clone();
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        Ok(vec![
            thread("dhcp-acks").spawn(move || pacer.run())?,
            thread("dhcp-commit").spawn(move || committer.run())?,
            thread("dhcp").spawn(move || main.run(&wake))?,
        ])
    }
}

/// Opening a port that the mode does not need may fail.
fn optional(opened: Result<UdpSocket, BindError>, needed: bool) -> Result<Option<UdpSocket>, BindError> {
    match opened {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if needed => Err(error),
        Err(error) => {
            tracing::warn!(%error, hint = error.hint(), "continuing without this port");
            Ok(None)
        }
    }
}

/// The interface's hardware address; switches with DHCP snooping drop a DISCOVER from any other. If the interface has none,
/// a locally administered one.
fn hardware_address(iface: &str, ip: Ipv4Addr) -> Mac {
    let text = std::fs::read_to_string(format!("/sys/class/net/{iface}/address")).unwrap_or_default();
    let [a, b, c, d] = ip.octets();
    text.trim().parse().ok().filter(|mac| *mac != Mac([0; 6])).unwrap_or(Mac([2, 0x4b, a, b, c, d]))
}

#[cfg(test)]
mod tests;
