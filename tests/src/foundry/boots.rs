//! Machines that start from an output: they find their seed, show a code, and become nodes like netbooted ones.

use std::time::Duration;

use anyhow::{Context, Result};

use super::cloud;
use super::start::{disk_of, power_on};
use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::member::Step;
use crate::netns::{Netns, PREFIX};
use crate::say;
use crate::site::Template;
use crate::vm::{Accel, Firmware, Spec};

const FLOW_LIMIT: Duration = Duration::from_secs(40 * 60);

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
            images.push(disk_of(&seedd.output_build(&ns, target, &[])?)?);
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
    let raw = images.last().context("no raw image")?;
    cloud::run(&mut fleet, raw, &template.ssh_key)?;
    fleet.ns.must_be_quiet()
}
