use proptest::prelude::*;

use super::super::{FileName, KernelCmdline, MAX_SCREEN};
use super::*;

fn seed(port: u16) -> SeedUrl {
    SeedUrl(std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(10, 77, 0, 1), port))
}

const MAC: Mac = Mac([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]);

#[test]
fn golden_first_configuration() {
    let want = "if [ \"$grub_cpu\" = arm64 ]; then
  set arch=efi-arm64
else
  set arch=efi-x64
  serial --unit=0 --speed=115200 --word=8 --parity=no --stop=1
  terminal_input console serial
  terminal_output console serial
fi
set timeout=-1
set ask=yes
while [ \"$ask\" = yes ]; do
  echo \"Kubedos: this machine is $net_default_mac; asking the seed http://10.77.0.1\"
  configfile \"(http,10.77.0.1)/boot/ipxe?format=grub&arch=$arch&mac=$net_default_mac\"
  echo \"Kubedos: the seed http://10.77.0.1 did not answer. The next try is in 10 seconds.\"
  sleep 10
done
";
    assert_eq!(grub_first(seed(80), true), want);
    assert!(grub_first(seed(8000), true).contains("(http,10.77.0.1:8000)/boot/ipxe"));
}

#[test]
fn a_machine_without_a_name_is_told_why_and_asks_again() {
    let (what, advice) = (ScreenText::new("no hardware address $(reboot)"), ScreenText::new("let it get one"));
    let want = "echo \"Kubedos: no hardware address ?(reboot)\"
echo \"  let it get one\"
";
    let text = grub_nameless(seed(80), Arch::Amd64, [&what, &advice], 15);
    assert!(text.starts_with(want), "{text}");
    let end = "echo \"  seed http://10.77.0.1; the next try is in 15 seconds\"
sleep 15
configfile \"(http,10.77.0.1)/boot/ipxe?format=grub&arch=efi-x64&mac=$net_default_mac\"
";
    assert!(text.ends_with(end), "{text}");
    for (asked, got) in [(0, 1), (MAX_WAIT + 1, MAX_WAIT)] {
        assert!(grub_nameless(seed(80), Arch::Amd64, [&what, &advice], asked).contains(&format!("\nsleep {got}\n")));
    }
}

#[test]
fn the_menu_offers_agent_rescue_memory_test_and_disk() {
    let extra = KernelCmdline::new().param("quiet", None).unwrap();
    let (kernel, initrd) = (FileName::new("vmlinuz").unwrap(), FileName::new("initrd.img").unwrap());
    let boot = AgentBoot {
        seed: seed(80),
        mac: MAC,
        arch: Arch::Amd64,
        kernel: &kernel,
        initrd: &initrd,
        consoles: &[],
        extra: &extra,
        rescue: true,
    };
    let text = grub_agent(&boot).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| l.starts_with("if linux")).collect();
    let base = "if linux (http,10.77.0.1)/boot/vmlinuz kubedos.seed=http://10.77.0.1 BOOTIF=01-52-54-00-aa-bb-cc \
        console=tty0 console=ttyS0,115200n8 initrd=initrd.img";
    let want =
        [format!("{base} quiet; then"), format!("{base} kubedos.rescue quiet; then"), format!("{base} memtest=4 quiet; then")];
    assert_eq!(lines, want);
    assert!(
        text.starts_with("set timeout=3\nset default=agent\n")
            && text.ends_with(&format!("--id local {{\n{}}}\n", grub_local_boot(Arch::Amd64)))
    );
    let local = grub_local_boot(Arch::Amd64);
    let node = local.find(
        "--label --set=root kubedos-root; then\n  set prefix=($root)/boot/grub\n  configfile ($root)/boot/grub/grub.cfg\nfi",
    );
    assert!(node.unwrap() < local.find("/EFI/debian").unwrap(), "a node before whatever else has GRUB, such as a seed's medium");
    assert!(local.contains("/EFI/debian/grub.cfg; then\n  configfile ($root)/EFI/debian/grub.cfg\nfi\n"));
    assert_eq!(text.matches('{').count(), text.matches('}').count());
}

#[test]
fn an_arm64_machine_gets_its_kernel_its_serial_port_and_its_loader() {
    let extra = KernelCmdline::new();
    let (kernel, initrd) = (FileName::new("vmlinuz-arm64").unwrap(), FileName::new("initrd-arm64.img").unwrap());
    let (seed, arch) = (seed(80), Arch::Arm64);
    let boot = AgentBoot { seed, mac: MAC, arch, kernel: &kernel, initrd: &initrd, consoles: &[], extra: &extra, rescue: false };
    let text = grub_agent(&boot).unwrap();
    assert!(text.contains("/boot/vmlinuz-arm64 ") && text.contains("/boot/initrd-arm64.img;"), "{text}");
    assert!(text.contains("console=tty0 console=ttyS0,115200n8 console=ttyAMA0,115200n8 initrd=initrd-arm64.img"), "{text}");
    assert!(text.contains("($root)/EFI/BOOT/BOOTAA64.EFI") && !text.contains("BOOTX64"), "{text}");
    for text in [grub_wait(seed, MAC, arch, &ScreenText::new("x"), 5), grub_nameless(seed, arch, [&ScreenText::new("x"); 2], 5)] {
        assert!(text.contains("&arch=efi-arm64&"), "{text}");
    }
}

#[test]
fn a_site_without_rescue_shell_offers_none_and_locks_the_menu() {
    let extra = KernelCmdline::new();
    let (kernel, initrd) = (FileName::new("vmlinuz").unwrap(), FileName::new("initrd.img").unwrap());
    let text = |rescue| {
        let boot = AgentBoot {
            seed: seed(80),
            mac: MAC,
            arch: Arch::Amd64,
            kernel: &kernel,
            initrd: &initrd,
            consoles: &[],
            extra: &extra,
            rescue,
        };
        (grub_agent(&boot).unwrap(), grub_first(seed(80), rescue))
    };
    let lock = "set superusers=\"\"\nexport superusers\n";
    let (menu, first) = text(false);
    assert!(!menu.contains("rescue") && menu.starts_with(lock) && first.starts_with(lock), "{menu}{first}");
    // A locked menu still starts what it offers.
    assert_eq!(menu.matches("menuentry ").count(), 3);
    assert_eq!(menu.matches(" --unrestricted ").count(), 3);
    let (menu, first) = text(true);
    assert!(menu.contains("kubedos.rescue") && !menu.contains("superusers") && !first.contains("superusers"));
}

proptest! {
    #[test]
    fn no_text_adds_a_line_or_an_expansion(text in any::<String>()) {
        let clean = grub_wait(seed(80), MAC, Arch::Amd64, &ScreenText::new("x"), 5);
        let script = grub_wait(seed(80), MAC, Arch::Amd64, &ScreenText::new(&text), 5);
        prop_assert_eq!(script.lines().count(), clean.lines().count());
        for special in ['$', '"', ';', '{', '}', '|', '&', '\\', '\''] {
            prop_assert_eq!(script.matches(special).count(), clean.matches(special).count());
        }
        prop_assert!(script.lines().all(|l| l.len() <= MAX_SCREEN + 100));
    }
}
