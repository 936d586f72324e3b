//! Boot scripts as text from typed values.
//!
//! Every script ends with a readable message or with the next boot device, never at iPXE's prompt or without a
//! message. Text from machines and operators reaches a script only through `ScreenText`.

mod screen;

mod cmdline;

mod agent;

mod ipxe;

mod grub;

pub use agent::{AgentBoot, MAX_WAIT};
pub use cmdline::{CmdlineError, Console, FileName, KernelCmdline, MAX_CMDLINE, SeedUrl};
pub use grub::{grub_agent, grub_first, grub_local_boot, grub_nameless, grub_wait};
pub use ipxe::{agent_script, boot_url, local_boot_script, wait_script};
pub use screen::{MAX_SCREEN, ScreenText};

#[cfg(test)]
mod tests;
