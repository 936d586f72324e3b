//! Interface to the rest of the program: it decides what a machine boots, and receives all events.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use cluster_seed::events::Cause;
use cluster_seed::ids::Mac;

use crate::dhcp::arch::ClientArch;
use crate::dhcp::owner::Owner;
use crate::dhcp::request::BootRequest;
use crate::tftp::transfer::{PACE_BYTES, PACE_TIME};
use crate::why::Why;

/// The answer to one boot request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootDecision {
    /// No answer at all, not even an address: another server may assign one.
    Silent { cause: Cause, why: String },
    /// The loader for the machine's architecture: its name by TFTP, or its URL for HTTP boot clients.
    Loader,
    /// The URL of an iPXE script, up to 255 bytes. Only iPXE understands it.
    Script { url: String },
}

/// Decides what a machine boots, and records events.
///
/// Both methods are called from the server's threads: they must answer from memory, within microseconds.
pub trait BootPolicy: Send + Sync {
    fn decide(&self, request: &BootRequest) -> BootDecision;
    fn observe(&self, event: &BootEvent);
}

/// The kind of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootEventKind {
    Discover,
    Offer,
    Request,
    Ack,
    Nak {
        why: Why,
    },
    Inform,
    Release,
    Decline,
    /// No answer was sent; `cause` and `detail` are the policy's reason, if it had one.
    Ignored {
        why: Why,
        cause: Option<Cause>,
        detail: Option<String>,
    },
    /// Another DHCP server answers on this link, for the first time or again: it answered this many DISCOVERs, and `owner`
    /// answers ARP for its address.
    OtherServer {
        server: Ipv4Addr,
        answers: u32,
        owner: Owner,
    },
    /// A host answered under this address, but not often enough, or without an ARP answer: it is not confirmed.
    OtherServerDoubted {
        server: Ipv4Addr,
        answers: u32,
        owner: Owner,
    },
    /// That server has not answered for [`crate::dhcp::watch::GONE`] seconds.
    OtherServerGone {
        server: Ipv4Addr,
    },
    /// Mode `auto` decided: addresses and boot files, or boot files only, beside another server.
    Serving {
        proxy: bool,
    },
    /// Another machine uses an address that was about to be offered. It is now quarantined.
    AddressInUse {
        by: Mac,
    },
    TftpStarted,
    TftpDone,
    /// The client ended the transfer itself with an ERROR packet: normal after a firmware's size probe.
    TftpAborted(Abort),
    TftpError(TransferError),
}

impl BootEventKind {
    /// The cause, for code that depends on it.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            BootEventKind::Ignored { cause, .. } => *cause,
            BootEventKind::TftpAborted(why) => Some(why.cause()),
            BootEventKind::TftpError(why) => Some(why.cause()),
            _ => None,
        }
    }
}

/// How a transfer was ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Abort {
    /// With an ERROR packet; its text is untrusted, printable and bounded.
    #[error("{0}")]
    Error(String),
    #[error("replaced by a new request")]
    Replaced,
    /// All slots were in use, and another client needed one.
    #[error("its slot was needed")]
    PushedOut,
}

impl Abort {
    pub fn cause(&self) -> Cause {
        match self {
            Abort::Error(_) => Cause::ClientAborted,
            Abort::Replaced | Abort::PushedOut => Cause::Replaced,
        }
    }
}

/// Why a transfer failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    #[error("no such file")]
    NoSuchFile,
    #[error("this server is read-only")]
    ReadOnly,
    #[error("only mode octet is served")]
    Mode,
    #[error("the packet is not a request")]
    NotARequest,
    #[error("its address is in none of the networks in cluster.yaml")]
    OffLink,
    #[error("the client stopped answering")]
    ClientSilent,
    #[error("not finished after {} s", .0.as_secs())]
    TooSlow(Duration),
    #[error("fewer than {PACE_BYTES} bytes in {} s", PACE_TIME.as_secs())]
    BelowRate,
    #[error("{0}")]
    Socket(String),
}

impl TransferError {
    pub fn cause(&self) -> Cause {
        match self {
            TransferError::NoSuchFile => Cause::NoSuchFile,
            TransferError::ReadOnly | TransferError::Mode | TransferError::NotARequest | TransferError::OffLink => Cause::Refused,
            TransferError::ClientSilent => Cause::ClientSilent,
            TransferError::TooSlow(_) | TransferError::BelowRate => Cause::TooSlow,
            TransferError::Socket(_) => Cause::Socket,
        }
    }
}

/// One event for the flight recorder. Texts come from the wire: printable, bounded, untrusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootEvent {
    pub kind: BootEventKind,
    pub iface: Arc<str>,
    pub mac: Option<Mac>,
    pub arch: Option<ClientArch>,
    pub ipxe: bool,
    /// The address offered, confirmed or requested; the client's address in TFTP events.
    pub ip: Option<Ipv4Addr>,
    pub xid: Option<u32>,
    pub hostname: Option<String>,
    pub vendor_class: Option<String>,
    /// The machine's UUID (option 97) as sent, without its type byte.
    pub uuid: Option<[u8; 16]>,
    /// The loader, script URL or TFTP file.
    pub file: Option<String>,
    /// File bytes the client acknowledged.
    pub bytes: Option<u64>,
}

impl BootEvent {
    pub fn new(kind: BootEventKind, iface: Arc<str>) -> Self {
        BootEvent {
            kind,
            iface,
            mac: None,
            arch: None,
            ipxe: false,
            ip: None,
            xid: None,
            hostname: None,
            vendor_class: None,
            uuid: None,
            file: None,
            bytes: None,
        }
    }
}
