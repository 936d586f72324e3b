//! Signed requests with retries. One client serves any number of threads.

pub(crate) mod ebs;

pub(crate) mod ec2;

mod send;

/// Errors in the forms of the services.
mod refusal;

pub use send::{Client, Limits};
