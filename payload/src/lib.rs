//! (being built)
pub mod tool;
