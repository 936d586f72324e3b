//! Moves a site: to a second place (capsule), to another seed (archive of a snapshot), to and from the medium the seed
//! booted from, and onto a USB stick.

pub mod archive;
pub mod capsule;
pub mod medium;
pub mod stick;
