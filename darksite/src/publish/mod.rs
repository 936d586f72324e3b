//! From a plan to files: the signed tree that apt reads, and the lock beside which it can be built again.

pub mod release_key;

pub mod pack;
pub mod shelf;
mod stub;

pub mod build;

pub mod saved;
