//! Writing a medium to a stick: listing disks, checking whether one may be overwritten, copying and verifying.

pub mod content;
pub mod copy;
pub mod survey;
