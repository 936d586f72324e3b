//! HTTP to a management controller: TLS with the one certificate that counts, bounded answers, one connection a request.
//!
//! Nothing but the TLS handshake is sent to a controller whose certificate no operator confirmed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, ETAG, HOST, HeaderMap, HeaderName, HeaderValue, IF_MATCH, LOCATION, RETRY_AFTER};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error as TlsError, PeerIncompatible};
use serde_json::Value;
use site::hint::{self, Hint as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate;
use super::pin::{Pin, Shown};
use crate::power::controller::Controller;

/// Largest answer read, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// Longest value of a header used, in bytes.
const MAX_HEADER: usize = 4096;
const CONNECT_TIME: Duration = Duration::from_secs(5);
const HANDSHAKE_TIME: Duration = Duration::from_secs(15);
/// For one request that reads: some controllers think for long.
const READ_TIME: Duration = Duration::from_secs(25);
/// For one request that changes: some fetch the image first.
const CHANGE_TIME: Duration = Duration::from_secs(45);

/// A request.
pub struct Call<'a> {
    pub method: &'static str,
    pub path: &'a str,
    pub body: Option<&'a Value>,
    /// What the resource's ETag has to be (RFC 9110, 13.1.1).
    pub if_match: Option<&'a str>,
    /// Credentials: a header and its value.
    pub login: Option<&'a (HeaderName, HeaderValue)>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub location: Option<String>,
    pub etag: Option<String>,
    /// X-Auth-Token of a new session.
    pub token: Option<HeaderValue>,
    /// Seconds.
    pub retry_after: Option<u64>,
    pub body: Vec<u8>,
}

/// There was no answer. `sent`: the request may have been carried out all the same.
#[derive(Debug)]
pub struct NoReply {
    pub sent: bool,
    pub error: anyhow::Error,
}

/// A way to one controller.
pub struct Client {
    at: SocketAddr,
    tls: Option<TlsConnector>,
    pin: Arc<Pin>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Client {
    pub fn new(controller: &Controller) -> Result<Self> {
        let pin = Pin::new(controller.pin.clone());
        let tls = if controller.plain { None } else { Some(TlsConnector::from(pin.config()?)) };
        Ok(Client { at: SocketAddr::new(controller.host, controller.port), tls, pin })
    }

    /// The certificate it showed.
    pub fn seen(&self) -> Option<Shown> {
        self.pin.seen()
    }

    /// Scheme and authority, as absolute links of this controller begin.
    pub fn origin(&self) -> (String, String) {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        (format!("{scheme}://{}", self.authority()), format!("{scheme}://{}", self.at))
    }

    /// Host, and the port where it is not the usual one: some controllers compare it.
    fn authority(&self) -> String {
        let host = if self.at.is_ipv6() { format!("[{}]", self.at.ip()) } else { self.at.ip().to_string() };
        let usual = if self.tls.is_some() { 443 } else { 80 };
        if self.at.port() == usual { host } else { self.at.to_string() }
    }

    /// Reads the certificate by a handshake that ends there.
    pub async fn certificate(&self) -> Result<Shown> {
        let shaken = self.connect().await;
        // What a handshake under another pin showed counts as well.
        match (self.seen(), shaken) {
            (Some(shown), Ok(_)) => Ok(shown),
            (Some(shown), Err(_)) if self.pin.is_other() => Ok(shown),
            (_, Err(error)) => Err(error),
            (None, Ok(_)) => Err(anyhow!("{} showed no certificate", self.at)),
        }
    }

    pub async fn exchange(&self, call: &Call<'_>) -> Result<Reply, NoReply> {
        let unsent = |error| NoReply { sent: false, error };
        if self.tls.is_some() && !self.pin.is_set() {
            return Err(unsent(anyhow!("the certificate of {} is not confirmed", self.at)));
        }
        let stream = self.connect().await.map_err(unsent)?;
        let request = self.request(call).map_err(unsent)?;
        let limit = if call.method == "GET" { READ_TIME } else { CHANGE_TIME };
        let exchanged = timeout(limit, async {
            match stream {
                Stream::Plain(stream) => exchange(stream, request).await,
                Stream::Tls(stream) => exchange(*stream, request).await,
            }
        });
        let late = anyhow!("{} did not answer within {} s", self.at, limit.as_secs());
        exchanged.await.unwrap_or(Err(late)).map_err(|error| NoReply { sent: true, error })
    }

    async fn connect(&self) -> Result<Stream> {
        let unreachable =
            "check the address, that the controller's network is connected to this seed's, and that Redfish is enabled";
        let socket = timeout(CONNECT_TIME, TcpStream::connect(self.at)).await;
        let socket = socket.map_err(|_| anyhow!("no answer from {} within {} s", self.at, CONNECT_TIME.as_secs()));
        let socket = socket.and_then(|s| s.with_context(|| format!("reaching {}", self.at))).hint(unreachable)?;
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(socket)) };
        let shaken = timeout(HANDSHAKE_TIME, tls.connect(ServerName::from(self.at.ip()), socket)).await;
        match shaken {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(self.tls_error(error)),
            Err(_) => Err(anyhow!("{} did not finish the TLS handshake within {} s", self.at, HANDSHAKE_TIME.as_secs())),
        }
    }

    fn request(&self, call: &Call<'_>) -> Result<Request<Body>> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header(HOST, self.authority())
            .header(CONNECTION, "close")
            .header("accept", "application/json")
            .header("odata-version", "4.0");
        if let Some((name, value)) = call.login {
            request = request.header(name, value);
        }
        if let Some(etag) = call.if_match {
            request = request.header(IF_MATCH, etag);
        }
        let request = match call.body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        request.context("writing a request")
    }

    /// Why there is no TLS with it, and what to do.
    fn tls_error(&self, error: std::io::Error) -> anyhow::Error {
        use AlertDescription::{HandshakeFailure, InsufficientSecurity, ProtocolVersion};
        let at = self.at;
        if self.pin.is_other() {
            let shown = self.seen().map(|s| certificate::shown(&s.sha256)).unwrap_or_default();
            let text = format!("{at} shows another certificate than the confirmed one: sha256 {shown}");
            return hint::with(
                anyhow!(text),
                "either it was replaced, or the connection is intercepted; compare it with the controller's own page, then \
                 confirm it with `seedd power trust`",
            );
        }
        let old = "update the controller's firmware, or use IPMI";
        let weakness = self.seen().and_then(|s| s.weakness);
        match error.get_ref().and_then(|e| e.downcast_ref::<TlsError>()) {
            Some(
                TlsError::AlertReceived(ProtocolVersion)
                | TlsError::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
            ) => hint::with(anyhow!("{at} is too old: it has TLS 1.1 at most, and 1.2 is the least that is used"), old),
            Some(TlsError::AlertReceived(HandshakeFailure | InsufficientSecurity)) => {
                let text = "shares no TLS cipher suite with this seed, which uses those with forward secrecy and AEAD only";
                hint::with(anyhow!("{at} is too old, or unusually configured: it {text}"), old)
            }
            Some(TlsError::InvalidCertificate(CertificateError::BadSignature)) if weakness.is_some() => {
                let text = format!("the certificate of {at} cannot be used: {}", weakness.unwrap_or_default());
                hint::with(anyhow!(text), "create a new certificate on the controller, with an RSA key of 2048 bits")
            }
            _ => hint::with(
                anyhow::Error::new(error).context(format!("speaking TLS with {at}")),
                "check that this is the port of Redfish",
            ),
        }
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, request: Request<Body>) -> Result<Reply> {
    // Servers of some controllers compare the names of headers letter by letter.
    let mut builder = http1::Builder::new();
    let (mut sender, connection) =
        builder.title_case_headers(true).handshake(TokioIo::new(stream)).await.context("speaking HTTP")?;
    let connection = tokio::spawn(connection);
    let answer: Response<_> = sender.send_request(request).await.context("asking the controller")?;
    let (head, body) = answer.into_parts();
    let body = to_bytes(Body::new(body), MAX_ANSWER).await.context("reading the controller's answer")?;
    connection.abort();
    let text = |name: &HeaderName| header(&head.headers, name)?.to_str().ok().map(str::to_owned);
    Ok(Reply {
        status: head.status.as_u16(),
        location: text(&LOCATION),
        etag: text(&ETAG),
        token: header(&head.headers, &HeaderName::from_static("x-auth-token")).cloned(),
        retry_after: text(&RETRY_AFTER).and_then(|t| t.parse().ok()),
        body: body.to_vec(),
    })
}

fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    headers.get(name).filter(|v| !v.is_empty() && v.len() <= MAX_HEADER)
}
