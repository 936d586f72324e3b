//! A site on disk: the data directory with its keys, its database and what was built into it. No web types, no sockets but
//! files: whoever serves a site, moves it or looks at it starts here. In reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// An error with one line that says what to do.
pub mod hint;

/// Names of settings in the database.
pub mod setting;

/// The data directory: where everything is.
pub mod layout;

/// The database. All SQL is here.
pub mod store;

/// Active, standby or fenced.
pub mod mode;

/// Settings as what they stand for: epoch, snapshot, artifacts, makers.
pub mod in_use;

/// Certificates of the site's own CA.
pub mod tls;

/// The site's keys, encrypted at rest.
pub mod keys;

/// The end of an import that was interrupted.
pub mod settle;

/// Opening a site.
pub mod open;

/// Creating a site.
pub mod create;

/// Who uses blobs, and who may delete them.
pub mod holding;

/// The sealed artifacts of the roles.
pub mod artifacts;

/// Files, images and charts from elsewhere.
pub mod extras;

/// Snapshots and their proofs.
pub mod snapshots;

/// What nothing needs any more.
pub mod gc;

pub use layout::{Site, default_cluster_yaml, read_spec, seed_hostname};
