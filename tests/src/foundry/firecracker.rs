//! The Firecracker bundle: its script, and its kernel and disks on QEMU's microvm.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::member::{Member, Step};
use crate::netns::{Netns, PREFIX};
use crate::say;
use crate::site::Template;
use crate::tool;
use crate::vm::{Accel, Direct, Firmware, Spec, Vm};

const FLOW_LIMIT: Duration = Duration::from_secs(40 * 60);
/// Of the VM's root disk: larger than the file system.
const GIB: u64 = 8;

pub fn run(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    let (work, logs) = dirs.part("firecracker")?;
    let seedd = template.copy(&work.join("data"))?;
    let bundle = {
        let ns = Netns::lab(&format!("{PREFIX}{}-fire", std::process::id()), &work)?;
        let output = seedd.output_build(&ns, "firecracker-bundle", &[])?;
        output["directory"].as_str().map(PathBuf::from).context("no directory")?
    };
    let (vm, config) = prepared(&bundle, &work)?;
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-micro", std::process::id()), seedd, 0, &work, &logs)?;
    fleet.accel = accel;
    let path = |value: &Value| value.as_str().map(|name| vm.join(name)).context("not a name of a file");
    let boot = &config["boot-source"];
    let direct = Direct {
        kernel: path(&boot["kernel_image_path"])?,
        initrd: path(&boot["initrd_path"])?,
        append: format!("{}{}", boot["boot_args"].as_str().context("no kernel parameters")?, clock(accel)),
        second: path(&config["drives"][1]["path_on_host"])?,
    };
    let spec = Spec { direct: Some(direct), memory: 1536, ..Spec::new("fire", 85, Firmware::SeaBios) };
    fleet.ns.tap(&spec.name)?;
    let disk = path(&config["drives"][0]["path_on_host"])?;
    fleet.members.push(Member::new(Vm::power_on(&fleet.ns, spec, accel, disk, &work, &logs)?));
    fleet.approve_until(Step::Converged, "the VM from the bundle to be Converged", FLOW_LIMIT)?;
    crate::checks::all(&fleet, &template.ssh_key)?;
    fleet.ns.must_be_quiet()
}

/// An emulated microvm has no timer that the kernel could measure another one by. Firecracker, under KVM, tells the frequency.
fn clock(accel: Accel) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mhz = cpu.lines().find_map(|l| l.strip_prefix("cpu MHz")?.rsplit(':').next()?.trim().parse::<f64>().ok());
    match mhz.filter(|_| accel != Accel::Kvm) {
        Some(mhz) => format!(" tsc_early_khz={:.0}", mhz * 1000.0),
        None => String::new(),
    }
}

/// The script's dry run prepares a VM; its directory and configuration.
fn prepared(bundle: &Path, work: &Path) -> Result<(PathBuf, Value)> {
    let (script, vms) = (bundle.join("start.sh"), work.join("vms"));
    let start = |more: &[&str]| {
        let mut argv = vec![script.to_string_lossy().into_owned(), "--dir".to_owned(), vms.to_string_lossy().into_owned()];
        argv.extend(tool::words(more));
        tool::outcome(&argv)
    };
    for (bad, why) in [
        (&["fire", "--cpus", "0"][..], "--cpus takes a positive number"),
        (&["../fire"], "may contain only a-z, 0-9 and -"),
        (&[], "the name of the VM is missing"),
        (&["fire", "--tap", "a b"], "is not the name of a network device"),
        (&["fire", "--quick"], "unknown option --quick"),
    ] {
        let refused = start(bad)?;
        ensure!(refused.code == 1 && refused.stderr.contains(why), "{bad:?}: {refused:?}");
        ensure!(!vms.exists(), "a refused start left {}", vms.display());
    }
    let shown = start(&["--dry-run", "--tap", "tap7", "--memory", "1536", "--disk", &GIB.to_string(), "fire"])?;
    ensure!(shown.code == 0 && shown.stdout.contains("firecracker --no-api --config-file vm.json"), "{shown:?}");
    let vm = vms.join("fire");
    let text = fs::read_to_string(vm.join("vm.json")).context("reading the VM's configuration")?;
    let config: Value = serde_json::from_str(&text).with_context(|| format!("reading {text}"))?;
    let card = &config["network-interfaces"][0];
    ensure!(card["host_dev_name"] == "tap7" && card["guest_mac"].as_str().is_some_and(|m| m.starts_with("02:")), "{card}");
    ensure!(config["machine-config"]["mem_size_mib"] == 1536, "{config}");
    let root = File::open(vm.join("root.ext4")).and_then(|f| f.metadata()).context("measuring the VM's root disk")?;
    ensure!(root.len() == GIB << 30, "the root disk has {} bytes", root.len());
    let jailed = start(&["--dry-run", "--jailer", "1000", "fire"])?;
    ensure!(jailed.code == 0 && jailed.stdout.contains("jailer --id fire --uid 1000 --gid 1000"), "{jailed:?}");
    say::line("start.sh: bad values are refused, and a VM is prepared with its own disks");
    Ok((vm, config))
}
