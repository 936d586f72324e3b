//! DHCP without sockets: a packet and the time in, a reply and what to record out.

// Reading what anyone may have sent.
pub mod wire;

pub mod arch;

pub mod request;

// Who has which address.
pub mod pool;

pub mod leases;

pub mod presence;

pub mod lease_line;

// What replies say.
pub mod network;

pub mod loader;

pub mod boot_info;

pub mod reply;

// The server's decisions, and who else serves the link.
pub mod mode;

pub mod owner;

pub mod watch;

pub mod budget;

pub mod responder;

pub mod config;

#[cfg(test)]
pub(crate) mod testing;
