//! Boot scripts as text from typed values: iPXE's (<https://ipxe.org/scripting>), and GRUB's in its own file.
//!
//! Every script ends in something a person can read or in the next boot device, never in iPXE's own prompt
//! or a silent stop. Texts of machines and operators reach a script only through [`ScreenText`].

mod cmdline;
mod grub;

use std::fmt;

use cluster_seed::ids::Mac;

pub use cmdline::{CmdlineError, Console, FileName, KernelCmdline, MAX_CMDLINE, SeedUrl};
pub use grub::{grub_agent, grub_first, grub_local_boot, grub_wait};

/// The longest line shown to a person.
pub const MAX_SCREEN: usize = 72;
/// The longest pause between two looks at the seed, in seconds.
pub const MAX_WAIT: u32 = 300;

/// One line for the screen, with whatever iPXE would interpret replaced by `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScreenText(String);

impl ScreenText {
    pub fn new(text: &str) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || " .,:/@+=()!?_-".contains(c);
        let shown = text.chars().take(MAX_SCREEN).map(|c| if plain(c) { c } else { '?' }).collect::<String>();
        // A leading dash would be an option of echo.
        ScreenText(shown.trim().trim_start_matches('-').trim_start().to_owned())
    }
}

impl fmt::Display for ScreenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What starts the agent on a machine.
#[derive(Debug, Clone)]
pub struct AgentBoot<'a> {
    pub seed: SeedUrl,
    pub mac: Mac,
    pub kernel: &'a FileName,
    pub initrd: &'a FileName,
    /// The last is /dev/console, where the agent's log goes; the screen and the first serial port
    /// where none is given.
    pub consoles: &'a [Console],
    /// The operator's own parameters.
    pub extra: &'a KernelCmdline,
}

/// The ways a machine's menu offers to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Agent,
    Rescue,
    MemoryTest,
}

/// Patterns of the menu's memory test: each reads and writes all memory once.
const MEMTEST_PATTERNS: u8 = 4;
/// Seconds that the menu can be asked for before the agent starts.
const MENU_SECONDS: u32 = 3;

impl AgentBoot<'_> {
    fn cmdline(&self, way: Way) -> Result<String, CmdlineError> {
        let default = [Console::Vga, Console::Serial(0)];
        let consoles = if self.consoles.is_empty() { &default[..] } else { self.consoles };
        let line = KernelCmdline::new().seed(self.seed).bootif(self.mac);
        let line = consoles.iter().fold(line, |line, console| line.console(*console)).initrd(self.initrd);
        let line = match way {
            Way::Agent => line,
            Way::Rescue => line.rescue(),
            Way::MemoryTest => line.memory_test(MEMTEST_PATTERNS),
        };
        Ok(line.and(self.extra)?.to_string())
    }
}

/// Starts the agent: kernel and initramfs by HTTP from `/boot/`. A key opens a menu with a rescue shell, a memory
/// test and the local disk; a failure is told and tried again for as long as it takes.
pub fn agent_script(boot: &AgentBoot<'_>) -> Result<String, CmdlineError> {
    let AgentBoot { seed, mac, kernel, initrd, .. } = boot;
    let (agent, rescue, memtest) = (boot.cmdline(Way::Agent)?, boot.cmdline(Way::Rescue)?, boot.cmdline(Way::MemoryTest)?);
    let wait = MENU_SECONDS * 1_000;
    Ok(format!(
        "#!ipxe
imgfree
set try:int32 0
set way agent
echo
prompt --key 0x6d --timeout {wait} Kubedos: press m for rescue shell, memory test or local disk || goto try
menu Kubedos: {mac}, seed {seed} ||
item --key a agent Start the agent (a) ||
item --key r rescue Rescue shell (r) ||
item --key t memtest Memory test, then the agent (t) ||
item --key l local Start from the local disk (l) ||
choose --default agent --timeout 60000 way || set way agent
iseq ${{way}} local && goto local ||
:try
inc try
echo
echo Kubedos: starting the agent on {mac} from {seed} (try ${{try}})
imgfree
goto ${{way}} || goto agent
:agent
kernel --name {kernel} {seed}/boot/{kernel} {agent} || goto failed
goto initrd
:rescue
kernel --name {kernel} {seed}/boot/{kernel} {rescue} || goto failed
goto initrd
:memtest
kernel --name {kernel} {seed}/boot/{kernel} {memtest} || goto failed
:initrd
initrd --name {initrd} {seed}/boot/{initrd} || goto failed
boot || goto failed
:failed
echo
echo Kubedos: this machine could not load the agent. iPXE error: ${{errno}}
echo   seed {seed}, this machine {mac}, address ${{ip}}
echo   Is the seed running, and does a firewall let its HTTP port through?
echo   The next try is in 10 seconds.
sleep 10 ||
goto try
:local
{LOCAL_BOOT}"
    ))
}

/// The end of a script that leaves for the machine's own disk.
const LOCAL_BOOT: &str = "echo Kubedos: starting from the local disk
iseq ${platform} efi && goto efi ||
sanboot --no-describe --drive 0x80 || exit 1
:efi
exit 1
";

/// Starts the operating system on the machine's own disk. Under UEFI only the firmware knows how: the
/// script fails on purpose, and the firmware goes to its next boot option (success would open its menu).
pub fn local_boot_script() -> String {
    format!("#!ipxe\nimgfree\n{LOCAL_BOOT}")
}

/// Shows a text, waits (1 to [`MAX_WAIT`] seconds) and asks the seed again, for as long as it takes.
/// `arch` is the name the machine's first request was given ([`crate::ClientArch::name`]).
pub fn wait_script(seed: SeedUrl, mac: Mac, arch: &str, text: &ScreenText, seconds: u32) -> String {
    let seconds = seconds.clamp(1, MAX_WAIT);
    format!(
        "#!ipxe
imgfree
echo
echo Kubedos: {text}
echo   seed {seed}, this machine {mac}, address ${{ip}}
:wait
sleep {seconds} ||
chain --replace --autofree {} || goto wait
goto wait
",
        boot_url(seed, mac, arch, None)
    )
}

/// The URL at which iPXE fetches its script.
pub fn boot_url(seed: SeedUrl, mac: Mac, arch: &str, uuid: Option<&str>) -> String {
    let plain = |s: &str| s.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(36).collect::<String>();
    let uuid = uuid.map(|u| format!("&uuid={}", plain(u))).unwrap_or_default();
    format!("{seed}/boot/ipxe?mac={}&arch={}{uuid}", mac.to_string().replace(':', "-"), plain(arch))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
