//! The agent of a machine, `kubedos-node`: in RAM it enrolls and installs; on disk it writes the base role, brings up the
//! planes and runs the role's play. Also PID 1 of the RAM system, for machines and for a seed that boots from its medium.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

// Used everywhere.
pub mod cmdline;
pub mod console;
pub mod http;
pub mod layout;

// State of a machine, and its reports.
pub mod epoch;
mod node_keys;
pub mod pinned;
pub mod report;
pub mod state;

// The RAM system.
pub mod init;
pub mod install;
pub mod ram;
pub mod seed;

// The installed node.
pub mod assets;
pub mod base;
pub mod node;

// The payload archive.
pub mod platform;
