//! The lab: a network of its own, real machines under QEMU, and everything that drives the product through its
//! public interfaces, the way its users do.

pub mod console;
pub mod netns;
pub mod qmp;
pub mod stop;
pub mod tool;
pub mod vm;
