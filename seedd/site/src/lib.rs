//! A site on disk: the data directory with its keys, its database, and what was built in it. This crate uses no web types and no
//! sockets. In reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// Errors with a hint that says what to do.
pub mod hint;

/// Names of settings in the database.
pub mod setting;

/// Layout of the data directory.
pub mod layout;

/// The database. All SQL is here.
pub mod store;

/// Events of the log as lines of syslog.
pub mod syslog;

/// Active, standby or fenced.
pub mod mode;

/// Settings as what they stand for: epoch, snapshot, artifacts, makers.
pub mod in_use;

/// Certificates of the site's own CA.
pub mod tls;

/// The site's keys, encrypted at rest.
pub mod keys;

/// The password of GRUB's editor on the nodes.
pub mod grub;

/// Join tokens.
pub mod tokens;

/// The plan of enrollment.
pub mod plan;

/// Machines that an operator denied or set aside.
pub mod verdicts;

/// When unknown machines may ask to enroll.
pub mod window;

/// Finishing an interrupted import.
pub mod settle;

/// Changing the keys of planes, vault and release.
pub mod rotate;

/// Opening a site.
pub mod open;

/// Creating a site.
pub mod create;

/// Files of root in a data directory of another user.
mod owner;

/// Locks on blobs: use and deletion.
pub mod holding;

/// The sealed artifacts of the roles.
pub mod artifacts;

/// The outputs made of artifacts.
pub mod outputs;

/// Files, images and charts from other sources.
pub mod extras;

/// What nodes run after the fabric gate.
pub mod payloads;

/// Snapshots and their proofs.
pub mod snapshots;

/// Putting in use what was built, fetched, imported or adopted.
pub mod putting;

/// Garbage collection.
pub mod gc;

pub use layout::{Site, default_cluster_yaml, read_spec, seed_hostname};
