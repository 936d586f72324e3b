//! Whose TLS is believed: that of the certificate which an operator confirmed, and no authority's.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use cluster_seed::ids::Digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::certificate::{is_old, is_signed, weakness};

/// A certificate as it was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// sha256 of its DER, in lower-case hex.
    pub sha256: String,
    /// What is weak about it, as a sentence.
    pub weakness: Option<String>,
}

/// Accepts the pinned certificate; without a pin, any, and remembers which: then nothing may be sent.
#[derive(Debug)]
pub struct Pin {
    wanted: Option<String>,
    seen: Mutex<Option<Shown>>,
    provider: Arc<CryptoProvider>,
}

impl Pin {
    /// `wanted`: sha256 in lower-case hex.
    pub fn new(wanted: Option<String>) -> Arc<Self> {
        Arc::new(Pin { wanted, seen: Mutex::default(), provider: Arc::new(ring::default_provider()) })
    }

    /// TLS 1.2 and 1.3, as this pin verifies it.
    pub fn config(self: &Arc<Self>) -> Result<Arc<ClientConfig>> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone());
        let builder = builder.with_safe_default_protocol_versions().context("preparing TLS")?;
        Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(self.clone()).with_no_client_auth()))
    }

    /// The certificate shown last.
    pub fn seen(&self) -> Option<Shown> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An operator confirmed one.
    pub fn is_set(&self) -> bool {
        self.wanted.is_some()
    }

    /// Another one than the confirmed was shown.
    pub fn is_other(&self) -> bool {
        self.seen().is_some_and(|s| self.wanted.as_ref().is_some_and(|w| *w != s.sha256))
    }

    fn check(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
        modern: bool,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        if is_old(cert) {
            let good = is_signed(cert, dss.scheme, message, dss.signature(), modern, known);
            return good.then(HandshakeSignatureValid::assertion).ok_or(CertificateError::BadSignature.into());
        }
        if modern { verify_tls13_signature(message, cert, dss, known) } else { verify_tls12_signature(message, cert, dss, known) }
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = Shown { sha256: Digest::of(end_entity).to_string(), weakness: weakness(end_entity) };
        let good = self.wanted.as_ref().is_none_or(|w| *w == shown.sha256);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        let refused = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        good.then(ServerCertVerified::assertion).ok_or(refused)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check(message, cert, dss, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check(message, cert, dss, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
