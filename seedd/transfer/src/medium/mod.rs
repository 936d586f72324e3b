//! The medium this seed booted from: which one it was, and the packages and images imported from it.

pub(crate) mod links;

pub mod record;

pub mod adopt;
