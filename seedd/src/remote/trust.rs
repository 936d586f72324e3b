//! Whose TLS is believed: that of the certificate with a pinned fingerprint, and of certificates of the site's CA for the name that
//! was asked for. No authority of the operating system counts.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use cluster_seed::ids::Digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use site::hint::Hint as _;

/// What is believed.
#[derive(Debug, Clone, Default)]
pub struct Believed {
    /// sha256 of a certificate.
    pub fingerprint: Option<Digest>,
    /// Certificates of authorities, in PEM: for a seed, that of the site's CA.
    pub ca: Option<String>,
}

/// Verifies as [`Believed`] says, and remembers what was shown.
#[derive(Debug)]
pub struct Trust {
    fingerprint: Option<Digest>,
    ca: Option<Arc<WebPkiServerVerifier>>,
    /// Accept whatever is shown: nothing secret may be sent.
    any: bool,
    seen: Mutex<Option<Digest>>,
    provider: Arc<CryptoProvider>,
}

/// A fingerprint with or without colons, in either case.
pub fn fingerprint(text: &str) -> Result<Digest> {
    let plain: String = text.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
    plain.parse().context("reading the fingerprint").hint("it has 64 hex digits; the seed's console and `seedd status` show it")
}

/// As consoles and browsers show it: upper-case pairs with colons.
pub fn shown(fingerprint: &Digest) -> String {
    fingerprint.0.iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":")
}

/// The digest of the first certificate in a PEM text.
pub fn digest_of(pem: &str) -> Result<Digest> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| anyhow::anyhow!("{e}"));
    Ok(Digest::of(&der.context("reading the certificate of the site's CA")?))
}

/// The first certificate of a PEM text alone: whoever sends the text may have added others, and every stored one is an authority.
pub fn first_of(pem: &str) -> Result<String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| anyhow::anyhow!("{e}"));
    Ok(site::tls::ca::pem("CERTIFICATE", &der.context("reading the certificate of the site's CA")?))
}

impl Trust {
    pub fn new(believed: &Believed) -> Result<Arc<Self>> {
        let provider = Arc::new(ring::default_provider());
        let ca = believed.ca.as_deref().map(|pem| verifier(pem, &provider)).transpose()?;
        Ok(Arc::new(Trust { fingerprint: believed.fingerprint, ca, any: false, seen: Mutex::default(), provider }))
    }

    /// Accepts any certificate and remembers it.
    pub fn look() -> Arc<Self> {
        let provider = Arc::new(ring::default_provider());
        Arc::new(Trust { fingerprint: None, ca: None, any: true, seen: Mutex::default(), provider })
    }

    /// TLS 1.3, as this verifies it.
    pub fn config(self: &Arc<Self>) -> Result<Arc<ClientConfig>> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone());
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).context("preparing TLS")?;
        Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(self.clone()).with_no_client_auth()))
    }

    /// The certificate that was shown last.
    pub fn seen(&self) -> Option<Digest> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn verifier(pem: &str, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
    // A collection of an operating system may have some that are not understood.
    let (used, _) = roots.add_parsable_certificates(all);
    if used == 0 {
        return Err(anyhow::anyhow!("there is no certificate of an authority in the PEM text"));
    }
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    builder.build().context("using the certificates of authorities")
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let digest = Digest::of(end_entity);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
        if self.any || self.fingerprint == Some(digest) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.ca {
            Some(ca) => ca.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest of the first one is compared, so nothing behind it may be kept.
    #[test]
    fn of_a_text_with_two_authorities_the_first_is_kept() {
        let (own, other) = (site::tls::ca::pem("CERTIFICATE", b"one"), site::tls::ca::pem("CERTIFICATE", b"another"));
        let kept = first_of(&format!("{own}{other}")).unwrap();
        assert_eq!((kept.as_str(), digest_of(&kept).unwrap()), (own.as_str(), Digest::of(b"one")));
        assert!(first_of("no certificate").is_err());
    }

    #[test]
    fn fingerprints_are_read_as_they_are_shown() {
        let digest = Digest::of(b"a certificate");
        let text = shown(&digest);
        assert_eq!(text.len(), 95);
        for written in [text.clone(), text.replace(':', ""), text.to_ascii_lowercase(), digest.to_string()] {
            assert_eq!(fingerprint(&written).unwrap(), digest);
        }
        for bad in ["", "AB:CD", &text[2..], &format!("{text}:00")] {
            assert!(fingerprint(bad).is_err(), "{bad}");
        }
    }
}
