//! Boots a seed from its medium, up to the point where the Debian root can be entered. Runs as a child of PID 1, so that no
//! failure here stops the machine; PID 1 then runs [`crate::seed::switch`].

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use camino::Utf8Path;
use cluster_seed::medium::MOUNTED;
use cluster_seed::seal::VerifyingKey;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::http::chain;
use crate::layout::{INIT, SYSROOT};
use crate::ram::{Drivers, Ram};
use crate::seed::medium;
use host::tool::Tool;

/// Mount point of the read-only root.
const LOWER: &str = "/run/kubedos/root";
/// Changes of the running system, in memory: lost at power-off.
const OVERLAY: &str = "/run/kubedos/overlay";
/// The root image in memory, in the initramfs itself: /run is too small.
const COPY: &str = "/root.img";
/// Nothing else uses loop devices before the root is entered.
const LOOP: &str = "/dev/loop0";
/// Share of the memory for changes of the running system.
const OVERLAY_SIZE: &str = "mode=0700,size=25%";
const LOSETUP_LIMIT: Duration = Duration::from_secs(60);
/// Seconds until the medium has to appear: USB controllers and drives need time to start.
const PATIENCE: u32 = 60;
/// Seconds between two lines while waiting for it.
const LINE_EVERY: u32 = 5;
/// Seconds to wait for a valid medium after an invalid one was seen.
const AFTER_BAD: u32 = 10;
/// Modules that no device's alias refers to.
const MODULES: &[&str] = &["isofs", "squashfs", "overlay", "loop", "sr_mod", "usb_storage", "uas"];

/// Boots as far as [`SYSROOT`]. An error was shown on every console.
pub fn run(ram: &Ram<'_>, key: &VerifyingKey) -> anyhow::Result<()> {
    let mut drivers = ram.drivers();
    drivers.load(MODULES);
    find(ram, key, &mut drivers)?;
    enter().context("preparing the system").inspect_err(|e| ram.console.error(&chain(&**e)))
}

/// Leaves the valid medium mounted at [`MOUNTED`], and its root at [`LOWER`].
fn find(ram: &Ram<'_>, key: &VerifyingKey, drivers: &mut Drivers) -> anyhow::Result<()> {
    let mut bad: Vec<(String, String)> = Vec::new();
    let mut deadline = PATIENCE;
    let mut second = 0;
    loop {
        ram.refresh(drivers);
        let devices = medium::devices(ram.root);
        let fresh = |d: &&String| bad.iter().all(|(b, _)| b != *d);
        let seeds: Vec<String> =
            devices.iter().filter(fresh).filter(|d| medium::is_seed(&ram.root.join("dev").join(d))).cloned().collect();
        for device in seeds {
            ram.console.step(&format!("medium {device}"));
            match take(ram, key, &device) {
                Ok(()) => return Ok(()),
                Err(e) => {
                    let why = chain(&*e);
                    ram.console.error(&format!("the medium in {device} was refused: {why}"));
                    bad.push((device, why));
                    deadline = deadline.min(second + AFTER_BAD);
                }
            }
        }
        if second >= deadline {
            return Err(refuse(ram, &devices, &bad));
        }
        if second.is_multiple_of(LINE_EVERY) {
            let seen = if devices.is_empty() { "none yet".to_owned() } else { devices.join(" ") };
            ram.console.step(&format!("looking for the seed medium, {second} of {deadline} s; disks: {seen}"));
        }
        (ram.wait)(Duration::from_secs(1));
        second += 1;
    }
}

/// Shows the reason so that it can be understood without a manual.
fn refuse(ram: &Ram<'_>, devices: &[String], bad: &[(String, String)]) -> anyhow::Error {
    let lines = match bad {
        [] => vec![
            format!("THE SEED DOES NOT START: {}.", medium::not_found(devices)),
            "Insert the USB stick or disc that this machine was started from.".to_owned(),
        ],
        bad => {
            let mut lines: Vec<String> =
                bad.iter().map(|(d, why)| format!("THE SEED REFUSES TO START from {d}: {why}.")).collect();
            lines.push("Nothing on it was run. Write the medium again from an image that you trust.".to_owned());
            lines
        }
    };
    lines.iter().for_each(|l| ram.console.error(l));
    anyhow!("no usable seed medium")
}

fn mounted(source: &str, target: &str, kind: &str, flags: MsFlags, data: Option<&str>) -> anyhow::Result<()> {
    fs::create_dir_all(target).with_context(|| format!("creating {target}"))?;
    mount(Some(source), target, Some(kind), flags, data).with_context(|| format!("mounting {source} at {target} as {kind}"))
}

/// Cleans up after an earlier attempt; usually there is nothing to do.
fn clear() {
    for target in [SYSROOT, OVERLAY, LOWER, MOUNTED] {
        if umount2(target, MntFlags::MNT_DETACH).is_ok() {
            tracing::debug!(target, "unmounted an earlier attempt");
        }
    }
    if Tool::new("busybox").args(["losetup", "-d", LOOP]).timeout(LOSETUP_LIMIT).run().is_ok() {
        tracing::debug!("detached an earlier attempt");
    }
}

fn take(ram: &Ram<'_>, key: &VerifyingKey, device: &str) -> anyhow::Result<()> {
    clear();
    let taken = check(ram, key, device);
    if taken.is_err() {
        clear();
    }
    taken
}

fn check(ram: &Ram<'_>, key: &VerifyingKey, device: &str) -> anyhow::Result<()> {
    let read_only = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    mounted(&format!("/dev/{device}"), MOUNTED, "iso9660", read_only | MsFlags::MS_NOEXEC, None)?;
    let at = Utf8Path::new(MOUNTED);
    let manifest = medium::manifest(at, key)?;
    ram.console.step(&format!("seed {} built by version {}; verifying the system", manifest.id.short(), manifest.version));
    let progress = &mut |percent| ram.console.step(&format!("verifying the system {percent}%"));
    let copied = medium::copy_root(at, &manifest, COPY.into(), progress).map_err(anyhow::Error::from).and_then(|()| {
        Tool::new("busybox").args(["losetup", "-r", LOOP, COPY]).timeout(LOSETUP_LIMIT).run().context("opening the system")
    });
    // The loop device keeps the file, and its memory, for as long as it is attached.
    drop(fs::remove_file(COPY));
    copied?;
    mounted(LOOP, LOWER, "squashfs", MsFlags::MS_RDONLY | MsFlags::MS_NODEV, None)
}

/// Mounts an overlay in memory over the read-only root.
fn enter() -> anyhow::Result<()> {
    mounted("tmpfs", OVERLAY, "tmpfs", MsFlags::MS_NODEV, Some(OVERLAY_SIZE))?;
    for name in ["upper", "work"] {
        let path = format!("{OVERLAY}/{name}");
        fs::create_dir(&path).with_context(|| format!("creating {path}"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).with_context(|| format!("protecting {path}"))?;
    }
    let layers = format!("lowerdir={LOWER},upperdir={OVERLAY}/upper,workdir={OVERLAY}/work");
    mounted("overlay", SYSROOT, "overlay", MsFlags::empty(), Some(&layers))?;
    anyhow::ensure!(Utf8Path::new(SYSROOT).join(INIT.trim_start_matches('/')).exists(), "the system has no init");
    Ok(())
}
