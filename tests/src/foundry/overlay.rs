//! The disk of a machine that starts from an image.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::tool;

/// Disk of a machine: larger than the image, so that the root file system has to grow.
const DISK: &str = "12G";

/// A larger disk on top of the image, which stays as it is.
pub fn overlay(work: &Path, name: &str, format: &str, image: &Path) -> Result<PathBuf> {
    let disk = work.join(format!("{name}.qcow2"));
    let (image, path) = (image.to_string_lossy(), disk.to_string_lossy());
    tool::run(&["qemu-img", "create", "-q", "-f", "qcow2", "-b", &image, "-F", format, &path, DISK])?;
    Ok(disk)
}
