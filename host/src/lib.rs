//! Access to the host: files, programs, clocks, hardware. Shared by the agent, the crates of the seed and the lab, so that
//! there is one way to replace a file, start a program or list disks. Imports only `cluster-seed` of our crates.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod ar;
pub mod blobs;
#[allow(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub mod clock;
#[cfg(feature = "deb")]
pub mod deb;
pub mod dhcp;
pub mod files;
pub mod hardware;
pub mod interfaces;
pub mod parallel;
pub mod process;
pub mod programs;
pub mod random;
pub mod sealed;
pub mod support;
#[allow(clippy::disallowed_methods, reason = "this is where programs are started, and their time is limited")]
pub mod tool;
