//! Speed beside peers, measured in one run: ratios count, not numbers of somebody's machine.

pub mod dhcp;
pub mod field;
pub mod netboot;
pub mod tftp;
