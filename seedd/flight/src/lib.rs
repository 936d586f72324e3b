//! The boot flight recorder: packets of booting machines and the seed's decisions about them, kept in memory and as events, and
//! the diagnosis of machines that do not boot. In reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// Packets and decisions, from the servers to the event log.
pub mod recorder;

/// The diagnosis: from a timeline to the problem and what to do about it. Pure.
pub mod diagnosis;
