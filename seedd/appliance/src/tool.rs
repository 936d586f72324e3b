//! The programs that an appliance runs: util-linux and e2fsprogs for the state, iproute2 and busybox for the network.

use std::fs::File;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8Path;
use host::tool::{Running, Tool};

use super::decide::UNFINISHED;
use super::table::{NAME, Place};

/// Time limit for creating and checking a file system, which can be slow on a stick.
const DISK_LIMIT: Duration = Duration::from_secs(1800);
const LIMIT: Duration = Duration::from_secs(20);

/// Opens a part of a disk as a loop device. The kernel's partition device cannot be used: the running medium may use the whole
/// disk, and then the kernel does not know a partition that was added to it.
pub fn attach(disk: &Utf8Path, place: Place) -> Result<String> {
    let (start, len) = (place.start.to_string(), place.len.to_string());
    let args = ["--find", "--show", "--nooverlap", "--offset", &start, "--sizelimit", &len, disk.as_str()];
    let output = Tool::new("losetup").args(args).timeout(LIMIT).run().with_context(|| format!("opening a part of {disk}"))?;
    let device = output.text();
    if device.starts_with("/dev/loop") { Ok(device) } else { Err(anyhow!("unexpected output of losetup: {device:?}")) }
}

pub fn detach(device: &str) -> Result<()> {
    Tool::new("losetup").args(["--detach", device]).timeout(LIMIT).run().with_context(|| format!("closing {device}"))?;
    Ok(())
}

/// `TYPE` and `LABEL` that blkid reads from the superblocks of a part of a disk, not from its cache.
pub fn probe(disk: &Utf8Path, place: Place) -> Result<Option<String>> {
    let (start, len) = (place.start.to_string(), place.len.to_string());
    let args = ["--probe", "--output", "export", "--offset", &start, "--size", &len, disk.as_str()];
    let (status, output) = Tool::new("blkid").args(args).timeout(LIMIT).run_any().context("running blkid")?;
    // blkid(8): 2 nothing found, 8 more than one thing found.
    match status.code() {
        Some(2) => Ok(None),
        Some(8) => Ok(Some("more than one file system".to_owned())),
        Some(0) => {
            let text = output.text();
            let wanted = |l: &&str| ["TYPE=", "LABEL=", "PTTYPE="].iter().any(|w| l.starts_with(w));
            let words: Vec<&str> = text.lines().filter(wanted).collect();
            Ok(Some(if words.is_empty() { "unknown data".to_owned() } else { words.join(" ") }))
        }
        _ => Err(anyhow!("blkid failed on {disk} with {status}: {}", output.stderr.trim())),
    }
}

/// Creates the file system; its label marks it as incomplete until everything is on the disk.
pub fn make(device: &str) -> Result<()> {
    let args = ["-q", "-F", "-t", "ext4", "-L", UNFINISHED, "-m", "1", "-E", "nodiscard", device];
    Tool::new("mke2fs").args(args).timeout(DISK_LIMIT).run().context("creating the file system of the state")?;
    sync(device)?;
    Tool::new("tune2fs").args(["-L", NAME, device]).timeout(LIMIT).run().context("labelling the file system of the state")?;
    sync(device)
}

fn sync(device: &str) -> Result<()> {
    File::open(device).and_then(|f| f.sync_all()).with_context(|| format!("syncing {device}"))
}

/// Replays the journal, and repairs what can be repaired automatically.
pub fn check(device: &str) -> Result<()> {
    let (status, output) = Tool::new("e2fsck").args(["-p", device]).timeout(DISK_LIMIT).run_any().context("running e2fsck")?;
    // e2fsck(8): 1 and 2 mean that errors were corrected; nothing is mounted yet, so no restart is needed.
    match status.code() {
        Some(0..=3) => Ok(()),
        _ => Err(anyhow!("the file system of the state is damaged (e2fsck: {status}): {}", output.text())),
    }
}

fn ip(args: &[&str]) -> Result<()> {
    Tool::new("ip").args(args).timeout(LIMIT).run().with_context(|| format!("running ip {}", args.join(" ")))?;
    Ok(())
}

pub fn link_up(iface: &str) -> Result<()> {
    ip(&["link", "set", "dev", iface, "up"])
}

/// Adds an address with its prefix length, if it does not exist.
pub fn add_address(iface: &str, address: &str) -> Result<()> {
    ip(&["address", "replace", address, "broadcast", "+", "dev", iface])
}

pub fn remove_address(iface: &str, address: &str) -> Result<()> {
    ip(&["address", "delete", address, "dev", iface])
}

pub fn default_route(iface: &str, via: &str) -> Result<()> {
    ip(&["route", "replace", "default", "via", via, "dev", iface])
}

/// A DHCP client (busybox) that keeps its lease as long as the handle exists. `hook` is the program that it calls, with a
/// variable set for it.
pub fn dhcp_client(iface: &str, hook: &Utf8Path, (name, value): (&str, &Utf8Path), log: File) -> Result<Running> {
    let args = ["udhcpc", "-f", "-i", iface, "-s", hook.as_str(), "-t", "4", "-T", "2", "-A", "20"];
    Tool::new("busybox").args(args).env(name, value).spawn(log).context("starting busybox udhcpc")
}
