//! Measurements against the programs that do the same work: always both in one run, on one machine, as ratios.

pub mod dhcp;
pub mod field;
pub mod http;
pub mod netboot;
pub mod tftp;
