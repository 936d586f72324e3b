//! Which kernel modules a machine needs to find its network and its disks, and what those need in turn.

use std::collections::{BTreeMap, BTreeSet};

/// Directories (with a final `/`) and modules below `kernel/` that the initramfs needs; it boots the seed medium too.
pub const WANTED: &[&str] = &[
    // Virtual machines.
    "drivers/virtio/",
    // The agent reaches the state partition through a loop device.
    "drivers/block/loop",
    "drivers/block/virtio_blk",
    "drivers/block/xen-blkfront",
    "drivers/char/hw_random/virtio-rng",
    "drivers/char/virtio_console",
    "drivers/hv/hv_vmbus",
    "drivers/net/hyperv/",
    "drivers/net/virtio_net",
    "drivers/net/vmxnet3/",
    "drivers/net/xen-netfront",
    "drivers/scsi/hv_storvsc",
    "drivers/scsi/virtio_scsi",
    "drivers/scsi/vmw_pvscsi",
    // Disks.
    "drivers/ata/ahci",
    "drivers/ata/ata_generic",
    "drivers/ata/ata_piix",
    "drivers/ata/sata_",
    "drivers/message/fusion/mptsas",
    "drivers/message/fusion/mptspi",
    "drivers/mmc/core/mmc_block",
    "drivers/mmc/host/sdhci-acpi",
    "drivers/mmc/host/sdhci-pci",
    "drivers/nvme/host/nvme",
    "drivers/pci/controller/vmd",
    "drivers/scsi/3w-",
    "drivers/scsi/aacraid/",
    "drivers/scsi/arcmsr/",
    "drivers/scsi/hpsa",
    "drivers/scsi/isci/",
    "drivers/scsi/megaraid/megaraid_sas",
    "drivers/scsi/mpi3mr/",
    "drivers/scsi/mpt3sas/",
    "drivers/scsi/mvsas/",
    "drivers/scsi/sd_mod",
    "drivers/scsi/smartpqi/",
    "drivers/scsi/sr_mod",
    // Keyboards and USB sticks.
    "drivers/hid/hid-generic",
    "drivers/hid/usbhid/",
    "drivers/input/keyboard/atkbd",
    "drivers/usb/host/",
    "drivers/cdrom/",
    "drivers/usb/storage/uas",
    "drivers/usb/storage/usb-storage",
    // Wired network.
    "drivers/net/ethernet/",
    "drivers/net/phy/",
    "drivers/net/usb/",
    // File systems and protocols.
    "drivers/net/wireguard/",
    "fs/efivarfs/",
    "fs/ext4/",
    "fs/fat/",
    "fs/isofs/",
    "fs/nls/nls_ascii",
    "fs/nls/nls_cp437",
    "fs/nls/nls_iso8859-1",
    "fs/nls/nls_utf8",
    "fs/overlayfs/",
    "fs/squashfs/",
    "net/packet/af_packet",
    // Checksums requested by name at run time.
    "crypto/crc32c",
    "arch/x86/crypto/crc32c-intel",
];

/// Exceptions to [`WANTED`]: large drivers of switch chips and cards that no machine boots from.
pub const UNWANTED: &[&str] = &["drivers/net/ethernet/mellanox/mlxsw/", "drivers/net/ethernet/marvell/prestera/"];

/// The name of a module: its file name without extensions, `-` replaced by `_` (as the kernel prints it).
pub fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// `modules.dep` (modules.dep(5)): the modules that each module needs, as paths below the modules directory.
pub fn parse_dep(text: &str) -> BTreeMap<String, Vec<String>> {
    text.lines()
        .filter_map(|l| l.split_once(':'))
        .map(|(m, needs)| (m.to_owned(), needs.split_whitespace().map(str::to_owned).collect()))
        .collect()
}

/// `modules.softdep` (modprobe.d(5)): the names of modules to load before or after each module.
pub fn parse_softdep(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("softdep") {
            continue;
        }
        let Some(module) = words.next() else { continue };
        let names = words.filter(|w| !matches!(*w, "pre:" | "post:")).map(|w| w.replace('-', "_"));
        all.entry(module.replace('-', "_")).or_default().extend(names);
    }
    all
}

fn selected(path: &str) -> bool {
    let Some(below) = path.strip_prefix("kernel/") else { return false };
    WANTED.iter().any(|w| below.starts_with(w)) && !UNWANTED.iter().any(|w| below.starts_with(w))
}

/// Paths of the selected modules and of all their dependencies. A soft dependency may be built in or absent.
pub fn closure(deps: &BTreeMap<String, Vec<String>>, soft: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let by_name: BTreeMap<String, &String> = deps.keys().map(|p| (name_of(p), p)).collect();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut todo: Vec<&String> = deps.keys().filter(|p| selected(p)).collect();
    while let Some(path) = todo.pop() {
        if !taken.insert(path.clone()) {
            continue;
        }
        todo.extend(deps.get(path).into_iter().flatten());
        let softer = soft.get(&name_of(path)).into_iter().flatten();
        todo.extend(softer.filter_map(|name| by_name.get(name).copied()));
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz
kernel/fs/jbd2/jbd2.ko.xz:
kernel/lib/crc16.ko.xz:
kernel/crypto/crc-x.ko.xz: kernel/lib/deep.ko.xz
kernel/lib/deep.ko.xz:
kernel/sound/snd.ko.xz:
kernel/drivers/net/ethernet/mellanox/mlxsw/mlxsw_core.ko.xz:
kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko.xz: kernel/drivers/ptp/ptp.ko.xz
kernel/drivers/ptp/ptp.ko.xz:
";

    #[test]
    fn closure_follows_hard_and_soft_dependencies() {
        let soft = parse_softdep("# comment\nsoftdep ext4 pre: crc-x builtin_one\nsoftdep snd post: deep\n");
        let got: Vec<String> = closure(&parse_dep(DEP), &soft).iter().map(|p| name_of(p)).collect();
        assert_eq!(got, ["crc_x", "e1000e", "ptp", "ext4", "jbd2", "crc16", "deep"]);
    }

    #[test]
    fn circular_dependencies_end() {
        let deps = parse_dep("kernel/fs/ext4/a.ko: kernel/fs/ext4/b.ko\nkernel/fs/ext4/b.ko: kernel/fs/ext4/a.ko\n");
        assert_eq!(closure(&deps, &BTreeMap::new()).len(), 2);
    }

    #[test]
    fn module_names() {
        for (path, name) in [("kernel/a/virtio-rng.ko.xz", "virtio_rng"), ("x.ko", "x"), ("kernel/8021q.ko.zst", "8021q")] {
            assert_eq!(name_of(path), name);
        }
    }
}
