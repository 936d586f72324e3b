//! The medium that this seed booted from: its identity, and importing its packages and images.

pub(crate) mod links;

pub mod record;

pub mod adopt;
