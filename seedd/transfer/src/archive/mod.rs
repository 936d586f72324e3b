//! A snapshot, or its difference from another one, as one file: written to a stick and imported on another seed.

pub mod read;
pub mod write;
