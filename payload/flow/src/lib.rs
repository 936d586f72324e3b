//! `kubedos-flow`: what crosses the planes of a node, counted by eBPF per plane, direction, peer, protocol and service port. The
//! programs for the kernel are in `bpf/`; adr/0032 says why they are written in C. Knows the peer list, never a packet's content.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

// What counters belong to: nodes and planes, interfaces, units, reasons of drops, allowed ports.
pub mod btf;
pub mod interfaces;
pub mod names;
pub mod ports;
pub mod units;

// The programs in the kernel, and the only use of bpf(2).
pub mod kernel;

// Counters in user space: sums, the last hour, violations.
pub mod book;
pub mod table;

// What is shown.
pub mod metrics;
pub mod report;
pub mod show;

// The daemon.
pub mod config;
pub mod serve;
