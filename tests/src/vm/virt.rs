//! QEMU's machine for arm64: UEFI with ACPI, as servers have. Always emulated.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::spec::{First, Spec};
use crate::dirs::cache;
use crate::tool;

pub const EMULATOR: &str = "qemu-system-aarch64";

/// The firmware and an image of its variables: below `/`, or where `./dev` unpacks the package qemu-efi-aarch64.
pub fn firmware() -> Option<(PathBuf, PathBuf)> {
    let roots = [PathBuf::from("/"), cache().join("tools/qemu-efi-aarch64")];
    let folders = roots.into_iter().map(|root| root.join("usr/share/AAVMF"));
    folders.map(|f| (f.join("AAVMF_CODE.fd"), f.join("AAVMF_VARS.fd"))).find(|(code, _)| code.is_file())
}

/// The arguments; `keys` is the socket of the serial port.
pub(super) fn arguments(
    spec: &Spec,
    (disk, dir): (&Path, &Path),
    (keys, serial, qmp): (&Path, &Path, &Path),
) -> Result<Vec<String>> {
    let (code, vars) = firmware().context("no UEFI for arm64 (package qemu-efi-aarch64)")?;
    let own = dir.join(format!("{}.vars", spec.name));
    if !own.exists() {
        fs::copy(vars, &own).context("copying the firmware's variables")?;
    }
    let (net_index, disk_index) = match spec.first {
        First::Network => (2, 3),
        First::Disk => (3, 2),
    };
    // Where Debian's package of the emulator was only unpacked, it would not find its keymaps and ROMs.
    let mut argv = tool::words(&[EMULATOR, "-nodefaults", "-no-user-config", "-display", "none", "-L", "/usr/share/qemu"]);
    let mut add = |option: &str, value: String| argv.extend([option.to_owned(), value]);
    add("-name", format!("kubedos-{}", spec.name));
    add("-machine", "virt,acpi=on".to_owned());
    add("-accel", "tcg,thread=multi".to_owned());
    // `max` signs pointers, which takes the emulator very long.
    add("-cpu", "cortex-a72".to_owned());
    add("-smp", "2".to_owned());
    add("-m", spec.memory.to_string());
    add("-smbios", format!("type=1,manufacturer=Kubedos,product=Lab,serial=LAB-{}", spec.name));
    add("-chardev", format!("socket,id=ser0,path={},server=on,wait=off,logfile={}", keys.display(), serial.display()));
    add("-serial", "chardev:ser0".to_owned());
    add("-qmp", format!("unix:{},server=on,wait=off", qmp.display()));
    add("-drive", format!("if=pflash,format=raw,readonly=on,file={}", code.display()));
    add("-drive", format!("if=pflash,format=raw,file={}", own.display()));
    add("-object", "rng-random,id=rng0,filename=/dev/urandom".to_owned());
    add("-device", "virtio-rng-pci,rng=rng0".to_owned());
    add("-netdev", format!("tap,id=net0,ifname={},script=no,downscript=no", spec.name));
    add("-device", format!("virtio-net-pci,netdev=net0,mac={},bootindex={net_index},romfile=", spec.mac));
    let options = format!("format={},cache=unsafe,discard=unmap,detect-zeroes=unmap", spec.format);
    add("-drive", format!("if=none,id=disk0,{options},file={}", disk.display()));
    add("-device", format!("virtio-blk-pci,drive=disk0,serial=LABDISK{},bootindex={disk_index}", spec.name));
    Ok(argv)
}
