//! What a machine boots: the agent, or its own disk once that holds a verified artifact.

use cluster_seed::ids::Mac;
use pxe::script::{FileName, KernelCmdline, ScreenText, SeedUrl, agent_script, local_boot_script, wait_script};
use web::api::{ApiError, BootQuery, PacketFacts};

use super::{App, internal, now_ms, unexpected};
use crate::recorder::WireEvent;
use crate::site::setting;
use crate::store::StoreError;

/// Seconds a machine waits before it asks again, while the seed has nothing for it.
const ASK_AGAIN: u32 = 15;

impl App {
    pub fn script_for(&self, query: &BootQuery) -> Result<String, ApiError> {
        let mac: Mac = query
            .mac
            .as_deref()
            .unwrap_or_default()
            .parse()
            .map_err(|e: cluster_seed::ids::IdError| ApiError::BadRequest { why: e.to_string(), hint: None })?;
        let seed = SeedUrl(self.http);
        let (installed, netboot) = self
            .store
            .read(|tx| {
                let machine = tx.machine_by_mac(mac)?;
                // Any of them, not the latest: whoever says hello under another machine's MAC address opens an enrollment
                // too, and must not keep that machine from its disk.
                let installed = match &machine {
                    Some(m) => tx.holds_an_installed_node(m.id)?,
                    None => false,
                };
                Ok::<_, StoreError>((installed, tx.setting(setting::NETBOOT)?))
            })
            .map_err(internal)?;
        let (text, script) = if installed {
            ("told to start from its own disk", local_boot_script())
        } else if netboot.is_none() {
            let say = ScreenText::new("this seed has no netboot image yet; its operator runs seedd image build");
            let arch = query.arch.as_deref().unwrap_or("unknown");
            ("told to wait: there is no netboot image", wait_script(seed, mac, arch, &say, ASK_AGAIN))
        } else {
            let file = |name| FileName::new(name).map_err(unexpected);
            let script = agent_script(seed, mac, &file("vmlinuz")?, &file("initrd.img")?, KernelCmdline::new());
            ("given the boot script of the agent", script.map_err(unexpected)?)
        };
        // By the recorder's gate: anybody can ask under any MAC address, as often as they like.
        let arch = query.arch.as_deref().map(|a| a.chars().filter(|c| c.is_ascii_graphic()).take(16).collect());
        let facts = PacketFacts { arch, ipxe: true, ..PacketFacts::default() };
        self.record(WireEvent { text: text.to_owned(), mac: Some(mac), facts, ..WireEvent::new(now_ms(), "boot.script") });
        Ok(script)
    }

    /// Directory of the netboot set in use.
    pub fn netboot_dir(&self) -> Option<camino::Utf8PathBuf> {
        let id = self.store.setting(setting::NETBOOT).ok().flatten()?;
        let id: cluster_seed::ids::Digest = id.parse().ok()?;
        Some(self.site.join("netboot").join(id.to_string()))
    }
}
