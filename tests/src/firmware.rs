//! Every kind of firmware boots the agent from the network: one machine after the other, each to its address.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::demo::accelerator;
use crate::fleet::Fleet;
use crate::netns::PREFIX;
use crate::say;
use crate::site::Template;
use crate::vm::{Firmware, First, Spec, Vm};

const BOOT_LIMIT: Duration = Duration::from_secs(10 * 60);
/// What the agent prints once it has its address in RAM.
const BOOTED: &str = "kubedos: step address";

/// Name, firmware, and what its console must have shown on the way.
const KINDS: [(&str, Firmware, &[&str]); 4] = [
    ("bios", Firmware::SeaBios, &["iPXE", "Kubedos: starting the agent"]),
    ("uefi", Firmware::Ovmf, &["Start PXE over IPv4", "Kubedos: starting on"]),
    ("http", Firmware::OvmfHttp, &["Start HTTP Boot over IPv4", "Kubedos: starting on"]),
    ("secure", Firmware::OvmfSecure, &["Start PXE over IPv4", "Kubedos: starting on", "secureboot: Secure boot enabled"]),
];

/// Boots one machine of each kind.
pub fn run(template: &Template, work: &Path, logs: &Path) -> Result<()> {
    let seedd = template.copy(&work.join("data"))?;
    let fleet = Fleet::start(&format!("{PREFIX}{}-firmware", std::process::id()), seedd, 0, work, logs)?;
    let accel = accelerator(&fleet.seedd, &fleet.work)?;
    for (number, (name, firmware, signs)) in (81u8..).zip(KINDS) {
        let spec = Spec { first: First::Network, ..Spec::new(name, number, firmware) };
        let mut vm = Vm::start(&fleet.ns, spec, accel, work, logs)?;
        vm.wait(0, BOOTED, BOOT_LIMIT)?;
        let took = vm.powered_on.elapsed();
        for sign in signs {
            vm.console.find(0, sign).with_context(|| format!("the console of {name} never showed {sign:?}"))?;
        }
        say::line(&format!("{name}: the agent runs after {}", say::seconds(took)));
    }
    fleet.ns.must_be_quiet()
}
