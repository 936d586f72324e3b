use cluster_seed::arch::Arch;
use cluster_seed::ids::Mac;
use proptest::prelude::*;

use super::*;

fn seed(port: u16) -> SeedUrl {
    SeedUrl(std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(10, 77, 0, 1), port))
}

const MAC: Mac = Mac([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]);

fn agent(extra: KernelCmdline) -> Result<String, CmdlineError> {
    agent_with(extra, true)
}

fn agent_with(extra: KernelCmdline, rescue: bool) -> Result<String, CmdlineError> {
    let (kernel, initrd) = (FileName::new("vmlinuz").unwrap(), FileName::new("initrd.img").unwrap());
    agent_script(&AgentBoot {
        seed: seed(80),
        mac: MAC,
        arch: Arch::Amd64,
        kernel: &kernel,
        initrd: &initrd,
        consoles: &[],
        extra: &extra,
        rescue,
    })
}

#[test]
fn golden_agent_script() {
    let want = "#!ipxe
imgfree
set try:int32 0
set way agent
echo
prompt --key 0x6d --timeout 3000 Kubedos: press m for rescue shell, memory test or local disk || goto try
menu Kubedos: 52:54:00:aa:bb:cc, seed http://10.77.0.1 ||
item --key a agent Start the agent (a) ||
item --key r rescue Rescue shell (r) ||
item --key t memtest Memory test, then the agent (t) ||
item --key l local Start from the local disk (l) ||
choose --default agent --timeout 60000 way || set way agent
iseq ${way} local && goto local ||
:try
inc try
echo
echo Kubedos: starting the agent on 52:54:00:aa:bb:cc from http://10.77.0.1 (try ${try})
imgfree
goto ${way} || goto agent
:agent
kernel --name vmlinuz http://10.77.0.1/boot/vmlinuz kubedos.seed=http://10.77.0.1 BOOTIF=01-52-54-00-aa-bb-cc console=tty0 console=ttyS0,115200n8 initrd=initrd.img quiet loglevel=4 || goto failed
goto initrd
:rescue
kernel --name vmlinuz http://10.77.0.1/boot/vmlinuz kubedos.seed=http://10.77.0.1 BOOTIF=01-52-54-00-aa-bb-cc console=tty0 console=ttyS0,115200n8 initrd=initrd.img kubedos.rescue quiet loglevel=4 || goto failed
goto initrd
:memtest
kernel --name vmlinuz http://10.77.0.1/boot/vmlinuz kubedos.seed=http://10.77.0.1 BOOTIF=01-52-54-00-aa-bb-cc console=tty0 console=ttyS0,115200n8 initrd=initrd.img memtest=4 quiet loglevel=4 || goto failed
:initrd
initrd --name initrd.img http://10.77.0.1/boot/initrd.img || goto failed
boot || goto failed
:failed
echo
echo Kubedos: this machine could not load the agent. iPXE error: ${errno}
echo   seed http://10.77.0.1, this machine 52:54:00:aa:bb:cc, address ${ip}
echo   Is the seed running, and does a firewall let its HTTP port through?
echo   The next try is in 10 seconds.
sleep 10 ||
goto try
:local
echo Kubedos: starting from the local disk
iseq ${platform} efi && goto efi ||
sanboot --no-describe --drive 0x80 || exit 1
:efi
exit 1
";
    let extra = KernelCmdline::new().param("quiet", None).unwrap().param("loglevel", Some("4")).unwrap();
    assert_eq!(agent(extra).unwrap(), want);
}

#[test]
fn a_site_without_rescue_shell_has_no_way_to_it() {
    let with = agent(KernelCmdline::new()).unwrap();
    let without = agent_with(KernelCmdline::new(), false).unwrap();
    assert!(with.contains("kubedos.rescue") && !without.contains("rescue"), "{without}");
    // Nothing else is missing, and every label that is jumped to exists.
    assert_eq!(with.lines().count(), without.lines().count() + 4);
    let labels: Vec<&str> = without.lines().filter_map(|l| l.strip_prefix(':')).collect();
    for target in without.split("goto ").skip(1).filter_map(|t| t.split_whitespace().next()).filter(|t| !t.starts_with('$')) {
        assert!(labels.contains(&target), "{target}");
    }
}

#[test]
fn golden_local_boot_script() {
    let want = "#!ipxe
imgfree
echo Kubedos: starting from the local disk
iseq ${platform} efi && goto efi ||
sanboot --no-describe --drive 0x80 || exit 1
:efi
exit 1
";
    assert_eq!(local_boot_script(), want);
}

#[test]
fn golden_wait_script() {
    let want = "#!ipxe
imgfree
echo
echo Kubedos: waiting for approval
echo   seed http://10.77.0.1:8000, this machine 52:54:00:aa:bb:cc, address ${ip}
:wait
sleep 15 ||
chain --replace --autofree http://10.77.0.1:8000/boot/ipxe?mac=52-54-00-aa-bb-cc&arch=efi-x64 || goto wait
goto wait
";
    assert_eq!(wait_script(seed(8000), MAC, "efi-x64", &ScreenText::new("waiting for approval"), 15), want);
}

#[test]
fn wait_limits() {
    for (asked, want) in [(0, 1), (1, 1), (MAX_WAIT - 1, MAX_WAIT - 1), (MAX_WAIT, MAX_WAIT), (MAX_WAIT + 1, MAX_WAIT)] {
        let script = wait_script(seed(80), MAC, "bios", &ScreenText::new("x"), asked);
        assert!(script.contains(&format!("\nsleep {want} ||\n")), "{asked}");
    }
}

#[test]
fn a_command_line_that_does_not_fit_is_an_error() {
    let base = agent(KernelCmdline::new()).unwrap();
    // The rescue entry's is the longest.
    let line = base.lines().filter(|l| l.starts_with("kernel ")).max_by_key(|l| l.len()).unwrap();
    let used = line.split_once("/boot/vmlinuz ").unwrap().1.strip_suffix(" || goto failed").unwrap().len();
    // Filled up with parameters of 100 characters and one more of the length in question.
    let room = MAX_CMDLINE - 1 - used;
    let fill = |total: usize| {
        let mut extra = KernelCmdline::new();
        let mut left = total;
        while left > 202 {
            extra = extra.param("k", Some(&"v".repeat(98))).unwrap();
            left -= 101;
        }
        extra.param("k", Some(&"v".repeat(left - 3))).unwrap()
    };
    assert!(agent(fill(room - 1)).is_ok());
    assert!(agent(fill(room)).is_ok());
    assert_eq!(agent(fill(room + 1)).unwrap_err(), CmdlineError::TooLong);
}

#[test]
fn boot_url_carries_only_plain_text() {
    assert_eq!(boot_url(seed(80), MAC, "efi-x64", None), "http://10.77.0.1/boot/ipxe?mac=52-54-00-aa-bb-cc&arch=efi-x64");
    let hostile = boot_url(seed(80), MAC, "a&b=c\n", Some("12 34\n${x}-56"));
    assert_eq!(hostile, "http://10.77.0.1/boot/ipxe?mac=52-54-00-aa-bb-cc&arch=abc&uuid=1234x-56");
}

proptest! {
    #[test]
    fn no_text_adds_a_line_or_an_expansion(text in any::<String>()) {
        let clean = wait_script(seed(80), MAC, "bios", &ScreenText::new("x"), 5);
        let script = wait_script(seed(80), MAC, "bios", &ScreenText::new(&text), 5);
        prop_assert_eq!(script.lines().count(), clean.lines().count());
        prop_assert_eq!(script.matches('$').count(), clean.matches('$').count());
        prop_assert_eq!(script.matches("||").count(), clean.matches("||").count());
        prop_assert!(script.lines().all(|l| l.len() <= MAX_SCREEN + 100));
    }
}
