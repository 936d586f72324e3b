//! Sockets, threads and the lease journal: all input and output of this crate.

pub mod bind;

mod wake;

pub mod neighbours;

pub mod dhcp;

pub mod tftp;
