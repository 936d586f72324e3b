//! HTTP to a management controller: TLS with the one certificate that counts, basic authentication, bounded answers.
//!
//! Controllers show certificates of their own making, so no authority is asked. The certificate of the first contact
//! counts from then on (trust on first use), and the handshake proves that the other side has its key.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use axum::body::{Body, to_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use cluster_seed::ids::Digest;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::Value;
use site::hint::Hint as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::power::choose::{Ask, reason};
use crate::power::controller::Controller;

/// Largest answer read, in bytes.
const MAX_ANSWER: usize = 1 << 20;
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// For one request: some controllers think for long.
const REQUEST_TIME: Duration = Duration::from_secs(20);

/// Accepts the pinned certificate, or where there is none yet, any, and remembers which.
#[derive(Debug)]
struct Pin {
    wanted: Option<String>,
    seen: Mutex<Option<String>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Digest::of(end_entity).to_string();
        let good = self.wanted.as_ref().is_none_or(|w| *w == shown);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        let refused = rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure);
        good.then(ServerCertVerified::assertion).ok_or(refused)
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

/// A way to one controller.
pub struct Client {
    at: SocketAddr,
    host: String,
    authorization: HeaderValue,
    tls: Option<TlsConnector>,
    pin: Arc<Pin>,
}

impl Client {
    pub fn new(controller: &Controller, password: &[u8]) -> Result<Self> {
        let plain = Zeroizing::new([controller.user.as_bytes(), b":", password].concat());
        let text = Zeroizing::new(format!("Basic {}", B64.encode(&plain)));
        let mut authorization = HeaderValue::from_str(&text).context("writing the credentials")?;
        authorization.set_sensitive(true);
        let provider = Arc::new(ring::default_provider());
        let pin = Arc::new(Pin { wanted: controller.pin.clone(), seen: Mutex::default(), provider: provider.clone() });
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().context("preparing TLS")?;
        let config = config.dangerous().with_custom_certificate_verifier(pin.clone()).with_no_client_auth();
        let at = SocketAddr::new(controller.host, controller.port);
        let tls = (!controller.plain).then(|| TlsConnector::from(Arc::new(config)));
        Ok(Client { at, host: at.to_string(), authorization, tls, pin })
    }

    /// The certificate it showed, as sha256 in hex.
    pub fn seen(&self) -> Option<String> {
        self.pin.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        let (status, bytes) = self.send("GET", path, None).await?;
        check(status, &bytes, path)?;
        serde_json::from_slice(&bytes).with_context(|| format!("reading the controller's {path}"))
    }

    pub async fn ask(&self, ask: &Ask) -> Result<()> {
        let (status, bytes) = self.send(ask.method, &ask.path, Some(&ask.body)).await?;
        check(status, &bytes, &ask.path)
    }

    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(StatusCode, Vec<u8>)> {
        let whole = async {
            let unreachable =
                "is the address right, is the controller's network connected to this seed's, is Redfish switched on?";
            let socket = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(self.at)).await;
            let socket = socket.map_err(|_| anyhow!("no answer from {} within {} s", self.at, CONNECT_TIME.as_secs()));
            let socket = socket.and_then(|s| s.with_context(|| format!("reaching {}", self.at))).hint(unreachable)?;
            match &self.tls {
                Some(tls) => {
                    let stream = tls.connect(ServerName::from(self.at.ip()), socket).await;
                    self.exchange(stream.map_err(|e| self.tls_error(e))?, method, path, body).await
                }
                None => self.exchange(socket, method, path, body).await,
            }
        };
        let late = |_| anyhow!("{} did not answer within {} s", self.at, REQUEST_TIME.as_secs());
        tokio::time::timeout(REQUEST_TIME, whole).await.map_err(late)?
    }

    fn tls_error(&self, error: std::io::Error) -> anyhow::Error {
        let other = self.pin.wanted.is_some() && self.seen() != self.pin.wanted;
        let (error, hint) = match other {
            true => (
                anyhow!("{} shows another certificate than at the first contact", self.at),
                "either it was replaced, or somebody stands between; compare with the controller's own page, then keep the \
                 controller again",
            ),
            false => {
                (anyhow::Error::new(error).context(format!("speaking TLS with {}", self.at)), "is this the port of Redfish?")
            }
        };
        site::hint::with(error, hint)
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Vec<u8>)> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.context("speaking HTTP")?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(CONNECTION, "close")
            .header("accept", "application/json")
            .header("odata-version", "4.0")
            .header(AUTHORIZATION, self.authorization.clone());
        let request = match body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let answer = sender.send_request(request.context("writing a request")?).await.context("asking the controller")?;
        let status = answer.status();
        let bytes = to_bytes(Body::new(answer.into_body()), MAX_ANSWER).await.context("reading the controller's answer")?;
        connection.abort();
        Ok((status, bytes.to_vec()))
    }
}

fn check(status: StatusCode, body: &[u8], path: &str) -> Result<()> {
    match status.as_u16() {
        200..300 => Ok(()),
        401 | 403 => {
            Err(anyhow!("the controller refuses this user and password")).hint("keep the controller again with the right ones")
        }
        404 => {
            Err(anyhow!("the controller has no {path}")).hint("is this a Redfish controller, and its firmware of this decade?")
        }
        n => Err(anyhow!("the controller answered {n}: {}", reason(body))),
    }
}
