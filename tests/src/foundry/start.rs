//! Disks of outputs, and of machines that start from them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::fleet::Fleet;
use crate::member::Member;
use crate::vm::{First, Spec, Vm};
use crate::{say, tool};

/// Disk of a machine: larger than every image (Packer makes 16 GiB), so that the root file system has to grow.
const DISK: &str = "20G";

/// Switches on a machine that starts from an image, of the format that QEMU calls `format`.
pub fn power_on(fleet: &mut Fleet, spec: Spec, image: &Path, format: &str) -> Result<()> {
    let spec = Spec { first: First::Disk, network_boot: false, format: "qcow2", ..spec };
    say::line(&format!("power on {}: {:?}, from {}", spec.name, spec.firmware, image.display()));
    let disk = overlay(&fleet.work, &spec.name, format, image)?;
    fleet.ns.tap(&spec.name)?;
    let vm = Vm::power_on(&fleet.ns, spec, fleet.accel, disk, &fleet.work, &fleet.logs)?;
    fleet.members.push(Member::new(vm));
    Ok(())
}

/// A larger disk on top of the image, which stays as it is.
fn overlay(work: &Path, name: &str, format: &str, image: &Path) -> Result<PathBuf> {
    let disk = work.join(format!("{name}.qcow2"));
    let (image, path) = (image.to_string_lossy(), disk.to_string_lossy());
    tool::run(&["qemu-img", "create", "-q", "-f", "qcow2", "-b", &image, "-F", format, &path, DISK])?;
    Ok(disk)
}

/// The disk image of an output: of a package, the disk beside it.
pub fn disk_of(output: &Value) -> Result<PathBuf> {
    let file = output["file"].as_str().map(PathBuf::from).context("no file")?;
    Ok(match file.extension() {
        Some(extension) if extension == "ova" => {
            let name = file.file_stem().context("no name")?.to_string_lossy().into_owned();
            file.with_file_name(format!("{name}-disk1.vmdk"))
        }
        _ => file,
    })
}
