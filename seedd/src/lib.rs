#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod app;
pub mod cli;
pub mod clock;
pub mod daemon;
pub mod doctor;
pub mod drill;
pub mod installer;
pub mod live;
pub mod metrics;
pub mod netboot;
pub mod planes;
pub mod power;
pub mod terminal;
pub mod upstream;
