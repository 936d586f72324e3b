//! The seed as an appliance: booted from a medium, set up in a browser, with its state on a partition of its own.

pub mod settings;
