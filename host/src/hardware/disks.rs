//! The disks of the machine.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;

use camino::Utf8Path;
use cluster_seed::machine::{Disk, SECTOR};

use super::sysfs::{MAX_ATTRIBUTE, attribute, names};

/// Unit of /sys/block/*/size in bytes, whatever the disk's sector size is (Documentation/ABI/stable/sysfs-block).
const SIZE_UNIT: u64 = 512;
/// Block devices that are no disks: made of others, of memory or of a network's, or without boot support in any firmware.
const NOT_DISKS: [&str; 17] = [
    "bcache", "dm-", "drbd", "fd", "loop", "md", "mtdblock", "nbd", "nullb", "pmem", "ram", "rbd", "rnbd", "sr", "ublkb", "zd",
    "zram",
];
/// Magic number of Linux software RAID (md(4)), little-endian.
const MD_MAGIC: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();
/// A label of the Linux Volume Manager begins with this, in one of the first four sectors.
const LVM_LABEL: &[u8] = b"LABELONE";
/// Intel's RAID metadata begins with this in the last but one sector.
const INTEL_RAID: &[u8] = b"Intel Raid ISM Cfg Sig. ";

/// Bytes read of a disk's start and of its end: all places of these formats.
const HEAD: u64 = 8 << 10;
const TAIL: u64 = 128 << 10;

/// Disks in natural order (sdb before sdaa), without drives that have no medium.
pub fn disks(root: &Utf8Path) -> Vec<Disk> {
    let mut disks: Vec<Disk> = names(&root.join("sys/block")).iter().filter_map(|name| disk(root, name)).collect();
    disks.sort_by_key(|d| natural(&d.name));
    disks
}

/// The disks that an artifact may be installed on: those that can be written.
pub fn candidates(root: &Utf8Path) -> Vec<Disk> {
    let writable = |d: &Disk| attribute(&root.join("sys/block").join(sysfs_name(&d.name)).join("ro")) != "1";
    disks(root).into_iter().filter(writable).collect()
}

/// The kernel writes `/` in a device's name as `!` in sysfs: `cciss!c0d0` is /dev/cciss/c0d0.
fn sysfs_name(name: &str) -> String {
    name.replace('/', "!")
}

/// Sorts by the letters, then by length and text of the rest: sda, sdz, sdaa; nvme2n1, nvme10n1.
fn natural(name: &str) -> Vec<(bool, u64, String)> {
    let letters: usize = if name.starts_with("sd") || name.starts_with("vd") || name.starts_with("hd") { 2 } else { 0 };
    let (head, tail) = name.split_at(letters);
    if letters > 0 && tail.bytes().all(|b| b.is_ascii_lowercase()) {
        return vec![(true, 0, head.to_owned()), (true, tail.len() as u64, tail.to_owned())];
    }
    let mut parts = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (part, more) = rest.split_at(end);
        parts.push((!digits, if digits { part.parse().unwrap_or(u64::MAX) } else { 0 }, part.to_owned()));
        rest = more;
    }
    parts
}

fn disk(root: &Utf8Path, name: &str) -> Option<Disk> {
    let boot_part = name.starts_with("mmcblk") && (name.contains("boot") || name.contains("rpmb"));
    let dir = root.join("sys/block").join(name);
    let flag = |file: &str| attribute(&dir.join(file)) == "1";
    if NOT_DISKS.iter().any(|p| name.starts_with(p)) || boot_part || flag("hidden") {
        return None;
    }
    let size = attribute(&dir.join("size")).parse::<u64>().ok()?.checked_mul(SIZE_UNIT).filter(|s| *s > 0)?;
    let first = |files: &[&str]| files.iter().map(|f| attribute(&dir.join(f))).find(|s| !s.is_empty());
    let sector = attribute(&dir.join("queue/logical_block_size")).parse().ok().filter(|s| *s != SECTOR).unwrap_or(0);
    Some(Disk {
        size,
        model: attribute(&dir.join("device/model")),
        serial: first(&["serial", "device/serial"]).unwrap_or_else(|| vpd_serial(&dir)),
        rotational: flag("queue/rotational"),
        removable: flag("removable"),
        wwn: first(&["wwid", "device/wwid"]).unwrap_or_default(),
        path: path(&dir),
        sector,
        part_of: part_of(root, &dir, name, size),
        name: name.replace('!', "/"),
    })
}

/// Unit serial number page of SCSI and ATA disks: a header of four bytes, then ASCII (SPC-4 section 7.8.15).
fn vpd_serial(dir: &Utf8Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(dir.join("device/vpd_pg80")) {
        // An unreadable page is the same as none.
        let _ = file.take(MAX_ATTRIBUTE).read_to_end(&mut bytes);
    }
    let text: String = bytes.iter().skip(4).filter(|b| b.is_ascii_graphic() || **b == b' ').map(|b| char::from(*b)).collect();
    text.trim().to_owned()
}

/// The parts of the device's place in /sys/devices that stay the same over a restart: the last PCI function, the ATA port, and
/// of a SCSI address what follows the host's number, which depends on the order of the drivers.
fn path(dir: &Utf8Path) -> String {
    let Ok(link) = dir.read_link_utf8() else { return String::new() };
    let (mut pci, mut rest) = ("", Vec::new());
    for part in link.components().map(|c| c.as_str()) {
        let colons = part.matches(':').count();
        let digits = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit());
        if colons == 2 && part.contains('.') {
            (pci, rest) = (part, Vec::new());
        } else if let Some((_, lun)) = part.split_once(':').filter(|_| colons == 3) {
            rest.push(lun.to_owned());
        } else if ["ata", "port-", "phy-", "expander-", "rport-", "session"].iter().any(|p| part.starts_with(p))
            || part.contains('-') && part.starts_with(|c: char| c.is_ascii_digit())
            || part.strip_prefix("virtio").is_some_and(digits) && pci.is_empty()
        {
            rest.push(part.to_owned());
        }
    }
    // The namespace of an NVMe controller.
    if let Some((_, namespace)) = link.file_name().and_then(|n| n.strip_prefix("nvme")?.split_once('n')) {
        rest.push(format!("namespace {namespace}"));
    }
    std::iter::once(pci.to_owned()).filter(|p| !p.is_empty()).chain(rest).collect::<Vec<_>>().join(" ")
}

/// What a disk is a part of: by the kernel's own devices above it, else by the marks of known formats.
fn part_of(root: &Utf8Path, dir: &Utf8Path, name: &str, size: u64) -> String {
    if let Some(holder) = names(&dir.join("holders")).first() {
        let multipath = attribute(&root.join("sys/block").join(holder).join("dm/uuid")).starts_with("mpath-");
        return if multipath { format!("multipath ({holder})") } else { format!("{holder}, which is in use") };
    }
    let Ok(device) = File::open(root.join("dev").join(name.replace('!', "/"))) else { return String::new() };
    let read = |offset: u64, most: u64| {
        let mut bytes = vec![0; usize::try_from(most.min(size)).unwrap_or(0)];
        device.read_exact_at(&mut bytes, offset).ok().map(|()| bytes)
    };
    // A failing disk takes half a minute for each read: none is tried after the first that fails.
    let Some(head) = read(0, HEAD) else { return String::new() };
    let tail_at = size.saturating_sub(TAIL);
    let Some(tail) = read(tail_at, TAIL) else { return String::new() };
    let at = |offset: u64, expected: &[u8]| {
        let (bytes, from) = if offset < HEAD { (&head, 0) } else { (&tail, tail_at) };
        let from = offset.checked_sub(from).and_then(|n| usize::try_from(n).ok());
        from.and_then(|n| bytes.get(n..)).is_some_and(|bytes| bytes.starts_with(expected))
    };
    // md(4): version 1.1 at the start, 1.2 at 4 KiB, 1.0 at least 8 KiB before the end, 0.90 in the last 64 KiB block.
    let version_1_0 = (size / SIZE_UNIT).saturating_sub(16) / 8 * 8 * SIZE_UNIT;
    let version_0_90 = (size / 65_536).saturating_sub(1) * 65_536;
    if [0, 4096, version_1_0, version_0_90].iter().any(|offset| at(*offset, &MD_MAGIC)) {
        return "Linux software RAID".to_owned();
    }
    if (0..4).any(|sector| at(sector * SIZE_UNIT, LVM_LABEL)) {
        return "a volume group (LVM)".to_owned();
    }
    if size >= 2 * SIZE_UNIT && at(size - 2 * SIZE_UNIT, INTEL_RAID) {
        return "Intel firmware RAID".to_owned();
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> (tempfile::TempDir, camino::Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        (dir, path)
    }

    fn put(root: &Utf8Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn what_lies_on_other_disks_or_cannot_be_written_is_not_offered() {
        let (_guard, root) = root();
        let wrong = ["bcache0", "rbd0", "md127", "dm-0", "zd0", "ublkb0", "nullb0", "pmem0", "drbd1", "loop3", "rnbd0"];
        for name in wrong.iter().chain(&["sda", "sdb", "cciss!c0d0"]) {
            put(&root, &format!("sys/block/{name}/size"), "2048");
        }
        put(&root, "sys/block/sdb/ro", "1");
        let names = |disks: Vec<Disk>| disks.into_iter().map(|d| d.name).collect::<Vec<_>>();
        assert_eq!(names(candidates(&root)), ["cciss/c0d0", "sda"]);
        // The list of disks that a medium may be written to shows why one cannot.
        assert_eq!(names(disks(&root)), ["cciss/c0d0", "sda", "sdb"]);
    }

    #[test]
    fn seventy_disks_are_in_the_order_of_the_kernel() {
        let (_guard, root) = root();
        let letters = |n: u8| {
            if n < 26 {
                format!("sd{}", char::from(b'a' + n))
            } else {
                format!("sd{}{}", char::from(b'a' + n / 26 - 1), char::from(b'a' + n % 26))
            }
        };
        let all: Vec<String> = (0..70).map(letters).collect();
        for name in all.iter().map(String::as_str).chain(["nvme10n1", "nvme2n1", "vda"]) {
            put(&root, &format!("sys/block/{name}/size"), "2048");
        }
        let found: Vec<String> = disks(&root).into_iter().map(|d| d.name).collect();
        assert_eq!(found[..2], ["nvme2n1", "nvme10n1"]);
        assert_eq!(found[2..72], all[..]);
        assert_eq!(found[72], "vda");
    }

    #[test]
    fn sector_size_wwn_and_path() {
        let (_guard, root) = root();
        for (name, at) in [
            ("sda", "pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/block/sda"),
            ("sdb", "pci0000:00/0000:00:01.0/0000:03:00.0/host0/port-0:1/end_device-0:1/target0:0:4/0:0:4:0/block/sdb"),
            ("sdc", "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host5/target5:0:0/5:0:0:1/block/sdc"),
            ("nvme0n2", "pci0000:00/0000:00:03.1/0000:41:00.0/nvme/nvme0/nvme0n2"),
            ("vda", "pci0000:00/0000:00:02.0/virtio1/block/vda"),
        ] {
            let target = format!("sys/devices/{at}");
            put(&root, &format!("{target}/size"), "2048");
            fs::create_dir_all(root.join("sys/block")).unwrap();
            symlink(format!("../devices/{at}"), root.join("sys/block").join(name)).unwrap();
            put(&root, &format!("{target}/queue/logical_block_size"), if name == "vda" { "4096" } else { "512" });
            put(
                &root,
                &format!("{target}/{}wwid", if name.starts_with("sd") { "device/" } else { "" }),
                &format!("naa.{name}\n"),
            );
        }
        let found: Vec<_> = disks(&root).into_iter().map(|d| (d.name, d.path, d.wwn, d.sector)).collect();
        let row = |name: &str, path: &str, sector| (name.to_owned(), path.to_owned(), format!("naa.{name}"), sector);
        assert_eq!(
            found,
            [
                row("nvme0n2", "0000:41:00.0 namespace 2", 0),
                row("sda", "0000:00:1f.2 ata3 0:0:0", 0),
                row("sdb", "0000:03:00.0 port-0:1 0:4:0", 0),
                row("sdc", "0000:00:14.0 1-2 1-2:1.0 0:0:1", 0),
                row("vda", "0000:00:02.0", 4096),
            ]
        );
    }

    #[test]
    fn members_of_arrays_are_shown_as_such() {
        let (_guard, root) = root();
        let size = 1 << 20;
        let with = |name: &str, at: usize, bytes: &[u8]| {
            put(&root, &format!("sys/block/{name}/size"), &(size / 512).to_string());
            let mut disk = vec![0; size];
            disk[at..at + bytes.len()].copy_from_slice(bytes);
            fs::create_dir_all(root.join("dev")).unwrap();
            fs::write(root.join("dev").join(name), disk).unwrap();
        };
        with("sda", 4096, &MD_MAGIC);
        with("sdb", 0, &MD_MAGIC);
        with("sdc", size - 8192, &MD_MAGIC);
        with("sdd", size - 65_536, &MD_MAGIC);
        with("sde", 512, LVM_LABEL);
        with("sdf", size - 1024, INTEL_RAID);
        with("sdg", 100, &MD_MAGIC);
        put(&root, "sys/block/sdh/size", "2048");
        put(&root, "sys/block/sdh/holders/dm-0/x", "");
        put(&root, "sys/block/dm-0/dm/uuid", "mpath-3600508b400105e210000900000490000");
        put(&root, "sys/block/sdi/size", "2048");
        put(&root, "sys/block/sdi/holders/md0/x", "");
        let found: Vec<String> = disks(&root).into_iter().map(|d| d.part_of).collect();
        let (raid, lvm) = ("Linux software RAID", "a volume group (LVM)");
        assert_eq!(found, [raid, raid, raid, raid, lvm, "Intel firmware RAID", "", "multipath (dm-0)", "md0, which is in use"]);
    }
}
