//! What a machine is built from.

use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS with QEMU's iPXE ROM on the card.
    SeaBios,
    /// OVMF with its own PXE client; no ROM on the card.
    Ovmf,
    /// OVMF with Secure Boot on and Microsoft's keys enrolled.
    OvmfSecure,
    /// OVMF configured for HTTP boot instead of PXE.
    OvmfHttp,
    /// UEFI of a machine with arm64.
    Aavmf,
}

impl Firmware {
    pub(super) fn is_uefi(self) -> bool {
        self != Firmware::SeaBios
    }
}

/// Boot devices besides the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Medium {
    Cd(PathBuf),
    /// Writable: give it a copy.
    Usb(PathBuf),
    /// A disc that is not booted from.
    Data(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskBus {
    Virtio,
    Nvme,
    Ahci,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    Network,
    Disk,
}

/// A kernel that QEMU starts itself, on its machine `microvm`: as Firecracker, it has virtio over MMIO and no firmware to speak of.
#[derive(Debug, Clone)]
pub struct Direct {
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    pub append: String,
    /// The second disk.
    pub second: PathBuf,
}

/// What to build. Memory in MiB, disk in bytes.
#[derive(Debug, Clone)]
pub struct Spec {
    pub name: String,
    pub firmware: Firmware,
    pub bus: DiskBus,
    pub disk: u64,
    pub memory: u32,
    /// Processors; QEMU's microvm and the machine for arm64 have a number of their own.
    pub cpus: u8,
    pub mac: String,
    pub first: First,
    /// False: firmware is not told to try the network at all.
    pub network_boot: bool,
    /// In a drive or a port, and booted first.
    pub medium: Option<Medium>,
    pub direct: Option<Direct>,
    /// Format of the disk's file.
    pub format: &'static str,
    /// Hardware clock at power-on, such as `1970-01-01T00:00:00`; `None`: the host's time.
    pub clock: Option<String>,
    /// A second disk, raw: it stays when the machine is replaced.
    pub data: Option<PathBuf>,
}

impl Spec {
    /// A usual machine of the lab. `number` (1..=250) gives its MAC address.
    pub fn new(name: &str, number: u8, firmware: Firmware) -> Self {
        let (bus, first) = match firmware {
            Firmware::SeaBios => (DiskBus::Virtio, First::Network),
            Firmware::Ovmf | Firmware::OvmfSecure | Firmware::OvmfHttp => (DiskBus::Nvme, First::Disk),
            Firmware::Aavmf => (DiskBus::Virtio, First::Disk),
        };
        Spec {
            name: name.to_owned(),
            firmware,
            bus,
            disk: 8 << 30,
            memory: 1536,
            cpus: 1,
            mac: format!("52:54:00:6b:64:{number:02x}"),
            first,
            network_boot: true,
            medium: None,
            direct: None,
            format: "raw",
            clock: None,
            data: None,
        }
    }
}

/// How instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    Kvm,
    Tcg,
}

impl Accel {
    pub(super) fn argument(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg,thread=multi",
        }
    }
}
