//! Booting a seed from its own medium: find it, verify it, enter its root.

pub mod medium;

pub mod boot;
pub mod switch;
