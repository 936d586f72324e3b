//! Scripts for iPXE (<https://ipxe.org/scripting>).

use cluster_seed::ids::Mac;

use super::agent::{AgentBoot, MAX_WAIT, MENU_SECONDS, Way};
use super::cmdline::{CmdlineError, SeedUrl};
use super::screen::ScreenText;

/// Starts the agent: kernel and initramfs by HTTP from `/boot/`. A key opens a menu with a rescue shell, a memory
/// test and the local disk; a failure is shown, and the script retries without end.
pub fn agent_script(boot: &AgentBoot<'_>) -> Result<String, CmdlineError> {
    let AgentBoot { seed, mac, kernel, initrd, .. } = boot;
    let (agent, memtest) = (boot.cmdline(Way::Agent)?, boot.cmdline(Way::MemoryTest)?);
    let rescue = boot.cmdline(Way::Rescue)?;
    let (offer, item, entry) = if boot.rescue {
        let entry = format!(":rescue\nkernel --name {kernel} {seed}/boot/{kernel} {rescue} || goto failed\ngoto initrd\n");
        ("rescue shell, memory test", "item --key r rescue Rescue shell (r) ||\n", entry)
    } else {
        ("memory test", "", String::new())
    };
    let wait = MENU_SECONDS * 1_000;
    Ok(format!(
        "#!ipxe
imgfree
set try:int32 0
set way agent
echo
prompt --key 0x6d --timeout {wait} Kubedos: press m for {offer} or local disk || goto try
menu Kubedos: {mac}, seed {seed} ||
item --key a agent Start the agent (a) ||
{item}item --key t memtest Memory test, then the agent (t) ||
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
{entry}:memtest
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

/// The end of a script that starts the machine's own disk.
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

/// Shows a text, waits (1 to [`MAX_WAIT`] seconds) and asks the seed again, without end.
/// `arch` is the architecture's name in the machine's first request ([`crate::ClientArch::name`]).
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
