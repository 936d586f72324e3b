//! DHCP, TFTP and boot scripts: what a machine asks for on the wire and what it is told.
//!
//! Architecture invariant: everything that decides is pure (bytes, typed values and `now` in; values out).
//! Sockets and files are in the modules named `server` and `store`, and no module reads the wall clock or the
//! environment (timers run on the monotonic clock).
//! Other people's packets are normal: they become [`why::Why`] values which are counted, never errors.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod bind;
mod commit_server;
pub mod counters;
mod dhcp_batch_server;
mod dhcp_config;
mod dhcp_loop_server;
pub mod dhcp_server;
pub mod journal_store;
pub mod leases;
pub mod loader;
pub mod neighbour_server;
pub mod offer;
pub mod policy;
pub mod pool;
pub mod request;
pub mod responder;
pub mod script;
pub mod subnet;
pub mod tftp;
pub mod watch;
pub mod why;
pub mod wire;

#[cfg(test)]
mod testing;

pub use dhcp_server::{Clock, Commit, DhcpConfig, DhcpServer, NetworkConfig};
pub use journal_store::Journal;
pub use leases::LeaseRecord;
pub use loader::LoaderTable;
pub use offer::{ExtraOption, Route};
pub use policy::{BootDecision, BootEvent, BootPolicy, EventKind};
pub use pool::{PoolRange, Reservation};
pub use request::{BootRequest, Classified, ClientArch, Facts, classify};
pub use subnet::Subnet;
pub use tftp::server::{FileTable, TftpConfig, TftpServer};
pub use watch::DhcpMode;
pub use why::Why;
