//! How boot loaders start the agent.

use cluster_seed::arch::Arch;
use cluster_seed::ids::Mac;

use super::cmdline::{CmdlineError, Console, FileName, KernelCmdline, SeedUrl};

/// The longest pause between two requests to the seed, in seconds.
pub const MAX_WAIT: u32 = 300;

/// Parameters for starting the agent on a machine.
#[derive(Debug, Clone)]
pub struct AgentBoot<'a> {
    pub seed: SeedUrl,
    pub mac: Mac,
    /// The machine's processor, of which kernel and initramfs are.
    pub arch: Arch,
    pub kernel: &'a FileName,
    pub initrd: &'a FileName,
    /// The last is /dev/console, which gets the agent's log. Empty: the screen and the first serial port.
    pub consoles: &'a [Console],
    /// Parameters set by the operator.
    pub extra: &'a KernelCmdline,
    /// Offer a rescue shell. Without it GRUB's menu and command line are locked too: both could ask for one.
    pub rescue: bool,
}

/// Entries of a machine's boot menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Agent,
    Rescue,
    MemoryTest,
}

/// Patterns of the memory test: each reads and writes all memory once.
const MEMTEST_PATTERNS: u8 = 4;
/// Seconds during which a key opens the menu before the agent starts.
pub(super) const MENU_SECONDS: u32 = 3;

impl AgentBoot<'_> {
    pub(super) fn cmdline(&self, way: Way) -> Result<String, CmdlineError> {
        let default = [Console::Vga, Console::Serial(0)];
        let consoles = if self.consoles.is_empty() { &default[..] } else { self.consoles };
        let line = KernelCmdline::new().seed(self.seed).bootif(self.mac);
        let line = consoles.iter().fold(line, |line, console| line.console(*console, self.arch)).initrd(self.initrd);
        let line = match way {
            Way::Agent => line,
            Way::Rescue => line.rescue(),
            Way::MemoryTest => line.memory_test(MEMTEST_PATTERNS),
        };
        Ok(line.and(self.extra)?.to_string())
    }
}
