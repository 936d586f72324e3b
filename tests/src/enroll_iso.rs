//! The enrollment medium: built twice with the same bytes, read back, and booted. A machine that starts from it obeys its own
//! site's seed only, and loads nothing else from the network.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster_seed::ids::Digest;
use cluster_seed::medium::ENROLL_VOLUME;
use serde_json::Value;

use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::member::Step;
use crate::netns::{Netns, PREFIX};
use crate::say;
use crate::seedd::Seedd;
use crate::site::{Template, for_the_lab};
use crate::tool;
use crate::vm::{Accel, Firmware, First, Medium, Spec};

const FLOW_LIMIT: Duration = Duration::from_secs(60 * 60);
const BOOT_LIMIT: Duration = Duration::from_secs(10 * 60);
/// Largest medium in bytes: kernel, agent and loaders.
const MAX_MEDIUM: u64 = 64 << 20;

/// Two machines become nodes of the site that made the medium, and start from their disks while it is still in them; a seed with
/// another key learns no more of a machine than its hello.
pub fn run(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    let (work, logs) = dirs.part("enroll-iso")?;
    let seedd = template.copy(&work.join("data"))?;
    let iso = build(&seedd, &work.join("enroll.iso"), &work, &logs)?;
    twice(template, &iso, &work, &logs)?;
    read_back(&seedd, &iso, &work.join("read"))?;
    stranger(template, &iso, (&work, &logs), accel)?;
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-enroll", std::process::id()), seedd, 0, &work, &logs)?;
    fleet.accel = accel;
    let stick = work.join("medium.raw");
    fs::copy(&iso, &stick).context("writing the stick")?;
    fleet.add(spec("disc", 61, Firmware::SeaBios, Medium::Cd(iso)))?;
    fleet.add(spec("stick", 62, Firmware::OvmfSecure, Medium::Usb(stick)))?;
    fleet.approve_until(Step::FabricReady, "both machines to start from their disks", FLOW_LIMIT)?;
    let events = fleet.client.events()?;
    for member in &fleet.members {
        let id = member.machine.as_ref().map(|m| m.id);
        let boot = |kind: &str| ["tftp.", "boot."].iter().any(|k| kind.starts_with(k));
        let loaded = events.iter().find(|e| e.machine == id && boot(&e.kind));
        ensure!(loaded.is_none(), "{} loaded from the network: {loaded:?}", member.name());
        say::line(&format!("{}: a node after {:?}, with nothing loaded by TFTP", member.name(), member.marks[4]));
    }
    let secure = fleet.members[1].vm.console.find(0, "Secure boot enabled");
    ensure!(secure.is_some(), "the kernel does not say that Secure Boot is on");
    fleet.ns.must_be_quiet()
}

/// Only the medium is there to start from.
fn spec(name: &str, number: u8, firmware: Firmware, medium: Medium) -> Spec {
    Spec { first: First::Disk, network_boot: false, medium: Some(medium), ..Spec::new(name, number, firmware) }
}

/// Builds the medium and says how large it is.
fn build(seedd: &Seedd, iso: &Path, work: &Path, logs: &Path) -> Result<PathBuf> {
    let ns = Netns::lab(&format!("{PREFIX}{}-medium", std::process::id()), work)?;
    seedd.enroll_iso_build(&ns, iso, &logs.join("iso-build.log"))?;
    ns.must_be_quiet()?;
    let size = fs::metadata(iso).context("measuring the medium")?.len();
    ensure!(size < MAX_MEDIUM, "the medium has {size} bytes");
    say::line(&format!("the medium is {}", say::megabytes(size)));
    Ok(iso.to_owned())
}

/// The same inputs give the same bytes in another folder and with rebuilt tools.
fn twice(template: &Template, first: &Path, work: &Path, logs: &Path) -> Result<()> {
    let seedd = template.copy(&work.join("another/place/for/data"))?;
    fs::remove_dir_all(seedd.data.join("cache")).context("removing the copy's tools")?;
    let second = build(&seedd, &work.join("second.iso"), work, logs)?;
    let differ = tool::outcome(&tool::words(&["cmp", &first.to_string_lossy(), &second.to_string_lossy()]))?;
    ensure!(differ.code == 0, "two builds of the medium differ: {}{}", differ.stdout.trim(), differ.stderr.trim());
    Ok(())
}

/// Reads the medium as another program does: it has the kernel and initramfs of the netboot set, and the site's key.
pub fn read_back(seedd: &Seedd, iso: &Path, to: &Path) -> Result<()> {
    let name = iso.to_string_lossy().into_owned();
    let files = to.to_string_lossy().into_owned();
    tool::run(&["xorriso", "-osirrox", "on", "-indev", &name, "-extract", "/", &files])?;
    let report = tool::outcome(&tool::words(&["xorriso", "-indev", &name, "-pvd_info", "-report_el_torito", "plain"]))?;
    let report = format!("{}{}", report.stdout, report.stderr);
    ensure!(report.contains(&format!("Volume Id    : {ENROLL_VOLUME}\n")), "volume: {report}");
    for kind in [" BIOS ", " UEFI "] {
        ensure!(report.contains(kind), "no El Torito image for{kind}: {report}");
    }
    let list: Value = serde_json::from_str(&tool::run_owned(&seedd.argv(&["image", "list", "--json"]))?)?;
    let netboot = seedd.data.join("netboot").join(list["netboot"].as_str().context("no netboot set")?);
    let digest = |path: PathBuf| fs::read(&path).map(|b| Digest::of(&b)).with_context(|| format!("reading {}", path.display()));
    for name in ["vmlinuz", "initrd.img"] {
        ensure!(digest(to.join("boot").join(name))? == digest(netboot.join(name))?, "{name} is not that of the netboot set");
    }
    let menu = fs::read_to_string(to.join("boot/grub/grub.cfg")).context("reading the menu")?;
    let key = seedd.public("site")?;
    let linux: Vec<&str> = menu.lines().filter(|l| l.trim_start().starts_with("linux ")).collect();
    ensure!(!linux.is_empty() && linux.iter().all(|l| l.ends_with(&format!(" kubedos.site={key}"))), "no site key: {linux:?}");
    say::line("read back: the netboot set's kernel and initramfs, and the site's key");
    Ok(())
}

/// A seed with another key answers: the machine says so, and reveals nothing.
fn stranger(template: &Template, iso: &Path, (work, logs): (&Path, &Path), accel: Accel) -> Result<()> {
    let seedd = template.seedd.on(&work.join("stranger"));
    seedd.init()?;
    let text = fs::read_to_string(seedd.cluster_file()).context("reading cluster.yaml")?;
    fs::write(seedd.cluster_file(), for_the_lab(&text, "ssh-ed25519 AAAA lab")?).context("writing cluster.yaml")?;
    let key = seedd.public("site")?;
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-stranger", std::process::id()), seedd, 0, work, logs)?;
    fleet.accel = accel;
    fleet.add(spec("misled", 63, Firmware::SeaBios, Medium::Cd(iso.to_owned())))?;
    let refusal = format!("this seed has site key {key}, but kubedos.site= on the command line requires ");
    let vm = &mut fleet.members[0].vm;
    vm.wait(0, &refusal, BOOT_LIMIT)?;
    ensure!(vm.console.pairing_code().is_none(), "a code was shown to a seed with another key");
    fleet.tick(true)?;
    let machines = fleet.client.machines()?;
    let of = machines.iter().find(|m| m.mac == fleet.members[0].vm.spec.mac).context("the other seed never saw the machine")?;
    ensure!(of.state() == "Discovered", "at a seed with another key the machine is {}", of.state());
    say::line("a seed with another key got a hello and nothing else");
    fleet.ns.must_be_quiet()
}
