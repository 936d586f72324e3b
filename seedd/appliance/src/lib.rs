//! The seed as an appliance that boots from its own medium: its state partition, its network, its console, and the control
//! socket of the daemon. In reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// Settings made on the console.
pub mod settings;

/// Settings on the kernel command line.
pub mod boot;

/// Partition tables, read and extended.
pub mod table;

/// Decides which disk the state is kept on. Pure.
pub mod decide;

/// The programs that it runs: mount, losetup, ip, udhcpc.
pub mod tool;

/// Disks of this machine.
pub mod disks;

/// Network interfaces and their addresses.
pub mod network;

/// The state partition: found or created, then mounted.
pub mod state;

/// The cluster.yaml of a new site.
pub mod cluster;

/// The control socket.
pub mod control;

/// The screen on the machine's console.
pub mod console;
