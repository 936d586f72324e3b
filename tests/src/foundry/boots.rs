//! Machines that start from an output: they find their seed, show a code, and become nodes like netbooted ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::member::{Member, Step};
use crate::netns::{Netns, PREFIX};
use crate::say;
use crate::site::Template;
use crate::tool;
use crate::vm::{Accel, Firmware, First, Spec, Vm};

const FLOW_LIMIT: Duration = Duration::from_secs(40 * 60);
/// Disk of a machine: larger than the image, so that the root file system has to grow.
const DISK: &str = "12G";

/// What is booted: machine, number, target, QEMU's name of the format, firmware.
const MACHINES: [(&str, u8, &str, &str, Firmware); 4] = [
    ("cow", 71, "qcow2", "qcow2", Firmware::SeaBios),
    ("cowuefi", 72, "qcow2", "qcow2", Firmware::Ovmf),
    ("ware", 73, "vmdk", "vmdk", Firmware::OvmfSecure),
    ("plain", 74, "raw", "raw", Firmware::SeaBios),
];

pub fn run(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    let (work, logs) = dirs.part("boots")?;
    let seedd = template.copy(&work.join("data"))?;
    let mut images = Vec::new();
    {
        let ns = Netns::lab(&format!("{PREFIX}{}-build", std::process::id()), &work)?;
        for (.., target, _, _) in MACHINES {
            let output = seedd.output_build(&ns, target, &[])?;
            images.push(output["file"].as_str().map(PathBuf::from).context("no file")?);
        }
        ns.must_be_quiet()?;
    }
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-boots", std::process::id()), seedd, 0, &work, &logs)?;
    fleet.accel = accel;
    // Two at a time: the emulator has as many processors.
    for (machines, images) in MACHINES.chunks(2).zip(images.chunks(2)) {
        fleet.members.clear();
        for ((name, number, _, format, firmware), image) in machines.iter().zip(images) {
            power_on(&mut fleet, Spec::new(name, *number, *firmware), image, format)?;
        }
        fleet.approve_until(Step::Converged, "machines from images to be Converged", FLOW_LIMIT)?;
        crate::checks::all(&fleet, &template.ssh_key)?;
        for member in &fleet.members {
            say::line(&format!("{}: a node after {:?}", member.name(), member.marks[5]));
        }
    }
    fleet.ns.must_be_quiet()
}

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
