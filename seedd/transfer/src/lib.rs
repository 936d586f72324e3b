//! Moving sites and their contents: a whole site to a second location (capsule), a snapshot to another seed (archive), packages
//! and images from the medium that the seed booted from, and a medium onto a USB stick. In reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// A whole site as one signed and encrypted file.
pub mod capsule;

/// A snapshot, or the difference from another, as one file.
pub mod archive;

/// The medium that this seed booted from.
pub mod medium;

/// Writing a medium to a USB stick.
pub mod stick;
