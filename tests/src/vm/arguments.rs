//! QEMU's arguments.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::spec::{Accel, Direct, DiskBus, Firmware, First, Medium, Spec};
use super::virt;
use crate::tool;

const OVMF: [(&str, &str); 2] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
];
/// Enforces Secure Boot; Microsoft's keys are in its variables.
const OVMF_SECURE: [(&str, &str); 1] = [("/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd")];

/// The socket behind which the machine's serial port listens.
pub(super) fn keys(dir: &Path, spec: &Spec) -> PathBuf {
    dir.join(format!("{}.keys", spec.name))
}

/// `max` under TCG offers what the emulator can do; 5-level paging only costs time there.
fn cpu(accel: Accel) -> &'static str {
    if accel == Accel::Kvm { "host" } else { "max,la57=off" }
}

/// QEMU's microvm with a kernel, two disks and a network card.
fn microvm(spec: &Spec, direct: &Direct, accel: Accel, (disk, dir, serial, qmp): (&Path, &Path, &Path, &Path)) -> Vec<String> {
    let mut argv = tool::words(&["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"]);
    let mut add = |option: &str, value: String| argv.extend([option.to_owned(), value]);
    add("-name", format!("kubedos-{}", spec.name));
    add("-machine", "microvm,acpi=on,rtc=on".to_owned());
    add("-accel", accel.argument().to_owned());
    add("-cpu", cpu(accel).to_owned());
    add("-m", spec.memory.to_string());
    add("-kernel", direct.kernel.display().to_string());
    add("-initrd", direct.initrd.display().to_string());
    add("-append", direct.append.clone());
    add("-chardev", format!("socket,id=ser0,path={},server=on,wait=off,logfile={}", keys(dir, spec).display(), serial.display()));
    add("-serial", "chardev:ser0".to_owned());
    add("-qmp", format!("unix:{},server=on,wait=off", qmp.display()));
    for (id, file) in [("disk0", disk), ("disk1", &direct.second)] {
        add("-drive", format!("if=none,id={id},format=raw,cache=unsafe,file={}", file.display()));
        add("-device", format!("virtio-blk-device,drive={id},serial=LAB{id}{}", spec.name));
    }
    add("-netdev", format!("tap,id=net0,ifname={},script=no,downscript=no", spec.name));
    add("-device", format!("virtio-net-device,netdev=net0,mac={}", spec.mac));
    add("-object", "rng-random,id=rng0,filename=/dev/urandom".to_owned());
    add("-device", "virtio-rng-device,rng=rng0".to_owned());
    argv
}

pub(super) fn arguments(spec: &Spec, accel: Accel, disk: &Path, dir: &Path, serial: &Path, qmp: &Path) -> Result<Vec<String>> {
    if let Some(direct) = &spec.direct {
        return Ok(microvm(spec, direct, accel, (disk, dir, serial, qmp)));
    }
    if spec.firmware == Firmware::Aavmf {
        return virt::arguments(spec, (disk, dir), (&keys(dir, spec), serial, qmp));
    }
    let (net_index, disk_index) = match spec.first {
        First::Network => (2, 3),
        First::Disk => (3, 2),
    };
    let mut argv = tool::words(&["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-vga", "std"]);
    let mut add = |option: &str, value: String| argv.extend([option.to_owned(), value]);
    add("-name", format!("kubedos-{}", spec.name));
    // graphics=off makes SeaBIOS and its ROMs speak on the serial line as well.
    // Secure Boot needs system management mode, so that nobody but the firmware writes its variables.
    let smm = if spec.firmware == Firmware::OvmfSecure { ",smm=on" } else { "" };
    add("-machine", format!("q35,graphics=off{smm}"));
    add("-accel", accel.argument().to_owned());
    add("-cpu", cpu(accel).to_owned());
    add("-smp", spec.cpus.to_string());
    add("-m", spec.memory.to_string());
    add("-smbios", format!("type=1,manufacturer=Kubedos,product=Lab,serial=LAB-{}", spec.name));
    if let Some(clock) = &spec.clock {
        add("-rtc", format!("base={clock}"));
    }
    add("-chardev", format!("socket,id=ser0,path={},server=on,wait=off,logfile={}", keys(dir, spec).display(), serial.display()));
    add("-serial", "chardev:ser0".to_owned());
    add("-qmp", format!("unix:{},server=on,wait=off", qmp.display()));
    add("-object", "rng-random,id=rng0,filename=/dev/urandom".to_owned());
    add("-device", "virtio-rng-pci,rng=rng0".to_owned());
    add("-netdev", format!("tap,id=net0,ifname={},script=no,downscript=no", spec.name));
    // Without a ROM, OVMF uses its own driver and PXE client, as most UEFI machines do.
    let rom = if spec.firmware.is_uefi() { ",romfile=" } else { "" };
    let boot = if spec.network_boot { format!(",bootindex={net_index}{rom}") } else { ",romfile=".to_owned() };
    add("-device", format!("virtio-net-pci,netdev=net0,mac={}{boot}", spec.mac));
    let options = format!("format={},cache=unsafe,discard=unmap,detect-zeroes=unmap", spec.format);
    add("-drive", format!("if=none,id=disk0,{options},file={}", disk.display()));
    let device = match spec.bus {
        DiskBus::Virtio => "virtio-blk-pci,drive=disk0",
        DiskBus::Nvme => "nvme,drive=disk0",
        DiskBus::Ahci => "ide-hd,drive=disk0,bus=ide.0",
    };
    add("-device", format!("{device},serial=LABDISK{},bootindex={disk_index}", spec.name));
    if let Some(data) = &spec.data {
        add("-drive", format!("if=none,id=data0,format=raw,cache=unsafe,file={}", data.display()));
        add("-device", format!("virtio-blk-pci,drive=data0,serial=LABDATA{}", spec.name));
    }
    add_medium(spec, &mut add);
    add_firmware(spec, dir, &mut add)?;
    Ok(argv)
}

/// The drive or port with the medium, if there is one.
fn add_medium(spec: &Spec, add: &mut impl FnMut(&str, String)) {
    match &spec.medium {
        Some(Medium::Cd(file)) => {
            add("-drive", format!("if=none,id=cd0,format=raw,media=cdrom,readonly=on,file={}", file.display()));
            add("-device", "ide-cd,drive=cd0,bus=ide.1,bootindex=1".to_owned());
        }
        Some(Medium::Data(file)) => {
            add("-drive", format!("if=none,id=cd0,format=raw,media=cdrom,readonly=on,file={}", file.display()));
            add("-device", "ide-cd,drive=cd0,bus=ide.1".to_owned());
        }
        Some(Medium::Usb(file)) => {
            add("-drive", format!("if=none,id=usb0,format=raw,cache=unsafe,file={}", file.display()));
            add("-device", "qemu-xhci,id=xhci".to_owned());
            add("-device", "usb-storage,drive=usb0,bus=xhci.0,removable=on,bootindex=1".to_owned());
        }
        None => {}
    }
}

/// UEFI code, and variables of the machine's own; SeaBIOS is QEMU's default.
fn add_firmware(spec: &Spec, dir: &Path, add: &mut impl FnMut(&str, String)) -> Result<()> {
    let places: &[(&str, &str)] = match spec.firmware {
        // The other architecture has arguments of its own.
        Firmware::SeaBios | Firmware::Aavmf => return Ok(()),
        Firmware::Ovmf | Firmware::OvmfHttp => &OVMF,
        Firmware::OvmfSecure => &OVMF_SECURE,
    };
    let Some((code, vars)) = places.iter().find(|(code, _)| Path::new(code).is_file()) else {
        bail!("no {:?} firmware in /usr/share/OVMF (package ovmf)", spec.firmware);
    };
    let own = dir.join(format!("{}.vars", spec.name));
    if !own.exists() {
        std::fs::copy(vars, &own).context("copying OVMF's variables")?;
    }
    if spec.firmware == Firmware::OvmfHttp {
        for version in ["4", "6"] {
            add("-fw_cfg", format!("name=opt/org.tianocore/IPv{version}PXESupport,string=no"));
        }
    }
    if spec.firmware == Firmware::OvmfSecure {
        add("-global", "driver=cfi.pflash01,property=secure,value=on".to_owned());
    }
    add("-drive", format!("if=pflash,format=raw,readonly=on,file={code}"));
    add("-drive", format!("if=pflash,format=raw,file={}", own.display()));
    Ok(())
}
