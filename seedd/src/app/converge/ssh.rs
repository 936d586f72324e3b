//! Certificates of the nodes' SSH host keys.

use std::net::Ipv6Addr;

use anyhow::Result;
use cluster_seed::converge::orders::{Ask, SshCertificate};
use converge::fleet::Scene;
use host::clock::now;
use site::keys::Unsealed;
use site::mode::Mode;
use site::store::Tx;
use site::store::converge::Converging;
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
        scene: &Scene,
        node: &Converging,
        ask: &Ask,
    ) -> Result<Option<SshCertificate>, ApiError> {
        let Some(told) = &ask.ssh else { return Ok(None) };
        let names = scene.own_names(node);
        // Without it, the node still gets its orders.
        let made = converge::ssh::renew(tx, &keys.vault, &names, &self.addresses6(node), told, now());
        Ok(made.unwrap_or_else(|error| {
            tracing::error!(error = format!("{error:#}"), node = names.name, "no certificate of the SSH host key");
            None
        }))
    }

    /// The node's addresses on the planes that have IPv6.
    fn addresses6(&self, node: &Converging) -> Vec<Ipv6Addr> {
        let planes = &self.spec.spec.networking.planes;
        let own = node.node.planes.iter();
        own.filter_map(|(plane, (address, _))| planes.get(plane)?.value.address6(*address)).collect()
    }
}
