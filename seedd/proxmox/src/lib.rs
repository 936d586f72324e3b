//! The nodes of cluster.yaml as virtual machines of Proxmox VE. Hosts are reached by the system's `ssh` and `sftp` with the
//! operator's keys; a virtual machine without the tags of this site is never touched. In reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// Which nodes a run is about.
pub mod selection;

/// Disk images, one for each role.
pub mod image;

/// What hosts and virtual machines are there, from Proxmox VE's JSON. Pure.
pub mod present;

/// The host of each node. Pure.
pub mod place;

/// A virtual machine as it should be, and its options. Pure.
pub mod vm;

/// Options of `qm` and how an existing configuration differs from them. Pure.
pub mod options;

/// The plan: what would be done, for people and as JSON. Pure.
pub mod plan;

/// Connections to hosts: pinned host keys, commands, resumable uploads.
pub mod ssh;

/// Reads what is there.
pub mod read;

/// Carries out a plan.
pub mod apply;
