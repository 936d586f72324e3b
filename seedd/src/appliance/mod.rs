//! The seed as an appliance: booted from a medium, set up in a browser, with its state on a partition of its own.

pub mod boot;
pub mod cluster;
pub mod decide;
pub mod disks;
pub mod network;
pub mod run;
pub mod settings;
pub mod setup;
pub mod state;
pub mod table;
pub mod tool;
