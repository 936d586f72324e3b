//! The payload of a site: gathered from a directory, checked, packed and signed.

mod gather;

mod pack;

pub mod check;
pub mod publish;

pub use gather::{Origin, Part, Parts, PayloadError, gather};
pub use pack::read_file;
pub use publish::{Published, publish};
