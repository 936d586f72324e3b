//! A site on disk: the data directory with its keys, its database and what was built into it. No web types, no sockets but
//! files: whoever serves a site, moves it or looks at it starts here.

pub mod artifacts;
pub mod create;
pub mod extras;
pub mod gc;
pub mod hint;
pub mod holding;
pub mod keys;
pub mod layout;
pub mod mode;
pub mod open;
pub mod setting;
pub mod settle;
pub mod snapshots;
pub mod store;
pub mod tls;

pub use layout::{Site, default_cluster_yaml, read_spec, seed_hostname};
