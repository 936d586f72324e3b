//! A blank machine: QEMU with real firmware, one network card on the lab's bridge, one empty disk.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::console::Console;
use crate::netns::Netns;
use crate::qmp;
use crate::stop;
use crate::tool::{self, Background};

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
}

impl Firmware {
    fn is_uefi(self) -> bool {
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

/// Bytes that a 16550A, the usual serial port, holds for its reader.
const FIFO: usize = 16;

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
}

impl Spec {
    /// A usual machine of the lab. `number` (1..=250) gives its MAC address.
    pub fn new(name: &str, number: u8, firmware: Firmware) -> Self {
        let (bus, first) = match firmware {
            Firmware::SeaBios => (DiskBus::Virtio, First::Network),
            Firmware::Ovmf | Firmware::OvmfSecure | Firmware::OvmfHttp => (DiskBus::Nvme, First::Disk),
        };
        Spec {
            name: name.to_owned(),
            firmware,
            bus,
            disk: 8 << 30,
            memory: 1536,
            mac: format!("52:54:00:6b:64:{number:02x}"),
            first,
            network_boot: true,
            medium: None,
            direct: None,
            format: "raw",
            clock: None,
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
    fn argument(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg,thread=multi",
        }
    }

    /// KVM's device can be there and a kernel still hang under it, so one is really booted: without a root file
    /// system it must reach its own panic within 20 seconds.
    pub fn probe(kernel: &Path, dir: &Path) -> Result<Accel> {
        if File::options().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok(Accel::Tcg);
        }
        let serial = dir.join("kvm-probe.serial");
        let mut argv = tool::words(&["qemu-system-x86_64", "-machine", "q35,accel=kvm", "-cpu", "host", "-m", "512"]);
        argv.extend(tool::words(&["-display", "none", "-no-reboot", "-nodefaults", "-append", "console=ttyS0 panic=-1"]));
        argv.extend(["-kernel".into(), kernel.to_string_lossy().into_owned()]);
        argv.extend(["-serial".into(), format!("file:{}", serial.display())]);
        let mut qemu = Background::spawn("kvm probe", &argv, &dir.join("kvm-probe.log"), None)?;
        let mut console = Console::follow(&serial);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            stop::check()?;
            console.poll()?;
            if console.find(0, "Kernel panic - not syncing: VFS").is_some() {
                return Ok(Accel::Kvm);
            }
            if qemu.ended()?.is_some() {
                break;
            }
            std::thread::sleep(stop::TICK);
        }
        Ok(Accel::Tcg)
    }
}

const OVMF: [(&str, &str); 2] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
];
/// Enforces Secure Boot; Microsoft's keys are in its variables.
const OVMF_SECURE: [(&str, &str); 1] = [("/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd")];

/// A machine that is switched on; switched off when dropped.
#[derive(Debug)]
pub struct Vm {
    pub spec: Spec,
    pub console: Console,
    pub disk: PathBuf,
    pub powered_on: Instant,
    pub log: PathBuf,
    qmp: PathBuf,
    keys: PathBuf,
    qemu: Background,
}

impl Vm {
    /// Makes a tap and an empty disk in `dir` and switches the machine on. Console and QEMU's log go to `logs`.
    pub fn start(ns: &Netns, spec: Spec, accel: Accel, dir: &Path, logs: &Path) -> Result<Vm> {
        let disk = dir.join(format!("{}.raw", spec.name));
        let file = File::create(&disk).with_context(|| format!("making disk {}", disk.display()))?;
        file.set_len(spec.disk).context("sizing the disk")?;
        ns.tap(&spec.name)?;
        Vm::power_on(ns, spec, accel, disk, dir, logs)
    }

    /// Switches on a machine whose disk and tap are there already.
    pub fn power_on(ns: &Netns, spec: Spec, accel: Accel, disk: PathBuf, dir: &Path, logs: &Path) -> Result<Vm> {
        let serial = logs.join(format!("{}.console", spec.name));
        let qmp = dir.join(format!("{}.qmp", spec.name));
        keep_earlier(&serial)?;
        let log = logs.join(format!("{}.qemu", spec.name));
        let argv = ns.argv(&arguments(&spec, accel, &disk, dir, &serial, &qmp)?);
        let qemu = Background::spawn(&format!("machine {}", spec.name), &argv, &log, None)?;
        let console = Console::follow(&serial);
        let keys = keys(dir, &spec);
        Ok(Vm { spec, console, disk, powered_on: Instant::now(), log, qmp, keys, qemu })
    }

    /// Reads the console and makes sure that the machine is still on.
    pub fn poll(&mut self) -> Result<()> {
        self.console.poll()?;
        self.qemu.must_run()
    }

    /// Waits for a line on the console; its index + 1.
    pub fn wait(&mut self, from: usize, pattern: &str, limit: Duration) -> Result<usize> {
        let what = format!("{pattern:?} on the console of {} ({})", self.spec.name, self.console.path().display());
        stop::wait_for(&what, limit, || {
            self.poll()?;
            Ok(self.console.lines.iter().skip(from).position(|l| l.text.contains(pattern)).map(|i| from + i + 1))
        })
    }

    /// Types on the serial line, no faster than a port without flow control takes it: QEMU forgets what is still on the way
    /// when the line is left. What the machine says meanwhile is in its log as ever.
    pub fn press(&self, keys: &str) -> Result<()> {
        let mut line = UnixStream::connect(&self.keys).with_context(|| format!("connecting to {}", self.keys.display()))?;
        for some in keys.as_bytes().chunks(FIFO / 2) {
            line.write_all(some).context("typing on the serial line")?;
            std::thread::sleep(stop::TICK);
        }
        Ok(())
    }

    /// A picture of the VGA console, as PNG.
    pub fn screenshot(&self, file: &Path) -> Result<()> {
        let arguments = serde_json::json!({"filename": file.to_string_lossy(), "format": "png"});
        qmp::ask(&self.qmp, "screendump", &arguments)?;
        if !file.is_file() {
            bail!("QEMU made no picture {}", file.display());
        }
        Ok(())
    }

    /// Lets the machine stand still.
    pub fn pause(&self) -> Result<()> {
        qmp::ask(&self.qmp, "stop", &serde_json::json!({})).map(|_| ())
    }

    pub fn go_on(&self) -> Result<()> {
        qmp::ask(&self.qmp, "cont", &serde_json::json!({})).map(|_| ())
    }

    /// The reset button.
    pub fn reset(&self) -> Result<()> {
        qmp::ask(&self.qmp, "system_reset", &serde_json::json!({})).map(|_| ())
    }

    /// Cuts the power; the disk is kept.
    pub fn power_off(mut self) -> PathBuf {
        self.qemu.kill();
        self.disk.clone()
    }
}

/// QEMU begins the log anew at every power-on; what earlier runs of the machine said stays beside it.
fn keep_earlier(serial: &Path) -> Result<()> {
    if !serial.exists() {
        return Ok(());
    }
    let free = (1..).map(|n| serial.with_extension(format!("console.{n}"))).find(|p| !p.exists());
    let kept = free.context("no free name for an earlier console")?;
    std::fs::rename(serial, &kept).with_context(|| format!("keeping {}", serial.display()))
}

/// The socket behind which the machine's serial port listens.
fn keys(dir: &Path, spec: &Spec) -> PathBuf {
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

fn arguments(spec: &Spec, accel: Accel, disk: &Path, dir: &Path, serial: &Path, qmp: &Path) -> Result<Vec<String>> {
    if let Some(direct) = &spec.direct {
        return Ok(microvm(spec, direct, accel, (disk, dir, serial, qmp)));
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
    add("-smp", "1".to_owned());
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
        Firmware::SeaBios => return Ok(()),
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
