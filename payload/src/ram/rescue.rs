//! The rescue shell of the machine's menu: one on every console the kernel speaks to, since the operator may
//! be at any of them. Drivers are loaded, nothing is mounted, nothing is sent to the network.

use std::io;
use std::time::Duration;

use camino::Utf8Path;

use crate::console::{SCREEN, terminals};
use crate::http::chain;
use crate::layout::NO_RESCUE;
use crate::ram::Ram;
use host::files::{Access, open_device};
use host::tool::{Running, Tool};

/// The word on the kernel command line that requests it.
pub const PARAMETER: &str = "kubedos.rescue";
/// Looks for disks and cards that appear late, a second apart.
const SETTLE: u32 = 3;
const TICK: Duration = Duration::from_secs(1);
/// In a session of its own, so that Ctrl-C works; the pause is for a terminal that cannot be opened. `$0` is the terminal, `$1`
/// its kind.
const SHELL: &str = "setsid getty -n -i -L -l /bin/sh 0 \"$0\" \"$1\"; sleep 2";
/// What the console says instead.
pub const REFUSED: &str = "this site has no rescue shell (netboot.rescue: off)";
const HELP: &str = "rescue shell: disks and cards are in /dev and /sys, nothing is mounted, no network address is set (udhcpc \
    -i CARD); reboot -f restarts this machine";

/// True if the command line asks for the rescue shell.
pub fn is_requested(cmdline: &str) -> bool {
    cmdline.split_ascii_whitespace().any(|word| word == PARAMETER)
}

/// True if the image below `root` was built for a site without rescue shell. It is part of the image, and not of the command
/// line, which whoever sits at a boot loader may change.
pub fn is_refused(root: &Utf8Path) -> bool {
    root.join(NO_RESCUE.trim_start_matches('/')).exists()
}

/// Runs until the operator restarts the machine; a shell that exits is started again.
///
/// # Errors
/// When this image refuses it, and when not even one shell can be started.
pub fn run(ram: &Ram<'_>) -> anyhow::Result<()> {
    anyhow::ensure!(!is_refused(ram.root), REFUSED);
    let mut drivers = ram.drivers();
    for _ in 0..SETTLE {
        ram.refresh(&mut drivers);
        (ram.wait)(TICK);
    }
    let names = terminals();
    anyhow::ensure!(!names.is_empty(), "the kernel has no console");
    ram.console.step(HELP);
    let mut shells: Vec<(String, Option<Running>)> = names.into_iter().map(|name| (name, None)).collect();
    loop {
        for (name, shell) in &mut shells {
            if shell.as_mut().is_none_or(|s| s.ended().is_some()) {
                *shell = start(name).inspect_err(|e| ram.console.error(&format!("no shell on {name}: {}", chain(e)))).ok();
            }
        }
        anyhow::ensure!(shells.iter().any(|(_, shell)| shell.is_some()), "no shell could be started");
        (ram.wait)(TICK);
    }
}

fn start(terminal: &str) -> io::Result<Running> {
    let kind = if terminal == SCREEN { "linux" } else { "vt100" };
    let nowhere = open_device("/dev/null", Access::Write, 0)?;
    Tool::new("busybox")
        .args(["sh", "-c", SHELL, terminal, kind])
        .env("HOME", "/root")
        .spawn(nowhere)
        .map_err(|e| io::Error::other(chain(&e)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::console::Console;

    #[test]
    fn an_image_built_without_rescue_shell_starts_none_whatever_the_command_line_says() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        assert!(!is_refused(root));
        fs::create_dir_all(root.join("etc/kubedos")).unwrap();
        fs::write(root.join("etc/kubedos/no-rescue"), b"").unwrap();
        assert!(is_refused(root));
        let console = Console::open();
        let ram = Ram { root, run: root, console: &console, wait: &|_| {}, random: &|_| Ok(()), key: &|| false };
        assert_eq!(run(&ram).unwrap_err().to_string(), REFUSED);
    }

    #[test]
    fn only_the_complete_word_requests_it() {
        assert!(is_requested("quiet kubedos.rescue initrd=initrd.img\n"));
        assert!(!is_requested("kubedos.rescued kubedos.seed=http://kubedos.rescue"));
    }
}
