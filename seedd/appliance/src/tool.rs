//! The programs an appliance needs of its root: util-linux and e2fsprogs for the state, iproute2 and busybox for the
//! network.

use std::fs::File;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8Path;
use host::tool::{Running, Tool};

use super::decide::UNFINISHED;
use super::table::{NAME, Place};

/// Making and checking a file system on a slow stick takes its time.
const DISK_LIMIT: Duration = Duration::from_secs(1800);
const LIMIT: Duration = Duration::from_secs(20);

/// Opens a part of a disk as a device of its own. The kernel's partition device will not do: the running medium may hold
/// the whole disk, and the kernel does not know a partition that was added under it.
pub fn attach(disk: &Utf8Path, place: Place) -> Result<String> {
    let (start, len) = (place.start.to_string(), place.len.to_string());
    let args = ["--find", "--show", "--nooverlap", "--offset", &start, "--sizelimit", &len, disk.as_str()];
    let output = Tool::new("losetup").args(args).timeout(LIMIT).run().with_context(|| format!("opening a part of {disk}"))?;
    let device = output.text();
    if device.starts_with("/dev/loop") { Ok(device) } else { Err(anyhow!("losetup answered {device:?}")) }
}

pub fn detach(device: &str) -> Result<()> {
    Tool::new("losetup").args(["--detach", device]).timeout(LIMIT).run().with_context(|| format!("closing {device}"))?;
    Ok(())
}

/// What blkid finds in a part of a disk, by its superblocks and not by a cache: `TYPE` and `LABEL`.
pub fn probe(disk: &Utf8Path, place: Place) -> Result<Option<String>> {
    let (start, len) = (place.start.to_string(), place.len.to_string());
    let args = ["--probe", "--output", "export", "--offset", &start, "--size", &len, disk.as_str()];
    let (status, output) = Tool::new("blkid").args(args).timeout(LIMIT).run_any().context("running blkid")?;
    // blkid(8): 2 nothing found, 8 more than one thing found.
    match status.code() {
        Some(2) => Ok(None),
        Some(8) => Ok(Some("content of more than one kind".to_owned())),
        Some(0) => {
            let text = output.text();
            let wanted = |l: &&str| ["TYPE=", "LABEL=", "PTTYPE="].iter().any(|w| l.starts_with(w));
            let words: Vec<&str> = text.lines().filter(wanted).collect();
            Ok(Some(if words.is_empty() { "something unknown".to_owned() } else { words.join(" ") }))
        }
        _ => Err(anyhow!("blkid failed on {disk} with {status}: {}", output.stderr.trim())),
    }
}

/// Makes the file system; its name says that it is unfinished until everything of it is on the disk.
pub fn make(device: &str) -> Result<()> {
    let args = ["-q", "-F", "-t", "ext4", "-L", UNFINISHED, "-m", "1", "-E", "nodiscard", device];
    Tool::new("mke2fs").args(args).timeout(DISK_LIMIT).run().context("making the file system of the state")?;
    sync(device)?;
    Tool::new("tune2fs").args(["-L", NAME, device]).timeout(LIMIT).run().context("naming the file system of the state")?;
    sync(device)
}

fn sync(device: &str) -> Result<()> {
    File::open(device).and_then(|f| f.sync_all()).with_context(|| format!("writing {device} out"))
}

/// Repairs what can be repaired without a question. The journal is replayed here.
pub fn check(device: &str) -> Result<()> {
    let (status, output) = Tool::new("e2fsck").args(["-p", device]).timeout(DISK_LIMIT).run_any().context("running e2fsck")?;
    // e2fsck(8): 1 and 2 are errors that were corrected; nothing is mounted yet, so no restart is needed.
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

/// Adds an address with its prefix length, or keeps it.
pub fn add_address(iface: &str, address: &str) -> Result<()> {
    ip(&["address", "replace", address, "broadcast", "+", "dev", iface])
}

pub fn remove_address(iface: &str, address: &str) -> Result<()> {
    ip(&["address", "delete", address, "dev", iface])
}

pub fn default_route(iface: &str, via: &str) -> Result<()> {
    ip(&["route", "replace", "default", "via", via, "dev", iface])
}

/// A DHCP client (busybox) that keeps its lease for as long as the handle lives. `hook` is the program it calls,
/// with a variable set for it.
pub fn dhcp_client(iface: &str, hook: &Utf8Path, (name, value): (&str, &Utf8Path), log: File) -> Result<Running> {
    let args = ["udhcpc", "-f", "-i", iface, "-s", hook.as_str(), "-t", "4", "-T", "2", "-A", "20"];
    Tool::new("busybox").args(args).env(name, value).spawn(log).context("starting busybox udhcpc")
}
