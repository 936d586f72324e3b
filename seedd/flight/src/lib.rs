//! The boot flight recorder: what machines said on the wire and how they were answered, kept in memory and as events, and
//! what that means for a machine that does not boot. In reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// Packets and decisions, from the servers to the event log.
pub mod recorder;

/// From a timeline to what is wrong and what to do. Pure.
pub mod diagnosis;
