//! What the programs ask of the machine they run on. The agent, the crates of the seed and the lab share it, so that a file
//! is replaced, a program started and a disk listed in one way only. It imports `cluster-seed` and nothing else of ours.

pub mod ar;
pub mod blobs;
pub mod clock;
#[cfg(feature = "deb")]
pub mod deb;
pub mod dhcp;
pub mod files;
pub mod hardware;
pub mod parallel;
pub mod random;
pub mod sealed;
pub mod tool;
