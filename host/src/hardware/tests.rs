use std::os::unix::fs::symlink;

use super::*;

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Fixture { dir: tempfile::tempdir().unwrap() }
    }

    fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.dir.path()).unwrap()
    }

    fn file(&self, path: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }
}

/// A QEMU q35 machine as it looks with virtio, NVMe and SATA disks.
fn machine() -> Fixture {
    let f = Fixture::new();
    f.file("sys/class/dmi/id/sys_vendor", "QEMU\n")
        .file("sys/class/dmi/id/product_name", "Standard PC (Q35 + ICH9, 2009)\n")
        .file("sys/class/dmi/id/product_serial", "\u{1b}[31mX\n")
        .file("sys/class/dmi/id/bios_date", "02/02/2022\n")
        .file("sys/class/dmi/id/product_uuid", "0EC6F7F0-0000-4000-8000-000000000000\n")
        .file(
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: QEMU Virtual CPU\n\nprocessor\t: 1\nmodel name\t: QEMU Virtual CPU\n",
        )
        .file("proc/meminfo", "MemTotal:        2014208 kB\nMemFree: 1 kB\n")
        .file("proc/sys/kernel/osrelease", "6.12.0-amd64\n")
        .file("sys/block/vda/size", "16777216\n")
        .file("sys/block/vda/serial", "disk-a")
        .file("sys/block/nvme0n1/size", "2048\n")
        .file("sys/block/nvme0n1/device/serial", "NV1   \n")
        .file("sys/block/nvme0n1/device/model", "QEMU NVMe Ctrl\n")
        .file("sys/block/sda/size", "4096\n")
        .file("sys/block/sda/removable", "1\n")
        .file("sys/block/sda/queue/rotational", "1\n")
        .file("sys/block/sda/device/vpd_pg80", b"\0\x80\0\x07QM00001")
        .file("sys/class/net/eth0/type", "1\n")
        .file("sys/class/net/eth0/address", "52:54:00:12:34:56\n")
        .file("sys/class/net/eth0/carrier", "1\n")
        .file("sys/class/net/eth0/speed", "-1\n")
        .file("sys/bus/virtio/drivers/virtio_net/x", "")
        .file("sys/class/net/eth0/device/x", "");
    symlink("../../../../bus/virtio/drivers/virtio_net", f.root().join("sys/class/net/eth0/device/driver")).unwrap();
    f
}

#[test]
fn an_arm64_processor_has_numbers_instead_of_a_name() {
    let f = machine();
    f.file("proc/cpuinfo", "processor\t: 0\nBogoMIPS\t: 125.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n");
    let facts = gather(f.root(), None);
    assert_eq!((facts.cpu.as_str(), facts.cpus), ("CPU implementer 0x41, part 0xd0c", 1));
}

#[test]
fn a_machine_as_it_is() {
    let f = machine();
    let facts = gather(f.root(), None);
    assert_eq!((facts.vendor.as_str(), facts.cpus, facts.memory_mib), ("QEMU", 2, 1967));
    assert_eq!((facts.firmware, facts.firmware_date.as_str()), (Firmware::Bios, "02/02/2022"));
    assert_eq!(facts.serial, "?[31mX");
    assert_eq!(facts.uuid, "0ec6f7f0-0000-4000-8000-000000000000");
    let disks: Vec<_> = facts.disks.iter().map(|d| (d.name.as_str(), d.size, d.serial.as_str())).collect();
    assert_eq!(disks, [("nvme0n1", 1 << 20, "NV1"), ("sda", 2 << 20, "QM00001"), ("vda", 8 << 30, "disk-a")]);
    assert!(facts.disks[1].removable && facts.disks[1].rotational && !facts.disks[2].removable);
    let nic = &facts.nics[0];
    assert_eq!((nic.name.as_str(), nic.driver.as_str(), nic.link_up, nic.speed), ("eth0", "virtio_net", true, None));
    assert_eq!((facts.cpu.as_str(), facts.arch.machine()), ("QEMU Virtual CPU", std::env::consts::ARCH));
    f.file("sys/firmware/efi/systab", "");
    assert_eq!(gather(f.root(), None).firmware, Firmware::Uefi);
}

#[test]
fn what_is_no_disk_or_no_card_is_left_out() {
    let f = Fixture::new();
    for name in ["loop0", "ram1", "sr0", "zram0", "fd0", "dm-0", "md127", "nbd3", "mmcblk0boot0"] {
        f.file(&format!("sys/block/{name}/size"), "4096");
    }
    f.file("sys/block/sdb/size", "0").file("sys/block/sdc/size", "many").file("sys/block/sdd/size", u64::MAX.to_string());
    f.file("sys/block/nvme1n1/size", "8").file("sys/block/nvme1n1/hidden", "1");
    f.file("sys/class/net/lo/type", "772").file("sys/class/net/wg0/type", "65534").file("sys/class/net/veth0/type", "1");
    let facts = gather(f.root(), None);
    assert!(facts.disks.is_empty(), "{:?}", facts.disks);
    assert!(facts.nics.is_empty(), "{:?}", facts.nics);
}

#[test]
fn an_empty_machine_has_empty_facts() {
    let f = Fixture::new();
    let facts = gather(f.root(), Some(Mac([1, 2, 3, 4, 5, 6])));
    assert_eq!((facts.cpus, facts.memory_mib, facts.vendor.as_str()), (0, 0, ""));
    assert_eq!(facts.boot_mac.unwrap().0[5], 6);
}

#[test]
fn a_file_system_is_found_on_its_disk() {
    let dir = tempfile::tempdir().unwrap();
    let root = camino::Utf8Path::from_path(dir.path()).unwrap();
    for (device, number) in [("vda", ""), ("vda/vda4", "4"), ("cciss!c0d0/cciss!c0d0p2", "2")] {
        let target = root.join("sys/devices/virtio0/block").join(device);
        std::fs::create_dir_all(&target).unwrap();
        if !number.is_empty() {
            std::fs::write(target.join("partition"), number).unwrap();
        }
    }
    std::fs::create_dir_all(root.join("sys/dev/block")).unwrap();
    for (numbers, device) in [("254:0", "vda"), ("254:4", "vda/vda4"), ("104:2", "cciss!c0d0/cciss!c0d0p2")] {
        let target = format!("../../devices/virtio0/block/{device}");
        std::os::unix::fs::symlink(target, root.join("sys/dev/block").join(numbers)).unwrap();
    }
    let at = |major, minor| super::place_of(root, nix::sys::stat::makedev(major, minor));
    let place = |device: &str, disk: &str, partition| Some(super::Place { device: device.into(), disk: disk.into(), partition });
    assert_eq!(at(254, 4), place("vda4", "vda", Some(4)));
    assert_eq!(at(254, 0), place("vda", "vda", None));
    assert_eq!(at(104, 2), place("cciss/c0d0p2", "cciss/c0d0", Some(2)));
    assert_eq!(at(0, 31), None);
}
