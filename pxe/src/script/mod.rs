//! iPXE scripts as text from typed values (<https://ipxe.org/scripting>).
//!
//! Every script ends in something a person can read or in the next boot device, never in iPXE's own prompt
//! or a silent stop. Texts of machines and operators reach a script only through [`ScreenText`].

mod cmdline;

use std::fmt;

use cluster_seed::ids::Mac;

pub use cmdline::{CmdlineError, Console, FileName, KernelCmdline, MAX_CMDLINE, SeedUrl};

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

/// Starts the agent: kernel and initramfs by HTTP from `/boot/`, with the screen first and the serial port
/// last, so that /dev/console is the serial port a program can read.
pub fn agent_script(
    seed: SeedUrl,
    mac: Mac,
    kernel: &FileName,
    initrd: &FileName,
    extra: KernelCmdline,
) -> Result<String, CmdlineError> {
    let base =
        KernelCmdline::new().seed(seed).bootif(mac).console(Console::Vga).console(Console::Serial(0)).initrd(initrd).to_string();
    let extra = extra.to_string();
    let cmdline = if extra.is_empty() { base } else { format!("{base} {extra}") };
    if cmdline.len() >= MAX_CMDLINE {
        return Err(CmdlineError::TooLong);
    }
    Ok(format!(
        "#!ipxe
imgfree
set try:int32 0
:try
inc try
echo
echo Kubedos: starting the agent on {mac} from {seed} (try ${{try}})
imgfree
kernel --name {kernel} {seed}/boot/{kernel} {cmdline} || goto failed
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
"
    ))
}

/// Starts the operating system on the machine's own disk. Under UEFI only the firmware knows how: the
/// script fails on purpose, and the firmware goes to its next boot option (success would open its menu).
pub fn local_boot_script() -> String {
    "#!ipxe
imgfree
echo Kubedos: starting from the local disk
iseq ${platform} efi && goto efi ||
sanboot --no-describe --drive 0x80 || exit 1
:efi
exit 1
"
    .to_owned()
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
