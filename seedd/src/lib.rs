//! The seed node: command line, daemon and use cases. Imports every other crate; nothing imports it.

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
