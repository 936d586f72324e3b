//! Trust in the web interface like an operator's: first by the fingerprint that the daemon prints, then by the site's CA.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use cluster_seed::ids::Digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, Stream};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes read of an answer that holds a certificate.
const MAX_ANSWER: u64 = 64 << 10;

/// sha256 as the daemon prints it: upper-case hex pairs with colons.
pub fn fingerprint(der: &[u8]) -> String {
    let hex = Digest::of(der).to_string().to_uppercase();
    hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect::<Vec<_>>().join(":")
}

/// Trusts one certificate.
#[derive(Debug)]
struct Pin {
    fingerprint: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if fingerprint(leaf) == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection to `address` with whoever has the key of the certificate of `fingerprint`, and that certificate; `path` was
/// asked for on it.
fn connect(address: SocketAddr, fingerprint: &str, path: &str) -> Result<(ClientConnection, TcpStream, Certificate<'static>)> {
    let provider = Arc::new(ring::default_provider());
    let pin = Pin { fingerprint: fingerprint.to_owned(), provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(pin)).with_no_client_auth();
    let name = ServerName::from(address.ip());
    let mut connection = ClientConnection::new(Arc::new(config), name).context("preparing TLS")?;
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE).with_context(|| format!("reaching {address}"))?;
    socket.set_read_timeout(Some(PATIENCE)).context("limiting a connection")?;
    // The first write makes the handshake.
    let ask = format!("GET {path} HTTP/1.1\r\nHost: seed\r\nConnection: close\r\n\r\n");
    Stream::new(&mut connection, &mut socket).write_all(ask.as_bytes()).with_context(|| format!("TLS with {address}"))?;
    let chain = connection.peer_certificates().unwrap_or_default();
    let leaf = Certificate::from_der(chain.first().context("a server without a certificate")?).to_owned();
    Ok((connection, socket, leaf))
}

/// The certificate that the server at `address` shows and has the key of; an error if it is not the one of
/// `fingerprint`.
pub fn pinned(address: SocketAddr, fingerprint: &str) -> Result<Certificate<'static>> {
    connect(address, fingerprint, "/login").map(|(_, _, leaf)| leaf)
}

/// The same, and the site's CA if the server gives one away, as an operator takes it who compared the fingerprint.
pub fn pinned_with_ca(address: SocketAddr, fingerprint: &str) -> Result<Vec<Certificate<'static>>> {
    let (mut connection, mut socket, leaf) = connect(address, fingerprint, "/ca.pem")?;
    let mut answer = Vec::new();
    let stream = Stream::new(&mut connection, &mut socket);
    // The end may come without TLS's own goodbye: what is missing then is no PEM.
    let _ = stream.take(MAX_ANSWER).read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let ca = answer.split_once("\r\n\r\n").filter(|(head, _)| head.starts_with("HTTP/1.1 200"));
    let ca = ca.and_then(|(_, body)| Certificate::from_pem(body.as_bytes()).ok());
    Ok(std::iter::once(leaf).chain(ca).collect())
}

/// The CA of a site, from its data directory.
pub fn ca_of(data: &Path) -> Result<Certificate<'static>> {
    let path = data.join("keys/ca.pem");
    let pem = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Certificate::from_pem(&pem).with_context(|| format!("reading {}", path.display()))
}

/// A client that believes whom `roots` vouch for, and returns every answer, whatever its status.
pub fn https_agent(patience: Duration, roots: &[Certificate<'static>]) -> ureq::Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::from(roots.iter().cloned())).build();
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(patience)).tls_config(tls).build().into()
}

/// A client of a server whose certificate [`pinned`] has just compared with a printed fingerprint: ureq believes roots only, and
/// a sealed seed's certificate is no root and names no address.
pub fn compared_agent(patience: Duration) -> ureq::Agent {
    let tls = TlsConfig::builder().disable_verification(true).build();
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(patience)).tls_config(tls).build().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_look_like_those_of_browsers() {
        let text = fingerprint(b"");
        assert!(text.starts_with("E3:B0:C4:42:98:FC:1C:14") && text.len() == 95, "{text}");
    }
}
