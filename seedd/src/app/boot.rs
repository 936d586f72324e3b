//! What a machine boots: the agent, or its local disk once that contains a verified artifact.

use std::net::IpAddr;

use cluster_seed::arch::Arch;
use cluster_seed::events::{Cause, EventKind};
use cluster_seed::ids::{Digest, Mac};
use cluster_seed::manifest::boot_files;
use flight::recorder::WireEvent;
use host::clock::{now, now_ms};
use pxe::ClientArch;
use pxe::script::{
    AgentBoot, FileName, KernelCmdline, ScreenText, SeedUrl, agent_script, grub_agent, grub_first, grub_local_boot,
    grub_nameless, grub_wait, local_boot_script, wait_script,
};
use site::store::StoreError;
use site::store::events::PacketFacts;
use web::api::{ApiError, BootQuery};

use super::{App, replace, unexpected};
use crate::kernel_line::consoles;

/// Seconds a machine waits before it retries while there is no netboot image.
const ASK_AGAIN: u32 = 15;

/// The kernel's ARP table: a line with IP address, hardware type, flags, and hardware address of each neighbour (proc(5)).
const ARP_TABLE: &str = "/proc/net/arp";
/// The flag of an entry that is complete (ATF_COM, linux/if_arp.h).
const COMPLETE: u32 = 2;

/// The hardware address of a neighbour on Ethernet.
fn neighbour(table: &str, ip: IpAddr) -> Option<Mac> {
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, kind, flags, mac, ..] = words[..] else { return None };
        let number = |hex: &str| u32::from_str_radix(hex.trim_start_matches("0x"), 16).ok();
        let fits = address.parse() == Ok(ip) && number(kind)? == 1 && number(flags)? & COMPLETE != 0;
        if fits { mac.parse().ok() } else { None }
    })
}

/// The processor of a machine that asks for its script.
fn processor(query: &BootQuery) -> Arch {
    ClientArch::processor(query.arch.as_deref().unwrap_or_default())
}

/// The files of a netboot set that are served.
pub(super) const BOOT_FILES: &[&str] = &[
    "vmlinuz",
    "initrd.img",
    "vmlinuz-arm64",
    "initrd-arm64.img",
    "undionly.kpxe",
    "snponly.efi",
    "ipxe.efi",
    "ipxe-arm64.efi",
    "shimx64.efi",
    "grubx64.efi",
    "shimaa64.efi",
    "grubaa64.efi",
];

impl App {
    /// The script for a request from this address. With some firmware GRUB has no name for the network card's hardware address
    /// and sends an empty one, or its variable's name: then the machine is found by its address.
    pub fn script_to(&self, from: IpAddr, query: &BootQuery) -> Result<String, ApiError> {
        let is_named = query.mac.as_deref().is_some_and(|m| m.parse::<Mac>().is_ok());
        if is_named || query.format.as_deref() == Some("grub-first") {
            return self.script_for(query);
        }
        let is_grub = query.format.as_deref() == Some("grub");
        let arch = processor(query);
        let ip = if let IpAddr::V4(ip) = from { Some(ip) } else { None };
        let mac = self.mac_at(from)?;
        let text = match mac {
            Some(mac) => format!("{from} asks for its script without its hardware address, which is {mac}"),
            None => format!("{from} asks for its script without its hardware address, and is unknown by its other one"),
        };
        let facts = PacketFacts { ip, ..PacketFacts::default() };
        self.record(WireEvent { text, mac, ip, facts, ..WireEvent::new(now_ms(), EventKind::BootScript) });
        match mac {
            Some(mac) => self.script_for(&BootQuery { mac: Some(mac.to_string()), ..query.clone() }),
            None if is_grub => {
                let what = ScreenText::new("the firmware gives GRUB no hardware address of this machine");
                let advice = ScreenText::new("and the seed does not know its IP address. Let it get one from the seed.");
                Ok(grub_nameless(SeedUrl(self.http), arch, [&what, &advice], ASK_AGAIN))
            }
            None => self.script_for(query),
        }
    }

    /// The machine with this address: of the link's neighbours, else the one that was last seen with it.
    fn mac_at(&self, ip: IpAddr) -> Result<Option<Mac>, ApiError> {
        let table = std::fs::read_to_string(ARP_TABLE).unwrap_or_default();
        if let Some(mac) = neighbour(&table, ip) {
            return Ok(Some(mac));
        }
        Ok(self.store.read(|tx| tx.machine_at(ip))?.map(|m| m.mac))
    }

    pub fn script_for(&self, query: &BootQuery) -> Result<String, ApiError> {
        if query.format.as_deref() == Some("grub-first") {
            return Ok(grub_first(SeedUrl(self.http), !self.spec.spec.netboot.rescue.is_off()));
        }
        let mac: Mac = query
            .mac
            .as_deref()
            .unwrap_or_default()
            .parse()
            .map_err(|e: cluster_seed::ids::IdError| ApiError::BadRequest { why: e.to_string(), hint: None })?;
        let seed = SeedUrl(self.http);
        let (installed, netboot) = self.store.read(|tx| {
            let machine = tx.machine_by_mac(mac)?;
            // Any enrollment, not only the newest: a hello under another machine's MAC address opens an enrollment too, and
            // must not prevent that machine from booting its disk.
            let installed = match &machine {
                Some(m) => tx.holds_an_installed_node(m.id)? && !replace::boots_agent(tx, m.id, now())?,
                None => false,
            };
            Ok::<_, StoreError>((installed, tx.netboot()?))
        })?;
        let grub = query.format.as_deref() == Some("grub");
        if query.only.as_deref() == Some("installed") && !installed {
            // GRUB goes on after an empty text; iPXE, which has replaced its script by this one, only after an error.
            let none = Err(ApiError::NotFound { what: "installed machine with this MAC address" });
            return if grub { Ok(String::new()) } else { none };
        }
        let processor = processor(query);
        let (cause, text, script) = if installed {
            let script = if grub { grub_local_boot(processor) } else { local_boot_script() };
            (Cause::BootsLocalDisk, "booting from its local disk", script)
        } else if let Some(advice) = self.no_kernel(netboot, processor) {
            let say = ScreenText::new(advice);
            let arch = query.arch.as_deref().unwrap_or("unknown");
            let wait = if grub {
                grub_wait(seed, mac, processor, &say, ASK_AGAIN)
            } else {
                wait_script(seed, mac, arch, &say, ASK_AGAIN)
            };
            (Cause::NoNetbootImage, "waiting: there is no netboot image yet", wait)
        } else {
            (Cause::BootsAgent, "booting the agent", self.agent_script(mac, processor, grub)?)
        };
        // Rate-limited by the recorder's gate: any host can ask under any MAC address, as often as it likes.
        let arch = query.arch.as_deref().map(|a| a.chars().filter(|c| c.is_ascii_graphic()).take(16).collect());
        let facts = PacketFacts { arch, ipxe: true, cause: Some(cause), ..PacketFacts::default() };
        self.record(WireEvent {
            text: text.to_owned(),
            mac: Some(mac),
            facts,
            ..WireEvent::new(now_ms(), EventKind::BootScript)
        });
        Ok(script)
    }

    /// What to do if the seed has nothing to start such a machine with.
    fn no_kernel(&self, netboot: Option<Digest>, arch: Arch) -> Option<&'static str> {
        let Some(id) = netboot else { return Some("this seed has no netboot image yet; run seedd image build on the seed") };
        let kernel = self.site.join("netboot").join(id.to_string()).join(boot_files(arch).0);
        let missing = arch != Arch::Amd64 && !kernel.exists();
        missing.then_some("this seed has no netboot image for arm64; add arm64 to spec.architectures in cluster.yaml")
    }

    fn agent_script(&self, mac: Mac, arch: Arch, grub: bool) -> Result<String, ApiError> {
        let netboot = &self.spec.spec.netboot;
        let extra = KernelCmdline::new().params(netboot.kernel_parameters.iter().map(String::as_str)).map_err(unexpected)?;
        let extra = if self.may_ask_for_codes() { extra.tell_code() } else { extra };
        let file = |name| FileName::new(name).map_err(unexpected);
        let (kernel, initrd) = boot_files(arch);
        let (kernel, initrd) = (file(kernel)?, file(initrd)?);
        let consoles = consoles(&netboot.consoles);
        let (seed, consoles, extra) = (SeedUrl(self.http), &consoles[..], &extra);
        let rescue = !netboot.rescue.is_off();
        let boot = AgentBoot { seed, mac, arch, kernel: &kernel, initrd: &initrd, consoles, extra, rescue };
        if grub { grub_agent(&boot) } else { agent_script(&boot) }.map_err(unexpected)
    }

    /// Directory of the netboot set in use.
    pub fn netboot_dir(&self) -> Option<camino::Utf8PathBuf> {
        let id = self.store.netboot().ok().flatten()?;
        Some(self.site.join("netboot").join(id.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_found_if_its_entry_is_complete() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     10.44.0.100      0x1         0x2         52:54:00:ab:00:01     *        br0\n\
                     10.44.0.101      0x1         0x0         00:00:00:00:00:00     *        br0\n\
                     10.44.0.102      0x20        0x2         80:00:02:08:fe:80     *        ib0\n\
                     10.44.0.10       0x1         0x6         52:54:00:ab:00:02     *        br0\n";
        let at = |ip: &str| neighbour(table, ip.parse().unwrap()).map(|m| m.to_string());
        assert_eq!(at("10.44.0.100").as_deref(), Some("52:54:00:ab:00:01"));
        assert_eq!(at("10.44.0.10").as_deref(), Some("52:54:00:ab:00:02"));
        for nobody in ["10.44.0.101", "10.44.0.102", "10.44.0.1", "::1"] {
            assert_eq!(at(nobody), None, "{nobody}");
        }
        assert_eq!(neighbour("", "10.44.0.100".parse().unwrap()), None);
    }
}
