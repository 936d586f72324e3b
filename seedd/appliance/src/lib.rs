//! The seed as an appliance that boots from its own medium: where its state is kept, its network, the screen of its console
//! and the socket over which console and command line ask the daemon.

pub mod boot;
pub mod cluster;
pub mod console;
pub mod control;
pub mod decide;
pub mod disks;
pub mod network;
pub mod settings;
pub mod state;
pub mod table;
pub mod tool;
