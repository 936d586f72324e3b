//! Why the kernel's part does not work.

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;

use crate::btf::VMLINUX;

#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("the kernel has no type information ({VMLINUX} is missing): nothing is counted")]
    NoBtf,
    #[error("reading the kernel's type information")]
    Btf(#[from] aya::BtfError),
    #[error("loading the programs")]
    Load(#[from] EbpfError),
    #[error("the program {0} is not in the object")]
    Missing(&'static str),
    #[error("loading the program {name}")]
    Program { name: &'static str, source: ProgramError },
    #[error("attaching to {interface}")]
    Attach { interface: String, source: ProgramError },
    #[error("the map {name}")]
    Map { name: &'static str, source: MapError },
}
