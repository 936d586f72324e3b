//! The running site as the control socket sees it.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use appliance::console::host::{Host, page_urls};
use appliance::console::view::{ConsoleView, Phase};
use appliance::control::answer::{Answer, Clock, Status};
use appliance::control::{Controlled, SiteRequest};
use appliance::settings::Settings;
use site::store::StoreError;
use site::store::admission::Whose;
use web::api::SeedMode;

use super::remote::hinted;
use super::{App, socket};

/// A running site and the host it runs on.
pub struct AtConsole {
    pub app: Arc<App>,
    pub host: Host,
}

impl Controlled for AtConsole {
    fn status(&self) -> Result<Status> {
        Ok(Status::Site(Box::new(socket::status(self.app.view_overview()?, self.app.tls.sealed_fingerprint()))))
    }

    fn unseal(&self, passphrase: &str) -> Result<()> {
        self.app.unseal_with(passphrase, "control socket")
    }

    fn seal(&self) -> Result<()> {
        self.app.seal("control socket");
        Ok(())
    }

    fn view(&self) -> Result<ConsoleView> {
        let overview = self.app.view_overview()?;
        let counts = self.app.store.read(|tx| Ok::<_, StoreError>((tx.count_live_nodes()?, tx.count_open(Whose::Anybody)?)));
        let (nodes, pending) = counts.context("counting nodes")?;
        let interfaces = self.host.interfaces()?;
        Ok(ConsoleView {
            phase: match (overview.mode, overview.sealed) {
                (SeedMode::Standby | SeedMode::Fenced, _) => Phase::Standby,
                (SeedMode::Active, true) => Phase::Sealed,
                (SeedMode::Active, false) => Phase::Serving,
            },
            sealed: overview.sealed,
            site: Some(overview.site),
            pages: self.app.pages.get().map_or_else(Vec::new, |(scheme, at)| page_urls(scheme, *at, &interfaces)),
            fingerprint: overview.fingerprint,
            setup_code: self.app.setup_code(),
            nodes,
            pending,
            warnings: overview.warnings,
            ..ConsoleView::default()
        })
    }

    fn clock(&self) -> Result<Clock> {
        Ok(socket::clock(self.app.view_clock()))
    }

    fn set_clock(&self, to_ms: u64) -> Result<Clock> {
        self.app.set_clock("control socket", to_ms).map(socket::clock).map_err(hinted)
    }

    fn host(&self) -> &Host {
        &self.host
    }

    fn site(&self, ask: SiteRequest) -> Result<Answer> {
        self.app.answer(ask)
    }

    fn reload(&self) -> Result<()> {
        // With a file that cannot be read the reload would end the daemon.
        self.app.site.spec()?;
        self.app.reload();
        Ok(())
    }

    fn promote(&self, drill: bool) -> Result<u64> {
        self.app.promote_as("control socket", drill).map_err(hinted)
    }

    fn settings_changed(&self, _settings: &Settings) -> Result<()> {
        // A running site keeps its interface and name: leases and certificates depend on them.
        Ok(())
    }
}
