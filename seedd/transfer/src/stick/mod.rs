//! Writing a medium to a stick: which disks there are, whether one may be overwritten, the copy and its proof.

pub mod content;
pub mod copy;
pub mod survey;
