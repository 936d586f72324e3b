//! The writers against the programs that read their output, over images of all kinds.

mod bench;
mod endings;
mod package;
mod qcow2;
mod vhd;
mod vhdx;
mod vmdk;
