//! The command line's way to the JSON API of a seed: one on this machine, by its control socket, or one elsewhere, by a context.
//! In reading order:

/// Where a seed is.
pub mod server;

/// The seeds that an operator works with, in a file.
pub mod contexts;

/// Whose TLS is believed.
pub mod trust;

/// One request.
pub(crate) mod http;

/// From requests to values and errors.
pub mod client;

pub use client::{Refused, Remote};
