//! What `kubedos-node converge` checks: the plays of its role, and the node itself.

pub mod plays;

// Of the node.
pub mod egress;
pub mod listening;
pub mod planes;
pub mod security;
pub mod time;

pub mod node;
