//! The node medium as CD and as USB stick: machines enroll, and install without fetching a chunk.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::member::Step;
use crate::netns::{Netns, PREFIX};
use crate::say;
use crate::site::Template;
use crate::vm::{Accel, Firmware, First, Medium, Spec};

const FLOW_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Most bytes that a machine gets from the network: the artifact's manifest and apt's lists, but no chunks of hundreds of MiB.
const MOST: u64 = 64 << 20;

pub fn run(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    let (work, logs) = dirs.part("node-iso")?;
    let seedd = template.copy(&work.join("data"))?;
    let iso = {
        let ns = Netns::lab(&format!("{PREFIX}{}-iso", std::process::id()), &work)?;
        let output = seedd.output_build(&ns, "node-iso", &[])?;
        output["file"].as_str().map(PathBuf::from).context("no file")?
    };
    say::line(&format!("the medium is {}", say::megabytes(fs::metadata(&iso).context("measuring the medium")?.len())));
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-node", std::process::id()), seedd, 0, &work, &logs)?;
    fleet.accel = accel;
    let stick = work.join("node.raw");
    fs::copy(&iso, &stick).context("writing the stick")?;
    for (name, number, firmware, medium) in
        [("disc", 83, Firmware::SeaBios, Medium::Cd(iso)), ("stick", 84, Firmware::OvmfSecure, Medium::Usb(stick))]
    {
        let medium = Some(medium);
        fleet.add(Spec { first: First::Disk, network_boot: false, medium, ..Spec::new(name, number, firmware) })?;
    }
    fleet.approve_until(Step::Converged, "machines from the node medium to be Converged", FLOW_LIMIT)?;
    for member in &fleet.members {
        let said = member.vm.console.find(0, "installing from the node medium in ");
        ensure!(said.is_some(), "{} did not install from its medium", member.name());
        let sent = sent_to(&fleet.ns, member.name())?;
        ensure!(sent < MOST, "{sent} bytes were sent to {}, more than enrollment needs", member.name());
        say::line(&format!("{}: installed from its medium; {} from the network", member.name(), say::megabytes(sent)));
    }
    fleet.ns.must_be_quiet()
}

/// Bytes that a machine received.
fn sent_to(ns: &Netns, name: &str) -> Result<u64> {
    let shown = ns.outcome(&["ip", "-json", "-statistics", "link", "show", "dev", name])?;
    let links: serde_json::Value = serde_json::from_str(&shown.stdout).with_context(|| format!("reading {:?}", shown.stdout))?;
    links[0]["stats64"]["tx"]["bytes"].as_u64().context("no count of bytes sent")
}
