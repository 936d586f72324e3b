//! The machine's hardware, read from /sys and /proc below a given root (so that a test can bring its own).

/// The disks of the machine.
mod disks;

/// Attributes of /sys.
mod sysfs;

use std::fs;

use camino::Utf8Path;
use cluster_seed::arch::Arch;
use cluster_seed::ids::Mac;
use cluster_seed::machine::{Firmware, HardwareFacts, Nic};

pub use disks::{candidates, disks};
use sysfs::{MAX_ATTRIBUTE, attribute, names, read};

/// Most bytes read of /proc/cpuinfo.
const MAX_CPUINFO: u64 = 4 << 20;

/// All facts that are sent to the seed. Values that cannot be read stay empty: unusual hardware must still be listed.
pub fn gather(root: &Utf8Path, boot_mac: Option<Mac>) -> HardwareFacts {
    let dmi = |name: &str| attribute(&root.join("sys/class/dmi/id").join(name));
    let cpuinfo = read(&root.join("proc/cpuinfo"), MAX_CPUINFO);
    let firmware = if root.join("sys/firmware/efi").exists() { Firmware::Uefi } else { Firmware::Bios };
    HardwareFacts {
        vendor: dmi("sys_vendor"),
        product: dmi("product_name"),
        serial: dmi("product_serial"),
        uuid: dmi("product_uuid").to_lowercase(),
        firmware,
        firmware_date: dmi("bios_date"),
        cpu: model(&cpuinfo).unwrap_or_default(),
        cpus: u32::try_from(cpuinfo.lines().filter(|l| l.starts_with("processor")).count()).unwrap_or(u32::MAX),
        memory_mib: memory_mib(&read(&root.join("proc/meminfo"), MAX_ATTRIBUTE)),
        disks: candidates(root),
        disks_left_out: 0,
        root_disk: None,
        nics: nics(root),
        boot_mac,
        kernel: attribute(&root.join("proc/sys/kernel/osrelease")),
        arch: Arch::of_machine(std::env::consts::ARCH).unwrap_or_default(),
    }
    .tamed()
}

/// The processor's name. An arm64 kernel prints numbers of the designer and of the part instead (MIDR_EL1).
fn model(cpuinfo: &str) -> Option<String> {
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|l| l.starts_with(name))?;
        line.split_once(':').map(|(_, v)| v.trim().to_owned())
    };
    let numbers = || Some(format!("CPU implementer {}, part {}", field("CPU implementer")?, field("CPU part")?));
    field("model name").or_else(numbers)
}

/// Where a file system is: the names below /dev of its device and of the disk, and the partition's number if it is on one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub device: String,
    pub disk: String,
    pub partition: Option<u32>,
}

/// The place of the file system with this device number (stat(2), `st_dev`). `None` without a block device, as for an overlay.
pub fn place_of(root: &Utf8Path, device: u64) -> Option<Place> {
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let dir = root.join(format!("sys/dev/block/{major}:{minor}"));
    let link = dir.read_link_utf8().ok()?;
    let partition = attribute(&dir.join("partition")).parse().ok();
    let disk = if partition.is_some() { link.parent()? } else { &link };
    // The kernel writes `/` in a device's name as `!`.
    let name = |path: &Utf8Path| path.file_name().map(|n| n.replace('!', "/"));
    Some(Place { device: name(&link)?, disk: name(disk)?, partition })
}

/// Ethernet interfaces that have hardware behind them.
pub fn nics(root: &Utf8Path) -> Vec<Nic> {
    names(&root.join("sys/class/net")).into_iter().filter_map(|name| nic(root, name)).collect()
}

fn nic(root: &Utf8Path, name: String) -> Option<Nic> {
    let dir = root.join("sys/class/net").join(&name);
    // ARPHRD_ETHER is 1.
    if attribute(&dir.join("type")) != "1" || !dir.join("device").exists() {
        return None;
    }
    let driver = fs::read_link(dir.join("device/driver")).ok();
    let driver = driver.and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned())).unwrap_or_default();
    Some(Nic {
        mac: attribute(&dir.join("address")).parse().ok()?,
        driver,
        link_up: attribute(&dir.join("carrier")) == "1",
        speed: attribute(&dir.join("speed")).parse().ok().filter(|s| *s > 0),
        name,
    })
}

fn memory_mib(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    line.and_then(|l| l.split_ascii_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

#[cfg(test)]
mod tests;
