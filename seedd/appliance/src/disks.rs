//! Inspects the machine's disks, without changing them.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use host::files::read_limited;

use super::decide::{self, Content, Disk};
use super::table::{self, HEAD, Place, Table, TableError, Write};
use super::tool;

/// Maximum size of one attribute in /sys, and of the list of mounts, in bytes.
const MAX_ATTRIBUTE: u64 = 4096;
const MAX_MOUNTS: u64 = 4 << 20;
/// To decide whether a disk is blank, both ends are read completely, and this many places in between.
const SAMPLES: u64 = 256;
const SAMPLE: u64 = 64 << 10;
const END: u64 = 1 << 20;

/// The list of mounts of this process.
pub fn mounts(root: &Utf8Path) -> Result<String> {
    let bytes = read_limited(&root.join("proc/self/mountinfo"), MAX_MOUNTS)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `(major:minor, file system type)` of the topmost mount at `point` (proc_pid_mountinfo(5)).
pub fn mounted(mounts: &str, point: &Utf8Path) -> Option<(String, String)> {
    let of_line = |line: &str| {
        let (fields, rest) = line.split_once(" - ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let escaped = point.as_str().replace('\\', "\\134").replace(' ', "\\040");
        (*fields.get(4)? == escaped).then(|| Some(((*fields.get(2)?).to_owned(), rest.split(' ').next()?.to_owned())))?
    };
    mounts.lines().rev().find_map(of_line)
}

fn attribute(path: &Utf8Path) -> String {
    // Unreadable files count as empty: unusual hardware must not prevent the seed from starting.
    let bytes = read_limited(path, MAX_ATTRIBUTE).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// The whole disk behind a device number, by kernel name, through partitions and loop devices. `None` if it is not a disk (a CD
/// drive).
pub fn disk_of(root: &Utf8Path, number: &str) -> Option<String> {
    let mut device = root.join("sys/dev/block").join(number).canonicalize_utf8().ok()?;
    // At most a loop device on a loop device.
    for _ in 0..4 {
        if device.join("partition").exists() {
            device = device.parent()?.to_owned();
        }
        let backing = attribute(&device.join("loop/backing_file"));
        let Some(name) = backing.strip_prefix("/dev/") else { break };
        device = root.join("sys/class/block").join(name).canonicalize_utf8().ok()?;
    }
    let name = device.file_name()?.to_owned();
    host::hardware::disks(root).into_iter().any(|d| d.name == name).then_some(name)
}

/// A disk that may contain the state, according to /sys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub path: Utf8PathBuf,
    /// Bytes.
    pub size: u64,
    /// Size of a sector in partition tables, in bytes.
    pub sector: u64,
    pub writable: bool,
    /// Has partitions, or is used by another device.
    pub in_use: bool,
}

/// All disks below `root`, by kernel name.
pub fn devices(root: &Utf8Path) -> Vec<Device> {
    let of = |d: cluster_seed::machine::Disk| {
        let dir = root.join("sys/block").join(&d.name);
        let entries = |dir: &Utf8Path| -> Vec<Utf8PathBuf> {
            dir.read_dir_utf8().map(|e| e.filter_map(|e| Some(e.ok()?.into_path())).collect()).unwrap_or_default()
        };
        let partitions = entries(&dir).iter().any(|p| p.join("partition").exists());
        Device {
            path: root.join("dev").join(&d.name),
            size: d.size,
            sector: attribute(&dir.join("queue/logical_block_size")).parse().unwrap_or(512),
            writable: attribute(&dir.join("ro")) != "1",
            in_use: partitions || !entries(&dir.join("holders")).is_empty(),
        }
    };
    host::hardware::disks(root).into_iter().map(of).collect()
}

impl Device {
    /// A file used as a disk.
    pub fn image(path: &Utf8Path) -> Result<Self> {
        let size = fs::metadata(path).with_context(|| format!("looking at {path}"))?.len();
        Ok(Device { path: path.to_owned(), size, sector: 512, writable: true, in_use: false })
    }

    /// The first bytes of the disk, padded with zeros.
    pub fn head(&self) -> Result<Vec<u8>> {
        let mut head = Vec::new();
        let read = File::open(&self.path).and_then(|f| f.take(HEAD as u64).read_to_end(&mut head));
        read.with_context(|| format!("reading {}", self.path))?;
        head.resize(HEAD, 0);
        Ok(head)
    }

    /// Inspects it; `fill` means that it was selected for the state, so more of it is read to see whether it is blank.
    pub fn look(&self, fill: bool) -> Result<Disk> {
        let head = self.head()?;
        let table = Table::parse(&head, self.size, self.sector);
        let ours = match table.as_ref().ok().and_then(|t| t.ours) {
            Some(place) => Some((place, self.content(place)?)),
            None => None,
        };
        let free = table.and_then(|t| t.free(&head));
        let blank = fill && ours.is_none() && !self.in_use && self.blank()?;
        Ok(Disk { path: self.path.to_string(), writable: self.writable, ours, free, blank })
    }

    fn content(&self, place: Place) -> Result<Content> {
        let mut start = vec![0u8; 4096];
        let file = File::open(&self.path).with_context(|| format!("opening {}", self.path))?;
        file.read_exact_at(&mut start, place.start).with_context(|| format!("reading {}", self.path))?;
        let known = decide::content(&start, None);
        if known != Content::HalfMade || start.iter().any(|b| *b != 0) && decide::content(&start, Some("")) == Content::HalfMade {
            return Ok(known);
        }
        Ok(decide::content(&start, tool::probe(&self.path, place)?.as_deref()))
    }

    /// The writes that would partition it. They are always the same, so that an interrupted run is recognised.
    pub fn filling(&self) -> Result<(Place, Vec<Write>), TableError> {
        let id = |what: &str| {
            let digest = cluster_seed::ids::Digest::of(format!("kubedos:{what}:v1\0{}", self.size).as_bytes());
            let mut id = [0u8; 16];
            id.copy_from_slice(&digest.0[..16]);
            id
        };
        table::fresh(self.size, self.sector, id("state-disk"), id("state-partition"))
    }

    fn blank(&self) -> Result<bool> {
        let Ok((_, writes)) = self.filling() else { return Ok(false) };
        let file = File::open(&self.path).with_context(|| format!("opening {}", self.path))?;
        let zero = |at: u64, len: u64| -> Result<bool> {
            let mut bytes = vec![0u8; len as usize];
            file.read_exact_at(&mut bytes, at).with_context(|| format!("reading {}", self.path))?;
            Ok(table::blank(at, &bytes, &writes))
        };
        for at in [0, self.size - END] {
            if !zero(at, END)? {
                return Ok(false);
            }
        }
        for n in 1..SAMPLES {
            if !zero(self.size / SAMPLES * n / SAMPLE * SAMPLE, SAMPLE)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_mounted_where() {
        let text = "22 1 0:21 / /run rw - tmpfs tmpfs rw\n\
                    31 22 8:1 / /run/kubedos/medium ro,relatime shared:5 - iso9660 /dev/sda1 ro\n\
                    33 22 0:44 / /var/lib/a\\040b rw - tmpfs tmpfs rw\n\
                    34 22 7:1 / /var/lib/a\\040b rw - ext4 /dev/loop1 rw\n\
                    junk\n - \n";
        let at = |p: &str| mounted(text, Utf8Path::new(p)).map(|(n, t)| format!("{n} {t}"));
        assert_eq!(at("/run/kubedos/medium").as_deref(), Some("8:1 iso9660"));
        assert_eq!(at("/var/lib/a b").as_deref(), Some("7:1 ext4"));
        assert_eq!(at("/nowhere"), None);
    }

    #[test]
    fn finds_the_disk_behind_a_partition_and_behind_a_loop() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let make = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        make("sys/devices/usb/block/sda/size", "2097152\n");
        make("sys/devices/usb/block/sda/ro", "0\n");
        make("sys/devices/usb/block/sda/queue/logical_block_size", "512\n");
        make("sys/devices/usb/block/sda/sda1/partition", "1\n");
        make("sys/devices/virtual/block/loop0/loop/backing_file", "/dev/sda1\n");
        make("sys/devices/ata/block/sr0/size", "2097152\n");
        fs::create_dir_all(root.join("sys/block")).unwrap();
        for (dir, name, to) in [
            ("sys/block", "sda", "../devices/usb/block/sda"),
            ("sys/block", "sr0", "../devices/ata/block/sr0"),
            ("sys/class/block", "sda1", "../../devices/usb/block/sda/sda1"),
            ("sys/dev/block", "8:0", "../../devices/usb/block/sda"),
            ("sys/dev/block", "8:1", "../../devices/usb/block/sda/sda1"),
            ("sys/dev/block", "7:0", "../../devices/virtual/block/loop0"),
            ("sys/dev/block", "11:0", "../../devices/ata/block/sr0"),
        ] {
            fs::create_dir_all(root.join(dir)).unwrap();
            std::os::unix::fs::symlink(to, root.join(dir).join(name)).unwrap();
        }
        for (number, disk) in [("8:0", Some("sda")), ("8:1", Some("sda")), ("7:0", Some("sda")), ("11:0", None), ("9:9", None)] {
            assert_eq!(disk_of(&root, number).as_deref(), disk, "{number}");
        }
        let found = devices(&root);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].size, found[0].writable, found[0].in_use), (1 << 30, true, true));
    }
}
