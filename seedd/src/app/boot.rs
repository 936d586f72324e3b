//! What a machine boots: the agent, or its local disk once that contains a verified artifact.

use cluster_seed::events::{Cause, EventKind};
use cluster_seed::ids::Mac;
use flight::recorder::WireEvent;
use host::clock::now_ms;
use pxe::script::{
    AgentBoot, FileName, KernelCmdline, ScreenText, SeedUrl, agent_script, grub_agent, grub_first, grub_local_boot, grub_wait,
    local_boot_script, wait_script,
};
use site::store::StoreError;
use site::store::events::PacketFacts;
use web::api::{ApiError, BootQuery};

use super::{App, unexpected};
use crate::netboot::consoles;

/// Seconds a machine waits before it retries while there is no netboot image.
const ASK_AGAIN: u32 = 15;

impl App {
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
                Some(m) => tx.holds_an_installed_node(m.id)?,
                None => false,
            };
            Ok::<_, StoreError>((installed, tx.netboot()?))
        })?;
        let grub = query.format.as_deref() == Some("grub");
        let (cause, text, script) = if installed {
            (Cause::BootsLocalDisk, "booting from its local disk", if grub { grub_local_boot() } else { local_boot_script() })
        } else if netboot.is_none() {
            let say = ScreenText::new("this seed has no netboot image yet; run seedd image build on the seed");
            let arch = query.arch.as_deref().unwrap_or("unknown");
            let wait = if grub { grub_wait(seed, mac, &say, ASK_AGAIN) } else { wait_script(seed, mac, arch, &say, ASK_AGAIN) };
            (Cause::NoNetbootImage, "waiting: there is no netboot image yet", wait)
        } else {
            (Cause::BootsAgent, "booting the agent", self.agent_script(mac, grub)?)
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

    fn agent_script(&self, mac: Mac, grub: bool) -> Result<String, ApiError> {
        let netboot = &self.spec.spec.netboot;
        let extra = KernelCmdline::new().params(netboot.kernel_parameters.iter().map(String::as_str)).map_err(unexpected)?;
        let file = |name| FileName::new(name).map_err(unexpected);
        let (kernel, initrd) = (file("vmlinuz")?, file("initrd.img")?);
        let consoles = consoles(&netboot.consoles);
        let (seed, consoles, extra) = (SeedUrl(self.http), &consoles[..], &extra);
        let boot = AgentBoot { seed, mac, kernel: &kernel, initrd: &initrd, consoles, extra, rescue: !netboot.rescue.is_off() };
        if grub { grub_agent(&boot) } else { agent_script(&boot) }.map_err(unexpected)
    }

    /// Directory of the netboot set in use.
    pub fn netboot_dir(&self) -> Option<camino::Utf8PathBuf> {
        let id = self.store.netboot().ok().flatten()?;
        Some(self.site.join("netboot").join(id.to_string()))
    }
}
