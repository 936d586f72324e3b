//! A machine with arm64 boots from the network of a seed with amd64 and shows its pairing code.
//!
//! Needs the agent for arm64 (`just agent-arm64`), QEMU for ARM and its UEFI firmware; without one of them it is skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};
use kubedos_skip as skip;

use crate::console::Console;
use crate::dirs::{RunDirs, cache};
use crate::fleet::Fleet;
use crate::netns::{Netns, PREFIX};
use crate::say;
use crate::seedd::Seedd;
use crate::site::Template;
use crate::stop;
use crate::tool::{self, Background};

/// Everything is emulated.
const PENDING_LIMIT: Duration = Duration::from_secs(45 * 60);
const EMULATOR: &str = "qemu-system-aarch64";
/// UEFI for QEMU's `virt`, and an image of its variables; below `/` or where `./dev` unpacks the package.
const FIRMWARE: (&str, &str) = ("usr/share/AAVMF/AAVMF_CODE.fd", "usr/share/AAVMF/AAVMF_VARS.fd");
const MAC: &str = "52:54:00:6b:64:a1";
const NAME: &str = "arm";
/// What the console must have shown on the way: the firmware, GRUB, the kernel.
const SIGNS: [&str; 3] = ["Start PXE over IPv4", "Kubedos: starting on", "Linux version"];

/// Programs and files that this part needs from outside.
struct Needs {
    code: PathBuf,
    vars: PathBuf,
}

pub fn run(dirs: &RunDirs, template: &Template) -> Result<()> {
    let Some(needs) = needs(&template.seedd)? else { return Ok(()) };
    let (work, logs) = dirs.part("arm64")?;
    let seedd = template.copy(&work.join("data"))?;
    build(&seedd, &work, &logs)?;
    let fleet = Fleet::start(&format!("{PREFIX}{}-arm64", std::process::id()), seedd, 0, &work, &logs)?;
    fleet.ns.tap(NAME)?;
    let serial = logs.join(format!("{NAME}.console"));
    let argv = fleet.ns.argv(&arguments(&needs, &work, &serial)?);
    let mut machine = Background::spawn("machine arm", &argv, &logs.join(format!("{NAME}.qemu")), None)?;
    let (mut console, began) = (Console::follow(&serial), Instant::now());
    let what = format!("the pairing code on the console of {NAME} ({})", serial.display());
    stop::wait_for(&what, PENDING_LIMIT, || {
        machine.must_run()?;
        console.poll()?;
        if let Some(line) = console.last_of_agent() {
            say::progress(line);
        }
        Ok(console.pairing_code())
    })?;
    for sign in SIGNS {
        console.find(0, sign).with_context(|| format!("the console never showed {sign:?}"))?;
    }
    let machines = fleet.client.machines()?;
    let found = machines.iter().find(|m| m.mac == MAC).context("the seed does not know the machine")?;
    ensure!(found.state() == "Pending", "the machine is {}", found.state());
    let page = fleet.client.page(&format!("/machines/{}", found.id))?;
    ensure!(page.contains(", arm64"), "the machine's page does not say that it is arm64");
    say::line(&format!("{NAME}: Pending {} after power-on", say::seconds(began.elapsed())));
    fleet.ns.must_be_quiet()
}

/// Notes what is missing, and returns nothing then.
fn needs(seedd: &Seedd) -> Result<Option<Needs>> {
    let agent = seedd.program.with_file_name("../aarch64-unknown-linux-gnu/agent/kubedos-node");
    if !agent.is_file() {
        skip::note("agent-arm64", "is not built; `just agent-arm64` builds it").map_err(Error::msg)?;
        return Ok(None);
    }
    let roots = [PathBuf::from("/"), cache().join("tools/qemu-efi-aarch64")];
    let firmware = roots.into_iter().map(|root| (root.join(FIRMWARE.0), root.join(FIRMWARE.1))).find(|(code, _)| code.is_file());
    match (firmware, tool::find(EMULATOR)) {
        (Some((code, vars)), Some(_)) => Ok(Some(Needs { code, vars })),
        _ => {
            skip::note(EMULATOR, "is not installed, or its firmware is not (qemu-efi-aarch64)").map_err(Error::msg)?;
            Ok(None)
        }
    }
}

/// The same site with packages and netboot set for both architectures. An enrollment medium needs no artifact: those of arm64
/// take the emulator very long.
fn build(seedd: &Seedd, work: &Path, logs: &Path) -> Result<()> {
    let file = seedd.cluster_file();
    let text = fs::read_to_string(&file).context("reading cluster.yaml")?;
    ensure!(text.contains("\nspec:\n"), "cluster.yaml has no spec");
    fs::write(&file, text.replacen("\nspec:\n", "\nspec:\n  architectures: [amd64, arm64]\n", 1))
        .context("writing cluster.yaml")?;
    say::line("seedd darksite build, with arm64");
    seedd.darksite_build(&logs.join("darksite-build.log"))?;
    say::line("seedd image build --target enroll-iso, with a netboot set for arm64");
    let ns = Netns::lab(&format!("{PREFIX}{}-arm64-build", std::process::id()), work)?;
    seedd.enroll_iso_build(&ns, &work.join("enroll.iso"), &logs.join("image-build.log"))?;
    ns.must_be_quiet()
}

fn arguments(needs: &Needs, dir: &Path, serial: &Path) -> Result<Vec<String>> {
    let (own, disk) = (dir.join("arm.vars"), dir.join("arm.raw"));
    fs::copy(&needs.vars, &own).context("copying the firmware's variables")?;
    let made = fs::File::create(&disk).and_then(|f| f.set_len(8 << 30));
    made.with_context(|| format!("making disk {}", disk.display()))?;
    let mut argv = tool::words(&[EMULATOR, "-nodefaults", "-no-user-config", "-display", "none", "-L", "/usr/share/qemu"]);
    argv.extend(tool::words(&["-machine", "virt,acpi=on", "-accel", "tcg,thread=multi", "-cpu", "cortex-a72", "-m", "1536"]));
    let mut add = |option: &str, value: String| argv.extend([option.to_owned(), value]);
    add("-smbios", "type=1,manufacturer=Kubedos,product=Lab,serial=LAB-arm".to_owned());
    add("-serial", format!("file:{}", serial.display()));
    add("-drive", format!("if=pflash,format=raw,readonly=on,file={}", needs.code.display()));
    add("-drive", format!("if=pflash,format=raw,file={}", own.display()));
    add("-object", "rng-random,id=rng0,filename=/dev/urandom".to_owned());
    add("-device", "virtio-rng-pci,rng=rng0".to_owned());
    add("-netdev", format!("tap,id=net0,ifname={NAME},script=no,downscript=no"));
    add("-device", format!("virtio-net-pci,netdev=net0,mac={MAC},bootindex=1,romfile="));
    add("-drive", format!("if=none,id=disk0,format=raw,cache=unsafe,file={}", disk.display()));
    add("-device", "virtio-blk-pci,drive=disk0,serial=LABDISKarm,bootindex=2".to_owned());
    Ok(argv)
}
