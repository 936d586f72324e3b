//! GRUB's configuration for machines with Secure Boot: shim starts Debian's signed GRUB, which starts Debian's signed
//! kernel and nothing else.
//!
//! The signed image has its modules built in; only those are used here: http, linux, configfile, sleep, echo, test,
//! serial. GRUB's paths are `(http,ADDRESS[:PORT])/path`.

use std::fmt;

use cluster_seed::arch::Arch;
use cluster_seed::ids::Mac;
use cluster_seed::manifest::ROOT_LABEL;

use super::agent::{AgentBoot, MAX_WAIT, MENU_SECONDS, Way};
use super::cmdline::{CmdlineError, SeedUrl};
use super::screen::ScreenText;
use crate::dhcp::arch::ClientArch;

/// `(http,10.44.0.1)`, GRUB's name of the seed.
struct Device(SeedUrl);

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.0.0;
        match at.port() {
            80 => write!(f, "(http,{})", at.ip()),
            port => write!(f, "(http,{}:{port})", at.ip()),
        }
    }
}

/// Screen and first serial port, both for keys and text; and the machine's architecture. GRUB for ARM has no driver of serial
/// ports: there the firmware's console is one.
const TERMINALS: &str = "if [ \"$grub_cpu\" = arm64 ]; then
  set arch=efi-arm64
else
  set arch=efi-x64
  serial --unit=0 --speed=115200 --word=8 --parity=no --stop=1
  terminal_input console serial
  terminal_output console serial
fi
";

/// The name of the firmware that starts GRUB on this architecture.
fn firmware(arch: Arch) -> &'static str {
    if arch == Arch::Arm64 { ClientArch::EfiArm64.name() } else { ClientArch::EfiX64.name() }
}

/// Locks editing and the command line: with `superusers` set and empty, nobody is one (GRUB manual, "Authentication and
/// authorisation"). A configuration has its own variables unless they are exported, so each says it.
const LOCK: &str = "set superusers=\"\"\nexport superusers\n";

fn lock(rescue: bool) -> &'static str {
    if rescue { "" } else { LOCK }
}

/// What GRUB reads first, by TFTP beside its own file. It is the same for every machine: GRUB fills in its hardware address and
/// asks the seed for the rest. `rescue`: see [`AgentBoot::rescue`].
pub fn grub_first(seed: SeedUrl, rescue: bool) -> String {
    format!(
        "{}{TERMINALS}set timeout=-1
set ask=yes
while [ \"$ask\" = yes ]; do
  echo \"Kubedos: this machine is $net_default_mac; asking the seed {seed}\"
  configfile \"{}/boot/ipxe?format=grub&arch=$arch&mac=$net_default_mac\"
  echo \"Kubedos: the seed {seed} did not answer. The next try is in 10 seconds.\"
  sleep 10
done
",
        lock(rescue),
        Device(seed)
    )
}

/// A menu with the agent first; see [`super::agent_script`].
pub fn grub_agent(boot: &AgentBoot<'_>) -> Result<String, CmdlineError> {
    let AgentBoot { seed, mac, arch, kernel, initrd, .. } = boot;
    let device = Device(*seed);
    let entry = |title: &str, key: char, id: &str, way| -> Result<String, CmdlineError> {
        Ok(format!(
            "menuentry \"{title} ({key})\" --unrestricted --hotkey={key} --id {id} {{
  set again=yes
  while [ \"$again\" = yes ]; do
    echo \"Kubedos: starting on {mac} from {seed}\"
    if linux {device}/boot/{kernel} {}; then
      if initrd {device}/boot/{initrd}; then
        boot
      fi
    fi
    echo \"Kubedos: this machine could not load the agent from {seed}.\"
    echo \"  Is the seed running, and does a firewall let its HTTP port through?\"
    echo \"  The next try is in 10 seconds.\"
    sleep 10
  done
}}
",
            boot.cmdline(way)?
        ))
    };
    let rescue = if boot.rescue { entry("Rescue shell", 'r', "rescue", Way::Rescue)? } else { String::new() };
    Ok(format!(
        "{}set timeout={MENU_SECONDS}
set default=agent
{}{rescue}{}menuentry \"Start from the local disk (l)\" --unrestricted --hotkey=l --id local {{
{}}}
",
        lock(boot.rescue),
        entry("Start the agent", 'a', "agent", Way::Agent)?,
        entry("Memory test, then the agent", 't', "memtest", Way::MemoryTest)?,
        grub_local_boot(*arch),
    ))
}

/// Where Debian's signed GRUB on a disk finds its configuration.
const DISK_CONFIG: &str = "/EFI/debian/grub.cfg";

/// The loader that UEFI looks for on a disk (UEFI 2.10, section 3.5.1.1).
fn disk_loader(arch: Arch) -> &'static str {
    if arch == Arch::Arm64 { "/EFI/BOOT/BOOTAA64.EFI" } else { "/EFI/BOOT/BOOTX64.EFI" }
}

/// Continues with the configuration on the disk, as the GRUB there would: it is the same signed program, and the kernel is
/// verified as usual. First a node's, by the label of its root, which no seed medium has; then whatever Debian put on an
/// ESP; on a disk without either, the loader is started. Firmware that came from the network may not have looked at
/// file systems, so that shim finds none there; and Debian's GRUB knows no exit code: a plain `exit` reports
/// success to the firmware, which then shows its set-up screen instead of trying the next boot option.
pub fn grub_local_boot(arch: Arch) -> String {
    let loader = disk_loader(arch);
    format!(
        "echo \"Kubedos: starting from the local disk\"
if search --no-floppy --label --set=root {ROOT_LABEL}; then
  set prefix=($root)/boot/grub
  configfile ($root)/boot/grub/grub.cfg
fi
if search --no-floppy --file --set=root {DISK_CONFIG}; then
  configfile ($root){DISK_CONFIG}
fi
if search --no-floppy --file --set=root {loader}; then
  chainloader ($root){loader}
  boot
fi
echo \"Kubedos: no bootable disk found; returning to the firmware in 10 seconds\"
sleep 10
exit 1
"
    )
}

/// Shows a text, waits (1 to [`MAX_WAIT`] seconds) and asks the seed again.
pub fn grub_wait(seed: SeedUrl, mac: Mac, arch: Arch, text: &ScreenText, seconds: u32) -> String {
    let firmware = firmware(arch);
    let seconds = seconds.clamp(1, MAX_WAIT);
    format!(
        "echo \"Kubedos: {text}\"
echo \"  seed {seed}, this machine {mac}\"
sleep {seconds}
configfile \"{}/boot/ipxe?format=grub&arch={firmware}&mac={mac}\"
",
        Device(seed)
    )
}

/// For a machine that is known neither by a hardware address, which not every firmware tells GRUB, nor by its IP address: shows
/// both texts, waits, and asks again.
pub fn grub_nameless(seed: SeedUrl, arch: Arch, texts: [&ScreenText; 2], seconds: u32) -> String {
    let firmware = firmware(arch);
    let seconds = seconds.clamp(1, MAX_WAIT);
    let [what, advice] = texts;
    format!(
        "echo \"Kubedos: {what}\"
echo \"  {advice}\"
echo \"  seed {seed}; the next try is in {seconds} seconds\"
sleep {seconds}
configfile \"{}/boot/ipxe?format=grub&arch={firmware}&mac=$net_default_mac\"
",
        Device(seed)
    )
}

#[cfg(test)]
mod tests;
