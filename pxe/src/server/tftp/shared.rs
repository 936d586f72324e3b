//! State shared by the TFTP listener and its workers.

use std::net::{SocketAddrV4, UdpSocket};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::places::Places;
use crate::counters::Counters;
use crate::dhcp::presence::Presence;
use crate::policy::{Abort, BootEvent, BootEventKind, BootPolicy};
use crate::tftp::transfer::Transfer;

/// State shared by all threads of one server.
pub(super) struct Shared {
    pub iface: Arc<str>,
    pub policy: Arc<dyn BootPolicy>,
    pub counters: Arc<Counters>,
    pub active: Mutex<Places>,
    pub stop: AtomicBool,
    pub began: Instant,
    pub presence: Arc<Presence>,
}

/// A transfer handed to a worker.
pub(super) struct Job {
    pub id: u64,
    pub transfer: Transfer,
    pub socket: UdpSocket,
    pub client: SocketAddrV4,
    pub name: String,
    pub contacted: Arc<AtomicBool>,
}

pub(super) enum Order {
    Start(Box<Job>),
    /// The client sent another request from the same port, or its slot was needed.
    Abort(u64, Abort),
}

pub(super) fn tftp_event(
    kind: BootEventKind,
    iface: &Arc<str>,
    client: SocketAddrV4,
    name: &str,
    bytes: Option<u64>,
) -> BootEvent {
    BootEvent { ip: Some(*client.ip()), file: Some(name.to_owned()), bytes, ..BootEvent::new(kind, iface.clone()) }
}
