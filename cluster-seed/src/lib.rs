//! Domain types and cryptography of Kubedos.
//!
//! Architecture invariant: this crate does no I/O. It has no tokio, no SQL, no sockets and no `std::fs`;
//! clocks, paths and keys are arguments. (Fresh age keys and file keys come from the operating system's
//! random source inside the age library; every other random value is an argument.)
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod addressing;
pub mod agent;
pub mod arch;
pub mod archive;
pub mod asked;
pub mod capsule;
pub mod cluster;
pub mod cluster_keys;
pub mod converge;
pub mod countersign;
pub mod darksite_spec;
pub mod enrollment;
pub mod epoch;
pub mod events;
pub mod extras;
pub mod fault;
pub mod fleet;
pub mod foundry;
pub mod grub;
pub mod held;
pub mod identity;
pub mod ids;
pub mod inventory;
pub mod join;
pub mod kubernetes;
pub mod leak;
pub mod log;
pub mod machine;
pub mod manifest;
pub mod medium;
pub mod netboot;
pub mod overlay;
pub mod pairing;
pub mod pake;
pub mod peers;
pub mod people;
pub mod plan;
pub mod planes;
pub mod policy;
pub mod progress;
pub mod proof;
pub mod repo;
pub mod rotation;
pub mod seal;
pub mod secret;
pub mod site_key;
mod spec_error;
pub mod substrate;
pub mod time;
pub mod trouble;
pub mod webhooks;
pub mod wireguard;
