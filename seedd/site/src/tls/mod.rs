//! The certificate of the web interface. Unsealed, its key exists in this process only and the site's CA signs it. Sealed, it is
//! the `SealedIdentity`; before the first unseal it is self-signed.

pub mod ca;
pub mod sealed;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context as _, Result, anyhow};
use cluster_seed::addressing::{SEED_HOST, address};
use cluster_seed::cluster::ClusterSpec;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::{CertifiedKey, SigningKey};
use sha2::{Digest as _, Sha256};

use crate::hint::Hint as _;
use ca::{Ca, dns_name, ip_name};
use sealed::SealedIdentity;

/// Maximum number of names in one certificate.
const MAX_NAMES: usize = 128;

/// Refuses to serve the web interface without TLS on other than loopback addresses (the end of a tunnel).
pub fn check_plain(address: SocketAddr) -> Result<()> {
    if address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(anyhow!("without TLS, passwords sent to the web interface at {address} would be readable on the network"))
        .hint("leave out --pages-without-tls, or listen on 127.0.0.1 and use a tunnel (ssh -L)")
}

/// This host's name, if it is valid in a certificate.
pub fn hostname() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    dns_name(&name).is_some().then(|| name.to_ascii_lowercase())
}

/// All names and addresses under which a browser can reach this host: its current addresses, its name, and the names and
/// addresses of the seed in `spec`.
pub fn host_names(spec: Option<&ClusterSpec>) -> Vec<SanType> {
    let mut names: Vec<Option<SanType>> = vec![dns_name("localhost"), ip_name([127, 0, 0, 1].into())];
    let own = hostname();
    names.extend(own.iter().map(|n| dns_name(n)));
    if let Some(spec) = spec {
        let n = &spec.spec.networking;
        names.push(dns_name(&format!("seed.{}", n.domain)));
        names.extend(own.iter().map(|name| dns_name(&format!("{name}.{}", n.domain))));
        names.push(ip_name(n.underlay.seed.value.into()));
        names.extend(n.planes.iter().map(|(p, plane)| ip_name(address(p, plane.value.cidr, SEED_HOST).ok()?.into())));
    }
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let Some(at) = interface.address else { continue };
        let v4 = at.as_sockaddr_in().map(|a| a.ip().into());
        let v6 = at.as_sockaddr_in6().map(|a| a.ip().into());
        names.push(v4.or(v6).and_then(ip_name));
    }
    let mut unique: Vec<SanType> = Vec::new();
    for name in names.into_iter().flatten() {
        if !unique.contains(&name) && unique.len() < MAX_NAMES {
            unique.push(name);
        }
    }
    unique
}

/// sha256 of a certificate, as browsers show it: upper-case hex pairs with colons.
pub fn fingerprint(der: &CertificateDer<'_>) -> String {
    Sha256::digest(der).iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":")
}

struct Shown {
    certified: Arc<CertifiedKey>,
    fingerprint: String,
    names: Vec<SanType>,
    /// Certificate of the CA that signed it, in PEM; after an import the site has another CA.
    by: Option<String>,
}

/// The key of this process and its current certificate. It exists as long as the process, and is kept when a site is set up in
/// the browser.
pub struct Tls {
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
    shown: RwLock<Shown>,
    /// For the time while sealed: certificate and fingerprint.
    sealed: RwLock<Option<(Arc<CertifiedKey>, String)>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl Tls {
    /// A new key with a self-signed certificate.
    pub fn new(names: Vec<SanType>) -> Result<Arc<Self>> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("creating the key of the web interface")?;
        let signing = loaded(&key)?;
        let shown = show(&signing, &key, None, names)?;
        Ok(Arc::new(Tls { key, signing, shown: RwLock::new(shown), sealed: RwLock::default() }))
    }

    /// From now on this is what [`Self::seal`] shows.
    pub fn keep_sealed(&self, identity: &SealedIdentity) -> Result<()> {
        let certified = Arc::new(CertifiedKey::new(vec![identity.certificate.clone()], loaded(&identity.key)?));
        let fingerprint = fingerprint(&identity.certificate);
        *self.sealed.write().unwrap_or_else(PoisonError::into_inner) = Some((certified, fingerprint));
        Ok(())
    }

    /// Shows the identity for the time while sealed, if there is one.
    pub fn seal(&self) {
        let held = self.sealed.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((certified, fingerprint)) = held {
            let shown = Shown { certified, fingerprint, names: Vec::new(), by: None };
            *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
        }
    }

    /// Fingerprint of the certificate while sealed; none before the first unseal.
    pub fn sealed_fingerprint(&self) -> Option<String> {
        self.sealed.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, fingerprint)| fingerprint.clone())
    }

    /// A certificate of a CA is shown.
    pub fn is_certified(&self) -> bool {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).by.is_some()
    }

    /// Uses a certificate signed by `ca` for `names` from now on; true if it has changed.
    pub fn certify(&self, ca: &Ca, names: Vec<SanType>) -> Result<bool> {
        let same = {
            let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
            shown.by.as_ref() == Some(&ca.pem()) && shown.names == names
        };
        if same {
            return Ok(false);
        }
        let shown = show(&self.signing, &self.key, Some(ca), names)?;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(true)
    }

    /// Fingerprint of the current certificate.
    pub fn fingerprint(&self) -> String {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).fingerprint.clone()
    }

    /// TLS 1.3 (and 1.2 where the build has it), HTTP/1.1.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        // TLS 1.2 is compiled in for management controllers only.
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).context("preparing TLS")?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn loaded(key: &KeyPair) -> Result<Arc<dyn SigningKey>> {
    let der = PrivatePkcs8KeyDer::from(key.serialize_der());
    ring::sign::any_ecdsa_type(&der.into()).context("loading the key of the web interface")
}

fn show(signing: &Arc<dyn SigningKey>, key: &KeyPair, ca: Option<&Ca>, names: Vec<SanType>) -> Result<Shown> {
    let certificate = ca::certificate(ca, key, &names)?;
    let fingerprint = fingerprint(&certificate);
    let certified = Arc::new(CertifiedKey::new(vec![certificate], signing.clone()));
    Ok(Shown { certified, fingerprint, names, by: ca.map(Ca::pem) })
}

impl ResolvesServerCert for Tls {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.read().unwrap_or_else(PoisonError::into_inner).certified.clone())
    }
}

#[cfg(test)]
mod tests;
