//! Writers of disk image formats: qcow2, VMDK with OVF and OVA, VHD, VHDX.
//!
//! The input is always a raw disk image, a file with sectors of 512 bytes that may have holes. Everything that other writers
//! take from the clock or a random generator (identifiers, dates) is an argument: equal input gives equal bytes, whatever the
//! number of cores and whether zeros are holes or not.
//!
//! Output is written to a temporary file in the same folder, flushed and renamed at the end. After an error or a cancellation
//! nothing is left. At most some tens of MiB are kept in memory, whatever the size of the disk.
//!
//! The modules, in reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// Why an image could not be written, and what to do about it.
mod error;

/// The raw disk image that is read, and its holes.
mod raw;

/// The file that is written: temporary name, flush, rename.
mod output;

/// Pieces of the raw image through all cores, results in order.
mod pieces;

/// Compression of blocks of 64 KiB.
mod pack;

/// Names of files, for every place where they are written.
mod names;

/// qcow2 version 3 with compressed clusters (QEMU, Proxmox VE, libvirt, OpenStack).
pub mod qcow2;

/// VMDK, streamOptimized (VMware ESXi and vSphere, AWS import).
pub mod vmdk;

/// The OVF descriptor and the manifest of a package.
pub mod ovf;

/// OVA: an OVF package in one file.
pub mod ova;

/// Fixed VHD (Azure).
pub mod vhd;

/// Dynamic VHDX (Hyper-V).
pub mod vhdx;

use camino::Utf8Path;
use cluster_seed::progress::Progress;

pub use error::Error;
/// An identifier of 128 bits (RFC 9562).
pub use uuid::Uuid;

/// What every writer of a disk needs.
#[derive(Clone, Copy)]
pub struct Conversion<'a> {
    /// The raw disk image. Its size must be a multiple of 512 bytes.
    pub raw: &'a Utf8Path,
    /// The file to create or replace. Its folder must exist.
    pub out: &'a Utf8Path,
    /// Advanced by bytes of the raw image; asked once per piece of 1 MiB whether to stop.
    pub progress: &'a dyn Progress,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Size of the file in bytes.
    pub size: u64,
    /// Size of the virtual disk in bytes.
    pub capacity: u64,
}
