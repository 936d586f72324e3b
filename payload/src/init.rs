//! PID 1 of the RAM system. It mounts, starts the agent as a child, reaps, and reboots. It must never exit: the kernel
//! would panic, so everything that may fail runs in the child.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::medium::maker_key;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::console::Console;
use crate::http::{Wait, backoff, chain};
use crate::layout::{GAVE_UP, MODPROBE, RUN_DIR};
use crate::ram::rescue;
use crate::seed::switch;
use host::files::{Access, open_device, write_kernel};
use host::tool::{Running, Tool};

/// How long a failure stays on the screen before the machine restarts.
const SHOW_FAILURE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(200);
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Source, target, type, data.
const MOUNTS: &[(&str, &str, &str, Option<&str>)] = &[
    ("proc", "/proc", "proc", None),
    ("sysfs", "/sys", "sysfs", None),
    ("devtmpfs", "/dev", "devtmpfs", Some("mode=0755")),
    ("devpts", "/dev/pts", "devpts", Some("mode=0600,ptmxmode=0666")),
    ("tmpfs", "/run", "tmpfs", Some("mode=0755,size=64m")),
    ("tmpfs", "/tmp", "tmpfs", Some("mode=1777,size=64m")),
];

/// Never returns; a reboot does not either.
pub fn run(exe: &Utf8Path, wait: Wait<'_>) -> ! {
    let problems: Vec<String> = MOUNTS.iter().filter_map(|m| mount_one(m).err()).collect();
    let console = Console::open();
    console.step("init");
    problems.iter().for_each(|p| console.error(p));
    for (what, result) in [("creating /run/kubedos", make_run_dir(exe)), ("lowering the kernel's log level", quiet_kernel())] {
        if let Err(e) = result {
            console.error(&format!("{what}: {e:#}"));
        }
    }
    // A seed's medium, the menu's rescue entry, or else a netbooted machine.
    let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let seed = maker_key(&cmdline).is_some();
    let verb = if seed {
        "boot-seed"
    } else if rescue::is_requested(&cmdline) && !rescue::is_refused("/".into()) {
        "rescue"
    } else {
        "enroll"
    };
    if rescue::is_requested(&cmdline) && verb == "enroll" {
        console.error(rescue::REFUSED);
    }
    let mut failures = 0;
    loop {
        match agent(exe, verb, wait) {
            Ok(status) if status.success() && seed => {
                console.step("starting the system");
                let Err(e) = switch::run();
                console.error(&format!("cannot start the system: {e:#}"));
                pause(SHOW_FAILURE, wait);
                restart(&console);
            }
            Ok(status) if status.success() => restart(&console),
            Ok(status) if status.code() == Some(i32::from(GAVE_UP)) => {
                console.error(&format!("installation failed; restarting in {} s", SHOW_FAILURE.as_secs()));
                pause(SHOW_FAILURE, wait);
                restart(&console);
            }
            Ok(status) => console.error(&format!("the agent exited: {}", describe(status))),
            Err(e) => console.error(&format!("cannot start the agent: {e}")),
        }
        pause(backoff(failures), wait);
        failures = failures.saturating_add(1);
    }
}

fn describe(status: ExitStatus) -> String {
    status.signal().map_or_else(|| status.to_string(), |n| format!("killed by signal {n}"))
}

fn mount_one((source, target, kind, data): &(&str, &str, &str, Option<&str>)) -> Result<(), String> {
    fs::create_dir_all(target).map_err(|e| format!("creating {target}: {e}"))?;
    match mount(Some(*source), *target, Some(*kind), MsFlags::MS_NOSUID, *data) {
        Ok(()) | Err(nix::errno::Errno::EBUSY) => Ok(()),
        Err(e) => Err(format!("mounting {target}: {e}")),
    }
}

/// Also sets this program as the kernel's modprobe (Documentation/admin-guide/sysctl/kernel.rst, modprobe).
fn make_run_dir(exe: &Utf8Path) -> anyhow::Result<()> {
    fs::create_dir_all(RUN_DIR)?;
    fs::set_permissions(RUN_DIR, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let modprobe = format!("{RUN_DIR}/{MODPROBE}");
    std::os::unix::fs::symlink(exe, &modprobe)?;
    Ok(write_kernel("/proc/sys/kernel/modprobe".into(), &modprobe)?)
}

/// Warnings and errors only: drivers' messages must not scroll the pairing code off the screen.
fn quiet_kernel() -> anyhow::Result<()> {
    Ok(write_kernel("/proc/sys/kernel/printk".into(), "4 4 1 7")?)
}

fn agent(exe: &Utf8Path, verb: &str, wait: Wait<'_>) -> io::Result<ExitStatus> {
    let tool = Tool::new(exe.as_std_path()).arg(verb).env("PATH", PATH);
    let mut child = tool.spawn(output()?).map_err(|e| io::Error::other(chain(&e)))?;
    loop {
        if let Some(status) = child.ended() {
            return Ok(status);
        }
        reap(Some(&child));
        wait(TICK);
    }
}

/// Log file of the agent.
fn output() -> io::Result<File> {
    open_device("/dev/console", Access::Write, 0).or_else(|_| open_device("/dev/null", Access::Write, 0))
}

/// Reaps orphans; peeks first, so that the child's own status is left to [`Running::ended`].
fn reap(child: Option<&Running>) {
    let keep = child.and_then(|c| i32::try_from(c.pid()).ok()).map(Pid::from_raw);
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    // Bounded by the number of processes that can exist.
    for _ in 0..4096 {
        let ended = match waitid(Id::All, look) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) if Some(pid) != keep => pid,
            _ => return,
        };
        if waitpid(ended, Some(WaitPidFlag::WNOHANG)).is_err() {
            return;
        }
    }
}

fn pause(time: Duration, wait: Wait<'_>) {
    for _ in 0..time.as_millis() / TICK.as_millis() {
        reap(None);
        wait(TICK);
    }
}

fn restart(console: &Console) {
    console.step("reboot");
    nix::unistd::sync();
    let Err(e) = reboot(RebootMode::RB_AUTOBOOT);
    console.error(&format!("reboot: {e}"));
}
