//! Lists disks and what uses them, from /sys and /proc below a given root.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};
use host::files::read_limited;
use serde::Serialize;

use super::content;

const MAX_ATTRIBUTE: u64 = 4096;
const MAX_TABLE: u64 = 4 << 20;
/// Maximum number of layers between a file system and its disk: partition, LUKS, LVM, RAID and one or two loop devices.
const MAX_DEPTH: u32 = 8;
/// Size of a sector in /sys, in bytes (Documentation/ABI/stable/sysfs-block).
const SECTOR: u64 = 512;

/// Why a device must not be overwritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("{0} is not a disk")]
    NotADisk(String),
    #[error("{part} is a partition of {disk}")]
    Partition { part: String, disk: String },
    #[error("{name} is in use: {}", uses.join("; "))]
    InUse { name: String, uses: Vec<String> },
    #[error("{0} is read-only")]
    ReadOnly(String),
    #[error("{name} has {has} bytes, but the image needs {need}")]
    TooSmall { name: String, has: u64, need: u64 },
}

/// A disk that can be offered as target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    pub name: String,
    /// Bytes.
    pub size: u64,
    pub model: String,
    pub serial: String,
    pub removable: bool,
    pub read_only: bool,
    pub content: Option<String>,
    /// What uses it; empty if it may be overwritten.
    pub uses: Vec<String>,
}

/// A device number, such as `8:1`, and what would be lost with the disk below it.
#[derive(Debug, Clone)]
pub struct Precious {
    pub number: String,
    pub why: &'static str,
}

pub struct Survey {
    root: Utf8PathBuf,
    mounts: String,
    swaps: String,
    precious: Vec<Precious>,
}

fn read(path: &Utf8Path, limit: u64) -> String {
    // Unreadable files count as empty; in the end the kernel decides, when the disk is opened exclusively.
    String::from_utf8_lossy(&read_limited(path, limit).unwrap_or_default()).trim().to_owned()
}

fn names(dir: &Utf8Path) -> Vec<String> {
    let list = dir.read_dir_utf8();
    let mut names: Vec<String> =
        list.map(|e| e.filter_map(|e| Some(e.ok()?.file_name().to_owned())).collect()).unwrap_or_default();
    names.sort();
    names
}

impl Survey {
    pub fn new(root: &Utf8Path, precious: Vec<Precious>) -> Self {
        Survey {
            mounts: read(&root.join("proc/self/mountinfo"), MAX_TABLE),
            swaps: read(&root.join("proc/swaps"), MAX_TABLE),
            root: root.to_owned(),
            precious,
        }
    }

    /// All disks, sorted by name.
    pub fn targets(&self) -> Vec<Target> {
        host::hardware::disks(&self.root).into_iter().filter_map(|d| self.target(&d.name)).collect()
    }

    /// One block device by kernel name, a whole disk or loop device; None for partitions and for what is not a block device.
    pub fn target(&self, name: &str) -> Option<Target> {
        let dir = self.root.join("sys/block").join(name);
        if name.is_empty() || name.contains('/') || !dir.exists() {
            return None;
        }
        let known = host::hardware::disks(&self.root).into_iter().find(|d| d.name == name);
        let size = read(&dir.join("size"), MAX_ATTRIBUTE).parse::<u64>().ok()?.saturating_mul(SECTOR);
        let mut head = Vec::new();
        let device = File::open(self.root.join("dev").join(name));
        let readable = device.and_then(|f| f.take(content::HEAD as u64).read_to_end(&mut head)).is_ok();
        Some(Target {
            size,
            model: known.as_ref().map(|d| d.model.clone()).unwrap_or_default(),
            serial: known.map(|d| d.serial).unwrap_or_default(),
            removable: read(&dir.join("removable"), MAX_ATTRIBUTE) == "1",
            read_only: read(&dir.join("ro"), MAX_ATTRIBUTE) == "1",
            content: if readable { content::of(&head) } else { None },
            uses: self.uses(name),
            name: name.to_owned(),
        })
    }

    /// The whole disk of a partition.
    pub fn disk_of_partition(&self, name: &str) -> Option<String> {
        let disks = names(&self.root.join("sys/block"));
        disks.into_iter().find(|d| self.root.join("sys/block").join(d).join(name).join("partition").exists())
    }

    fn partitions(&self, disk: &str) -> Vec<String> {
        let dir = self.root.join("sys/block").join(disk);
        names(&dir).into_iter().filter(|n| dir.join(n).join("partition").exists()).collect()
    }

    /// A description of everything that uses the disk or one of its partitions.
    fn uses(&self, disk: &str) -> Vec<String> {
        let dir = self.root.join("sys/block").join(disk);
        let mut uses = BTreeSet::new();
        let parts = self.partitions(disk).into_iter().map(|p| (dir.join(&p), p));
        for (dir, name) in std::iter::once((dir.clone(), disk.to_owned())).chain(parts) {
            let number = read(&dir.join("dev"), MAX_ATTRIBUTE);
            uses.extend(self.mounted(&name, &number).into_iter().map(|point| format!("{name} is mounted at {point}")));
            if self.swaps.lines().skip(1).any(|l| l.split_whitespace().next() == Some(&format!("/dev/{name}"))) {
                uses.insert(format!("{name} is swap space"));
            }
            uses.extend(names(&dir.join("holders")).into_iter().map(|h| format!("{name} is part of {}", self.holder(&h))));
        }
        for precious in &self.precious {
            if self.disks_below(&precious.number, 0).contains(disk) {
                uses.insert(precious.why.to_owned());
            }
        }
        for name in names(&self.root.join("sys/block")).into_iter().filter(|n| n.starts_with("loop")) {
            let file = read(&self.root.join("sys/block").join(&name).join("loop/backing_file"), MAX_ATTRIBUTE);
            let backs = file.strip_prefix("/dev/").is_some_and(|f| f == disk || self.partitions(disk).iter().any(|p| p == f));
            if backs {
                uses.insert(format!("{name} uses it"));
            }
        }
        uses.into_iter().collect()
    }

    /// The label of a volume, because `dm-0` alone is not meaningful.
    fn holder(&self, name: &str) -> String {
        let label = read(&self.root.join("sys/block").join(name).join("dm/name"), MAX_ATTRIBUTE);
        if label.is_empty() { name.to_owned() } else { format!("{label} ({name})") }
    }

    /// Where it is mounted, by device number, or by source for file systems with their own device numbers
    /// (proc_pid_mountinfo(5)).
    fn mounted(&self, name: &str, number: &str) -> Vec<String> {
        let device = format!("/dev/{name}");
        let line = |line: &str| {
            let (fields, rest) = line.split_once(" - ")?;
            let fields: Vec<&str> = fields.split(' ').collect();
            let here = fields.get(2) == Some(&number) || rest.split(' ').nth(1) == Some(&device);
            here.then(|| fields.get(4).map(|p| (*p).to_owned()))?
        };
        self.mounts.lines().filter_map(line).collect()
    }

    /// Whole disks that a block device is stored on.
    fn disks_below(&self, number: &str, depth: u32) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let Ok(dir) = self.root.join("sys/dev/block").join(number).canonicalize_utf8() else { return found };
        if depth > MAX_DEPTH {
            return found;
        }
        let whole = if dir.join("partition").exists() { dir.parent().unwrap_or(&dir).to_owned() } else { dir.clone() };
        let slaves = names(&dir.join("slaves"));
        for slave in &slaves {
            let number = read(&dir.join("slaves").join(slave).join("dev"), MAX_ATTRIBUTE);
            found.extend(self.disks_below(&number, depth + 1));
        }
        let backing = read(&whole.join("loop/backing_file"), MAX_ATTRIBUTE);
        if let Some(name) = backing.strip_prefix("/dev/") {
            let number = read(&self.root.join("sys/class/block").join(name).join("dev"), MAX_ATTRIBUTE);
            found.extend(self.disks_below(&number, depth + 1));
        }
        found.extend(whole.file_name().map(str::to_owned));
        found
    }
}

impl Target {
    /// Whether an image of `need` bytes may be written over it.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn fit(&self, need: u64) -> Result<(), Unfit> {
        let name = || self.name.clone();
        if !self.uses.is_empty() {
            return Err(Unfit::InUse { name: name(), uses: self.uses.clone() });
        }
        if self.read_only {
            return Err(Unfit::ReadOnly(name()));
        }
        if self.size < need {
            return Err(Unfit::TooSmall { name: name(), has: self.size, need });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
