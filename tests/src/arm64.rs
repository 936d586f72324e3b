//! A machine with arm64 boots from the network of a seed with amd64 and shows its pairing code. Where the host can run programs
//! for arm64, which building the artifact needs, the machine becomes a node.
//!
//! Needs the agent for arm64 (`just agent-arm64`), QEMU for ARM and its UEFI firmware; without one of them it is skipped.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use kubedos_skip as skip;

use crate::checks::{self, Ssh};
use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::member::Step;
use crate::netns::{Netns, PREFIX};
use crate::say;
use crate::seedd::Seedd;
use crate::site::Template;
use crate::tool;
use crate::vm::{EMULATOR, Firmware, Spec, arm64_firmware};

/// Everything is emulated.
const PENDING_LIMIT: Duration = Duration::from_secs(45 * 60);
const CONVERGED_LIMIT: Duration = Duration::from_secs(90 * 60);
const NAME: &str = "arm";
/// Of its MAC address.
const NUMBER: u8 = 0xa1;
/// What the console must have shown on the way: the firmware, GRUB, the kernel.
const SIGNS: [&str; 3] = ["Start PXE over IPv4", "Kubedos: starting on", "Linux version"];
/// The kernel's entry for programs of arm64, by the name that Debian's packages give it.
const INTERPRETER: &str = "/proc/sys/fs/binfmt_misc/qemu-aarch64";

pub fn run(dirs: &RunDirs, template: &Template) -> Result<()> {
    if !has_needs(&template.seedd)? {
        return Ok(());
    }
    let (work, logs) = dirs.part("arm64")?;
    let seedd = template.copy(&work.join("data"))?;
    let installs = can_install()?;
    build(&seedd, installs, &work, &logs)?;
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-arm64", std::process::id()), seedd, 0, &work, &logs)?;
    fleet.add(Spec::new(NAME, NUMBER, Firmware::Aavmf))?;
    fleet.until("the pairing code of the machine with arm64", PENDING_LIMIT, |f| Ok(f.waiting_code(0).is_some()))?;
    let member = &fleet.members[0];
    for sign in SIGNS {
        member.vm.console.find(0, sign).with_context(|| format!("the console never showed {sign:?}"))?;
    }
    let id = member.machine.as_ref().context("the seed does not know the machine")?.id;
    let page = fleet.client.page(&format!("/machines/{id}"))?;
    ensure!(page.contains(", arm64"), "the machine's page does not say that it is arm64");
    say::line(&format!("{NAME}: Pending {} after power-on", say::seconds(member.vm.powered_on.elapsed())));
    if installs {
        fleet.approve_until(Step::Converged, "the machine with arm64 to be Converged", CONVERGED_LIMIT)?;
        is_a_node(&fleet, &template.ssh_key)?;
    }
    fleet.ns.must_be_quiet()
}

fn is_a_node(fleet: &Fleet, key: &Path) -> Result<()> {
    checks::all(fleet, key)?;
    let member = &fleet.members[0];
    let planes = member.machine.as_ref().context("the seed does not know the machine")?.planes();
    let ssh = Ssh { fleet, key, address: planes.get("wg1").context("the node has no address on wg1")? };
    let told = ssh.run("dpkg --print-architecture; uname -m")?;
    ensure!(told.split_whitespace().eq(["arm64", "aarch64"]), "the node is {told:?}");
    say::line(&format!("{NAME}: Converged {} after power-on", say::seconds(member.vm.powered_on.elapsed())));
    Ok(())
}

/// Notes what is missing.
fn has_needs(seedd: &Seedd) -> Result<bool> {
    let agent = seedd.program.with_file_name("../aarch64-unknown-linux-gnu/agent/kubedos-node");
    if !agent.is_file() {
        skip::note("agent-arm64", "is not built; `just agent-arm64` builds it").map_err(Error::msg)?;
        return Ok(false);
    }
    if tool::find(EMULATOR).is_none() || arm64_firmware().is_none() {
        skip::note(EMULATOR, "is not installed, or its firmware is not (qemu-efi-aarch64)").map_err(Error::msg)?;
        return Ok(false);
    }
    Ok(true)
}

/// Whether an artifact for arm64 can be built here: it runs the scripts of arm64 packages.
fn can_install() -> Result<bool> {
    let there = fs::read_to_string(INTERPRETER).is_ok_and(|text| text.starts_with("enabled"));
    if !there {
        skip::note("binfmt-arm64", "the kernel starts no programs for arm64; the machine is not installed")
            .map_err(Error::msg)?;
    }
    Ok(there)
}

/// The same site with packages and netboot set for both architectures; an enrollment medium needs no artifact.
fn build(seedd: &Seedd, artifacts: bool, work: &Path, logs: &Path) -> Result<()> {
    let file = seedd.cluster_file();
    let text = fs::read_to_string(&file).context("reading cluster.yaml")?;
    ensure!(text.contains("\nspec:\n"), "cluster.yaml has no spec");
    fs::write(&file, text.replacen("\nspec:\n", "\nspec:\n  architectures: [amd64, arm64]\n", 1))
        .context("writing cluster.yaml")?;
    say::line("seedd darksite build, with arm64");
    seedd.darksite_build(&logs.join("darksite-build.log"))?;
    let ns = Netns::lab(&format!("{PREFIX}{}-arm64-build", std::process::id()), work)?;
    let log = logs.join("image-build.log");
    if artifacts {
        say::line("seedd image build, with artifacts for arm64");
        seedd.image_build(&ns, &log)?;
    } else {
        say::line("seedd image build --target enroll-iso, with a netboot set for arm64");
        seedd.enroll_iso_build(&ns, &work.join("enroll.iso"), &log)?;
    }
    ns.must_be_quiet()
}
