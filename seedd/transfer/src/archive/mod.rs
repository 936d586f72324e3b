//! A snapshot as one file, or what it has beyond another one: written for a stick, read back elsewhere.

pub mod read;
pub mod write;
