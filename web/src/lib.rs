//! Pages, JSON API, boot scripts and file serving. The map, in reading order.
//!
//! Two routers that share no handler and no state: [`machine_router`] for the netboot segment, where everything is public or
//! protected by signatures, and [`operator_router`] for people. Each can name only its own side of the daemon,
//! [`api::MachineApi`] or [`api::OperatorApi`]. A third, [`first_setup_router`], is the only page of a seed that has no site
//! yet. [`listener`] runs any of them with the limits that a listener needs.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

// What the routers ask of the daemon, and the shapes of the HTTP API.
pub mod api;
// Every bound of this crate.
pub mod limits;

// From a request to a call into the daemon, and from a failure to an answer.
mod call;
mod error;
mod extract;
mod headers;
mod idempotency;
mod look;
mod problem;
mod replay;
mod safe_json;
mod search;
mod streams;
mod text;
mod words;

// Who sent a request, and whether it may change something.
mod auth;

// The three routers.
mod first_setup;
mod machine;
mod operator;

// What the handlers answer: pages, JSON and files.
mod export;
mod files;
mod json;
mod pages;

pub mod dates;
// From sockets to routers.
#[allow(clippy::disallowed_methods, reason = "time limits of connections run on the monotonic clock")]
pub mod listener;
pub mod meter;

#[cfg(test)]
mod schema;
#[cfg(test)]
mod testing;

pub use call::OperatorOptions;
pub use first_setup::first_setup_router;
#[doc(hidden)]
pub use listener::read_head;
pub use machine::{machine_router, member_router, metrics_router};
pub use operator::operator_router;
