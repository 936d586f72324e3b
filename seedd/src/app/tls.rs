//! Keeps the TLS certificate of the web interface up to date.

use std::sync::PoisonError;

use anyhow::Result;
use cluster_seed::events::EventKind;
use site::keys::Unsealed;
use site::store::events::NewEvent;
use site::tls::ca::Permitted;
use site::tls::{host_names, hostname};
use web::api::ApiError;

use super::{App, unexpected};

impl App {
    /// A site created by an older version gets its CA at the first unseal.
    pub(super) fn ensure_ca(&self, keys: &mut Unsealed) -> Result<()> {
        if keys.ca.is_none() {
            let permitted = Permitted::of(&self.spec, hostname().as_deref());
            keys.ca = Some(self.site.keys().make_ca(self.spec.metadata.name.as_str(), permitted)?);
        }
        Ok(())
    }

    /// Creates the certificate that is used while sealed, at the first unseal and after the CA changed.
    pub(super) fn ensure_sealed_identity(&self, keys: &Unsealed) -> Result<()> {
        let Some(ca) = &keys.ca else { return Ok(()) };
        let domain = &self.spec.spec.networking.domain;
        self.tls.keep_sealed(&self.site.keys().ensure_sealed_identity(ca, domain.as_str())?)
    }

    /// Removes the private keys from memory until the next unseal. False if the seed was sealed already. The planes stay up:
    /// WireGuard holds their keys in the kernel.
    pub fn seal(&self, who: &str) -> bool {
        let held = self.unsealed.write().unwrap_or_else(PoisonError::into_inner).take();
        let operator = self.operator.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.tls.seal();
        let was_open = held.is_some();
        drop((held, operator));
        if was_open {
            self.say(&NewEvent { actor: Some(who), ..NewEvent::new(EventKind::SeedSealed, "the seed was sealed") });
        }
        was_open
    }

    /// Uses a certificate of the site's CA for the current names of this host. Does nothing while sealed: then users compare the
    /// fingerprint, which should not change.
    pub fn certify(&self) -> Result<()> {
        let changed = self.with_keys(|keys| match &keys.ca {
            Some(ca) => self.tls.certify(ca, host_names(Some(&self.spec))).map_err(unexpected),
            None => Ok(false),
        });
        match changed {
            Ok(true) => {
                let text = format!("the web interface uses a certificate of the site's CA, sha256 {}", self.tls.fingerprint());
                self.say(&NewEvent::new(EventKind::TlsCertificate, &text));
                Ok(())
            }
            Ok(false) | Err(ApiError::Sealed) => Ok(()),
            Err(e) => Err(anyhow::anyhow!("creating the certificate of the web interface: {e}")),
        }
    }

    /// Fingerprint of the current certificate; `None` without TLS.
    pub fn fingerprint(&self) -> Option<String> {
        let plain = self.pages.get().is_some_and(|(scheme, _)| *scheme == "http");
        (!plain).then(|| self.tls.fingerprint())
    }

    /// The CA's certificate in PEM.
    pub fn ca_certificate(&self) -> Result<Option<String>, ApiError> {
        self.site.keys().ca_certificate().map_err(unexpected)
    }
}
