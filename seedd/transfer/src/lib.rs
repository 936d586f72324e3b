//! Moves a site: to a second place (capsule), to another seed (archive of a snapshot), from the medium the seed booted from,
//! and onto a USB stick. In reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// A whole site as one signed and encrypted file.
pub mod capsule;

/// A snapshot, or the difference from another, as one file.
pub mod archive;

/// The medium this seed booted from.
pub mod medium;

/// A USB stick with the seed's image.
pub mod stick;
