//! A blank machine: QEMU with real firmware, one network card on the lab's bridge, one empty disk.

mod arguments;

mod spec;

mod virt;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use arguments::{arguments, keys};
pub use spec::{Accel, Direct, DiskBus, Firmware, First, Medium, Spec};
pub use virt::{EMULATOR, firmware as arm64_firmware};

use crate::console::Console;
use crate::netns::Netns;
use crate::qmp;
use crate::stop;
use crate::tool::{self, Background};

/// Bytes that a 16550A, the usual serial port, holds for its reader.
const FIFO: usize = 16;

impl Accel {
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
