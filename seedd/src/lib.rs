//! The seed node: command line, daemon and use cases. Imports every other crate of the product; nothing imports it. In
//! reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// Subcommands.
pub mod cli;

/// Progress and signals on a terminal.
pub mod terminal;

/// The JSON API of a seed here or elsewhere, for the command line.
pub mod remote;

/// A seed that runs from its medium.
pub mod live;

/// `seedd serve`: the servers of one site.
pub mod daemon;

/// DHCP and TFTP on the boot network.
pub mod netboot;

/// Kernel command line of machines.
mod kernel_line;

/// The seed's own WireGuard planes.
pub mod planes;

/// Nodes on the control plane.
pub mod plane_listener;

/// The use cases of the web interface, the machines and the watchdog.
pub mod app;

/// Which machines claim a row of the plan.
pub mod claims;

/// Machines held against the plan and the rules of enrollment.
pub mod planning;

/// Metrics for Prometheus.
pub mod metrics;

/// The seed's clock.
pub mod clock;

/// Where a snapshot's packages come from.
pub mod upstream;

/// The Debian installer's medium and answers.
pub mod installer;

/// A recovery drill: the loss of this seed.
pub mod drill;

/// Power control: Redfish, IPMI, Wake-on-LAN.
pub mod power;

/// Diagnosis of problems that keep this seed from serving.
pub mod doctor;
