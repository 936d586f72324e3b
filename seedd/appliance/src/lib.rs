//! The seed as an appliance that boots from its own medium: where its state is kept, its network, the screen of its console
//! and the socket over which console and command line ask the daemon. In reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// What the operator chose at the console.
pub mod settings;

/// Presets on the kernel command line.
pub mod boot;

/// Partition tables, read and extended.
pub mod table;

/// Which disk the state goes to. Pure.
pub mod decide;

/// The programs it needs: mount, losetup, ip, udhcpc.
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
