//! DHCP, TFTP and boot scripts: the servers that a booting machine uses.
//!
//! Architecture invariant: everything that decides is pure (bytes, typed values and `now` in, values out). Sockets, threads and
//! files are in [`server`], and nothing reads the wall clock or the environment (timers run on the monotonic clock).
//! Unexpected packets are normal: they become [`why::Why`] values, which are counted, never errors.
//!
//! In reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// An IPv4 network.
pub mod subnet;

/// Every reason for no answer or a negative one.
pub mod why;

/// Counters for the metrics.
pub mod counters;

/// Interface to the rest of the program: the boot policy, and the event sink.
pub mod policy;

/// Requests, leases, replies, and detection of other servers.
pub mod dhcp;

/// Packets and transfers.
pub mod tftp;

/// Scripts for iPXE and GRUB, from typed values.
pub mod script;

/// Sockets, threads, neighbours and the lease journal.
#[allow(clippy::disallowed_methods, reason = "timers of sockets and threads run on the monotonic clock")]
pub mod server;

pub use dhcp::arch::ClientArch;
pub use dhcp::config::DhcpConfig;
pub use dhcp::leases::LeaseRecord;
pub use dhcp::loader::LoaderTable;
pub use dhcp::mode::DhcpMode;
pub use dhcp::network::{ExtraOption, NetworkConfig, Route};
pub use dhcp::pool::{PoolRange, Reservation};
pub use dhcp::presence::Presence;
pub use dhcp::request::{BootRequest, Classified, Facts, classify};
pub use policy::{BootDecision, BootEvent, BootEventKind, BootPolicy};
pub use server::dhcp::DhcpServer;
pub use server::dhcp::journal::Journal;
pub use server::dhcp::limits::{Clock, Commit};
pub use server::tftp::{TftpConfig, TftpServer};
pub use subnet::Subnet;
pub use tftp::files::FileTable;
pub use why::Why;
