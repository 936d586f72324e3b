//! The seed node: command line, configuration, store, jobs, wiring. Knows every other crate; nobody knows it.

pub mod app;
pub mod cli;
pub mod control;
pub mod daemon;
pub mod fsio;
pub mod hint;
pub mod keys;
pub mod planes;
pub mod recorder;
pub mod site;
pub mod store;
pub mod terminal;
