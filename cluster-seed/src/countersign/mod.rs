//! Countersigning: a second key, kept off the seed, without whose signature nodes take no new peer (docs/adr/0037). Whoever has the
//! seed and its site key can then remove nodes, but add none.

pub mod file;
pub mod judge;
pub mod list;
pub mod state;
pub mod statement;
