//! The machine's boot menu over its serial line: a rescue shell, and the kernel's memory test.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::demo::accelerator;
use crate::fleet::Fleet;
use crate::netns::PREFIX;
use crate::say;
use crate::screen;
use crate::site::Template;
use crate::stop;
use crate::vm::{Firmware, First, Spec, Vm};

const BOOT_LIMIT: Duration = Duration::from_secs(10 * 60);
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// One way into the menu.
struct Kind {
    name: &'static str,
    number: u8,
    firmware: Firmware,
    /// What the firmware says when it starts from the network.
    starts: &'static str,
    /// What the loader shows while it can be stopped, and the key for that, if it takes one.
    offer: &'static str,
    key: &'static str,
    disk: &'static str,
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "menu-bios",
        number: 85,
        firmware: Firmware::SeaBios,
        starts: "iPXE",
        offer: "press m for rescue shell",
        key: "m",
        disk: "/dev/vda",
    },
    Kind {
        name: "menu-uefi",
        number: 86,
        firmware: Firmware::Ovmf,
        starts: "Start PXE over IPv4",
        offer: "Rescue shell (r)",
        key: "",
        disk: "/dev/nvme0n1",
    },
];

/// Chooses rescue shell and memory test on a machine of each kind.
pub fn run(template: &Template, work: &Path, logs: &Path) -> Result<()> {
    let seedd = template.copy(&work.join("data"))?;
    let fleet = Fleet::start(&format!("{PREFIX}{}-menu", std::process::id()), seedd, 0, work, logs)?;
    let accel = accelerator(&fleet.seedd, &fleet.work)?;
    for kind in KINDS {
        let spec = Spec { first: First::Network, ..Spec::new(kind.name, kind.number, kind.firmware) };
        let mut vm = Vm::start(&fleet.ns, spec, accel, work, logs)?;
        rescue(&mut vm, &kind).with_context(|| format!("the rescue shell of {}", kind.name))?;
        memory_test(&mut vm, &kind).with_context(|| format!("the memory test of {}", kind.name))?;
        say::line(&format!("{}: the rescue shell works, and memory was tested before the agent", kind.name));
    }
    fleet.ns.must_be_quiet()
}

/// Waits for the loader, asks for its menu and presses the entry's key.
fn choose(vm: &mut Vm, from: usize, kind: &Kind, entry: &str) -> Result<()> {
    vm.wait(from, kind.starts, BOOT_LIMIT)?;
    shown(vm, kind.offer)?;
    if !kind.key.is_empty() {
        vm.press(kind.key)?;
        shown(vm, "Rescue shell (r)")?;
    }
    vm.press(entry)
}

/// Waits until the screen has a text, on a line that may go on.
fn shown(vm: &mut Vm, text: &str) -> Result<()> {
    stop::wait_for(&format!("{text:?} on the screen of {}", vm.spec.name), BOOT_LIMIT, || {
        vm.poll()?;
        Ok(screen::of(&vm.console)?.contains(text).then_some(()))
    })
}

fn rescue(vm: &mut Vm, kind: &Kind) -> Result<()> {
    choose(vm, 0, kind, "r")?;
    vm.wait(0, "kubedos: step rescue shell:", BOOT_LIMIT)?;
    shown(vm, "# ")?;
    // Answers that are not in the questions, which the terminal repeats.
    let disk = kind.disk;
    ask(vm, &format!("[ -b {disk} ] && echo disk $((40 + 2))\r"), "disk 42")?;
    vm.press("sleep 600\r")?;
    ask(vm, "\u{3}echo after $((50 + 3))\r", "after 53")?;
    vm.press("reboot -f\r")
}

fn ask(vm: &mut Vm, keys: &str, answer: &str) -> Result<()> {
    let from = vm.console.lines.len();
    vm.press(keys)?;
    vm.wait(from, answer, ANSWER_LIMIT).map(|_| ())
}

fn memory_test(vm: &mut Vm, kind: &Kind) -> Result<()> {
    let from = vm.console.lines.len();
    choose(vm, from, kind, "t")?;
    let tested = vm.wait(from, "early_memtest: # of tests: 4", BOOT_LIMIT)?;
    vm.wait(tested, "kubedos: step address", BOOT_LIMIT).map(|_| ())
}
