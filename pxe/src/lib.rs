//! DHCP, TFTP and boot scripts: what a machine asks for on the wire and what it is told.
//!
//! Architecture invariant: everything that decides is pure (bytes, typed values and `now` in; values out).
//! Sockets are in [`dhcp_server`] and [`tftp::server`] only, and no module reads a clock or the environment.
//! Other people's packets are normal: they become [`why::Why`] values which are counted, never errors.

pub mod bind;
pub mod counters;
pub mod dhcp_server;
pub mod leases;
pub mod loader;
pub mod offer;
pub mod policy;
pub mod request;
pub mod responder;
pub mod script;
pub mod subnet;
pub mod tftp;
pub mod why;
pub mod wire;

#[cfg(test)]
mod testing;

pub use dhcp_server::{Clock, DhcpConfig, DhcpServer, JournalEntry, LeaseJournal};
pub use leases::LeaseRecord;
pub use loader::LoaderTable;
pub use policy::{BootDecision, BootEvent, BootPolicy, EventKind};
pub use request::{BootRequest, Classified, ClientArch, Facts, classify};
pub use subnet::Subnet;
pub use tftp::server::{FileTable, TftpConfig, TftpServer};
pub use why::Why;
