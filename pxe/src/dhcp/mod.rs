//! DHCP without sockets: from a packet and the time to a reply and a record.

// Parsing untrusted packets.
pub mod wire;

pub mod arch;

mod firmware;

pub mod request;

// Leases.
pub mod pool;

pub mod leases;

pub mod presence;

pub mod lease_line;

// Contents of replies.
pub mod network;

pub mod loader;

pub mod boot_info;

pub mod reply;

// The server's decisions, and other servers on the link.
pub mod mode;

pub mod owner;

pub mod watch;

pub mod budget;

pub mod responder;

pub mod config;

#[cfg(test)]
pub(crate) mod testing;
