//! What a machine boots: the agent, or its own disk once that holds a verified artifact.

use cluster_seed::ids::Mac;
use pxe::script::{FileName, KernelCmdline, ScreenText, SeedUrl, agent_script, local_boot_script, wait_script};
use web::api::{ApiError, BootQuery};

use super::{App, internal, now_ms, unexpected};
use crate::site::setting;
use crate::store::StoreError;
use crate::store::events::NewEvent;

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
        let (machine, installed, netboot) = self
            .store
            .read(|tx| {
                let machine = tx.machine_by_mac(mac)?;
                // Any of them, not the latest: whoever says hello under another machine's MAC address opens an enrollment
                // too, and must not keep that machine from its disk.
                let installed = match &machine {
                    Some(m) => tx.holds_an_installed_node(m.id)?,
                    None => false,
                };
                Ok::<_, StoreError>((machine.map(|m| m.id), installed, tx.setting(setting::NETBOOT)?))
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
        self.say(&NewEvent { kind: "boot.script", text, machine, ..Default::default() });
        Ok(script)
    }

    /// Directory of the netboot set in use.
    pub fn netboot_dir(&self) -> Option<camino::Utf8PathBuf> {
        let id = self.store.setting(setting::NETBOOT).ok().flatten()?;
        let id: cluster_seed::ids::Digest = id.parse().ok()?;
        Some(self.site.join("netboot").join(id.to_string()))
    }

    /// Events of the wire, in one transaction.
    pub fn record(&self, events: &[crate::recorder::WireEvent]) {
        let done = self.write(|tx| {
            for e in events {
                let machine = match (e.mac, e.ip) {
                    (Some(mac), ip) => tx.see_machine(mac, ip.map(Into::into), e.at / 1000).map_err(internal)?,
                    // TFTP knows an address only.
                    (None, Some(ip)) => tx.machine_at(ip.into()).map_err(internal)?.map(|m| m.id),
                    (None, None) => None,
                };
                tx.event(e.at, &NewEvent { kind: e.kind, text: &e.text, machine, ..Default::default() }).map_err(internal)?;
            }
            Ok(())
        });
        if let Err(error) = done {
            tracing::error!(%error, events = events.len(), at = now_ms(), "writing the boot flight recorder");
        }
    }
}
