//! The Packer scaffold: `packer build` boots the image and packs its disk again. What it packed is a sound image whose start
//! partitions have the bytes of the signed one, and which enrolls; the signed files stay as they are.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::start;
use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::member::Step;
use crate::netns::{Netns, PREFIX};
use crate::say;
use crate::site::Template;
use crate::tool;
use crate::vm::{Accel, Firmware, Spec};

/// From power-on to Ctrl-Alt-Del: an emulated machine is slow.
const BOOT_WAIT: &str = "4m";
/// Seconds for the whole build.
const BUILD_LIMIT: u32 = 45 * 60;
const ENROLL_LIMIT: Duration = Duration::from_secs(20 * 60);
/// Beginning of the disk that no boot changes: the boot code, the BIOS boot partition and the EFI system partition. The partition
/// table itself may have been moved to the end of a larger disk.
const FIXED: std::ops::Range<u64> = 1 << 20..16 << 20;

pub fn run(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    if tool::find("packer").is_none() {
        return kubedos_skip::note("packer", "is not installed").map_err(anyhow::Error::msg);
    }
    let (work, logs) = dirs.part("packer")?;
    let seedd = template.copy(&work.join("data"))?;
    let packed = {
        let ns = Netns::lab(&format!("{PREFIX}{}-pack", std::process::id()), &work)?;
        let output = seedd.output_build(&ns, "packer-scaffold", &[])?;
        let scaffold = output["directory"].as_str().map(PathBuf::from).context("no directory")?;
        let packed = build(&ns, &scaffold, accel, &work, &logs)?;
        ns.must_be_quiet()?;
        seedd.say_plain(&["image", "verify", &scaffold.to_string_lossy()]).context("verifying the scaffold after the build")?;
        compare(&scaffold, &packed, &work)?;
        packed
    };
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-packed", std::process::id()), seedd, 0, &work, &logs)?;
    fleet.accel = accel;
    start::power_on(&mut fleet, Spec::new("packed", 86, Firmware::SeaBios), &packed, "qcow2")?;
    fleet.until("the machine from the packed image to be Pending", ENROLL_LIMIT, |fleet| Ok(fleet.all(Step::Enrolled)))?;
    say::line("a machine that starts from the packed image shows its code");
    fleet.ns.must_be_quiet()
}

/// Builds in a copy, since the output is immutable; the packed image.
fn build(ns: &Netns, scaffold: &Path, accel: Accel, work: &Path, logs: &Path) -> Result<PathBuf> {
    let at = work.join("scaffold");
    tool::run(&["cp", "-r", &scaffold.to_string_lossy(), &at.to_string_lossy()])?;
    let version = tool::run(&["packer", "version"])?;
    let old =
        version.lines().next().and_then(|l| l.split("v1.").nth(1)?.split('.').next()?.parse::<u32>().ok()).is_some_and(|n| n < 7);
    if !old {
        bail!("{}: the QEMU plugin would have to be fetched; ./dev unpacks Packer 1.6 on Debian 12", version.trim());
    }
    fs::remove_file(at.join("plugins.pkr.hcl")).context("removing plugins.pkr.hcl, as its README says")?;
    let set = |name: &str, value: &str| format!("{name}={value}");
    let (config, cache) = (work.join("packer-config"), work.join("packer-cache"));
    let argv = [
        "env".to_owned(),
        format!("--chdir={}", at.display()),
        "CHECKPOINT_DISABLE=1".to_owned(),
        set("PACKER_CONFIG_DIR", &config.to_string_lossy()),
        set("PACKER_CACHE_DIR", &cache.to_string_lossy()),
        "packer".to_owned(),
        "build".to_owned(),
        "-color=false".to_owned(),
        format!("-var=accelerator={}", if accel == Accel::Kvm { "kvm" } else { "tcg" }),
        format!("-var=boot_wait={BOOT_WAIT}"),
        ".".to_owned(),
    ];
    let log = logs.join("packer.log");
    say::line(&format!("packer build, with {BOOT_WAIT} for the boot ({})", log.display()));
    let out = tool::outcome(&tool::limited(&ns.argv(&argv), BUILD_LIMIT))?;
    fs::write(&log, format!("{}{}", out.stdout, out.stderr)).with_context(|| format!("writing {}", log.display()))?;
    ensure!(out.code == 0, "packer build ended with {}: {}", out.code, tool::tail(&log, 2_000));
    let found: Vec<PathBuf> = listed(&at.join("packed"))?;
    match &found[..] {
        [one] => Ok(one.clone()),
        other => bail!("packer made {other:?}"),
    }
}

fn listed(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    entries.map(|e| Ok(e.with_context(|| format!("reading {}", dir.display()))?.path())).collect()
}

/// The packed image is sound, and starts with the same bytes as the image it was made from.
fn compare(scaffold: &Path, packed: &Path, work: &Path) -> Result<()> {
    tool::run(&["qemu-img", "check", "-f", "qcow2", &packed.to_string_lossy()]).context("checking the packed image")?;
    let image = listed(scaffold)?.into_iter().find(|p| p.extension().is_some_and(|e| e == "qcow2"));
    let image = image.context("the scaffold has no image")?;
    let head = |from: &Path, name: &str| {
        let raw = work.join(name);
        tool::run(&["qemu-img", "convert", "-f", "qcow2", "-O", "raw", &from.to_string_lossy(), &raw.to_string_lossy()])?;
        let mut bytes = vec![0; usize::try_from(FIXED.end - FIXED.start).context("measuring")?];
        File::open(&raw)
            .and_then(|f| f.read_exact_at(&mut bytes, FIXED.start))
            .with_context(|| format!("reading {}", raw.display()))?;
        fs::remove_file(&raw).with_context(|| format!("removing {}", raw.display()))?;
        Ok::<_, anyhow::Error>(bytes)
    };
    ensure!(head(&image, "signed.raw")? == head(packed, "packed.raw")?, "the start partitions of the packed image are others");
    say::line("the packed image is sound, and its start partitions have the signed bytes");
    Ok(())
}
