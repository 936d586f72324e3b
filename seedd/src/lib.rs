//! The seed node: command line, configuration, store, jobs, wiring. Knows every other crate; nobody knows it.

pub mod adopt;
pub mod app;
pub mod appliance;
pub mod capsule;
pub mod cli;
pub mod clock;
pub mod console;
pub mod control;
pub mod daemon;
pub mod drill;
pub mod extras;
pub mod fsio;
pub mod hint;
pub mod installer;
pub mod keys;
pub mod life;
pub mod medium;
pub mod planes;
pub mod recorder;
pub mod site;
pub mod site_init;
pub mod stick;
pub mod store;
pub mod terminal;
pub mod tls;
