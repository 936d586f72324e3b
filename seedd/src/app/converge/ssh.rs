//! Certificates of the nodes' SSH host keys.

use anyhow::Result;
use cluster_seed::converge::orders::{Ask, SshCertificate};
use converge::pki::Names;
use host::clock::now;
use site::keys::Unsealed;
use site::mode::Mode;
use site::store::Tx;
use web::api::ApiError;

use super::super::App;

impl App {
    /// The site gets its SSH host authority at the first unseal. A standby takes over the one of the site that it copies.
    pub(in crate::app) fn ensure_ssh_authority(&self) -> Result<()> {
        let site = self.spec.metadata.name.as_str();
        self.store.write(|tx| match Mode::of(tx)? {
            Mode::Active => converge::ssh::ensure(tx, site, &self.public.vault),
            Mode::Standby | Mode::Fenced { .. } => Ok(()),
        })
    }

    pub(super) fn ssh_certificate(
        &self,
        tx: &Tx<'_>,
        keys: &Unsealed,
        names: &Names,
        ask: &Ask,
    ) -> Result<Option<SshCertificate>, ApiError> {
        let Some(told) = &ask.ssh else { return Ok(None) };
        // Without it, the node still gets its orders.
        let made = converge::ssh::renew(tx, &keys.vault, names, told, now());
        Ok(made.unwrap_or_else(|error| {
            tracing::error!(error = format!("{error:#}"), node = names.name, "no certificate of the SSH host key");
            None
        }))
    }
}
