//! The life of snapshots: what is here and what is proven of it, archives for a stick, and what can go.

pub mod archive_in;
pub mod archive_out;
pub mod gc;
pub mod holding;
pub mod snapshots;
