//! One HTTP request on a connection of its own.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use axum::body::{Body, to_bytes};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use site::hint::{self, Hint as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::server::Server;
use super::trust::{Trust, shown};

const CONNECT_TIME: Duration = Duration::from_secs(10);
/// For the handshake, and for the answer: the seed may have to ask a management controller first.
const HANDSHAKE_TIME: Duration = Duration::from_secs(15);
const ANSWER_TIME: Duration = Duration::from_secs(180);
/// For the rest of an answer of which only the status counts.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A request.
pub struct Call<'a> {
    pub method: &'static str,
    pub path: &'a str,
    /// JSON.
    pub body: Option<Vec<u8>>,
    /// Bearer token.
    pub token: Option<&'a str>,
    /// More headers.
    pub headers: &'a [(&'static str, String)],
    /// Largest answer read, in bytes.
    pub most: usize,
}

/// An answer, whatever its status.
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

/// What happens with an answer that is larger than [`Call::most`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Larger {
    Refused,
    /// Its status counts; the rest is not read.
    Cut,
}

/// Sends a request and reads the answer.
///
/// # Errors
/// Also if the answer is larger than [`Call::most`].
pub async fn send(server: &Server, trust: &Arc<Trust>, call: Call<'_>) -> Result<Reply> {
    converse(server, trust, call, Larger::Refused).await
}

/// Sends a request of which only the status of the answer counts, whatever comes after it.
pub async fn send_for_status(server: &Server, trust: &Arc<Trust>, call: Call<'_>) -> Result<u16> {
    Ok(converse(server, trust, call, Larger::Cut).await?.status)
}

async fn converse(server: &Server, trust: &Arc<Trust>, call: Call<'_>, larger: Larger) -> Result<Reply> {
    let at = server.authority();
    let connect = TcpStream::connect((server.host.as_str(), server.port));
    let stream = match timeout(CONNECT_TIME, connect).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(anyhow!(error).context(format!("connecting to {at}"))).hint("is the seed running there?"),
        Err(_) => return Err(anyhow!("{at} did not answer within {} s", CONNECT_TIME.as_secs())),
    };
    let most = call.most;
    let request = request(server, call)?;
    let answer = async {
        if !server.tls {
            return exchange(stream, request, most, larger).await;
        }
        let name = ServerName::try_from(server.host.clone()).with_context(|| format!("using the name {}", server.host))?;
        let handshake = TlsConnector::from(trust.config()?).connect(name, stream);
        match timeout(HANDSHAKE_TIME, handshake).await {
            Ok(Ok(stream)) => exchange(stream, request, most, larger).await,
            Ok(Err(error)) => Err(refused(server, trust, error)),
            Err(_) => Err(anyhow!("{at} did not finish the TLS handshake within {} s", HANDSHAKE_TIME.as_secs())),
        }
    };
    let late = |_| anyhow!("{at} did not answer within {} s", ANSWER_TIME.as_secs());
    timeout(ANSWER_TIME, answer).await.map_err(late)?
}

fn request(server: &Server, call: Call<'_>) -> Result<Request<Body>> {
    let mut request = Request::builder()
        .method(call.method)
        .uri(call.path)
        .header(HOST, server.authority())
        .header(CONNECTION, "close")
        .header("accept", "application/json");
    if let Some(token) = call.token {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).context("using the token")?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    for (name, value) in call.headers {
        request = request.header(*name, value);
    }
    let request = match call.body {
        Some(body) => request.header(CONTENT_TYPE, "application/json").body(Body::from(body)),
        None => request.body(Body::empty()),
    };
    request.context("writing a request")
}

/// Why the certificate is not believed, and what to do.
fn refused(server: &Server, trust: &Trust, error: std::io::Error) -> anyhow::Error {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    if !matches!(inner, Some(rustls::Error::InvalidCertificate(_))) {
        return anyhow!(error).context(format!("speaking TLS with {server}"));
    }
    let seen = trust.seen().map(|d| shown(&d)).unwrap_or_default();
    let text = format!("{server} shows a certificate that is not trusted: sha256 {seen}");
    hint::with(
        anyhow!(error).context(text),
        "a sealed seed shows another certificate than an unsealed one. Compare the fingerprint with the seed's console; if it is the \
         same, add it with `seedd context add NAME URL --fingerprint SHA256`",
    )
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
    most: usize,
    larger: Larger,
) -> Result<Reply> {
    let (mut sender, connection) = http1::Builder::new().handshake(TokioIo::new(stream)).await.context("speaking HTTP")?;
    let connection = tokio::spawn(connection);
    let answer: Response<Incoming> = sender.send_request(request).await.context("asking the seed")?;
    let (head, body) = answer.into_parts();
    let body = match larger {
        Larger::Refused => to_bytes(Body::new(body), most).await.context("reading the seed's answer")?.to_vec(),
        Larger::Cut => {
            // A courtesy to the other side, which may not like a connection that closes while it writes.
            let _ = timeout(DRAIN_TIME, drain(body, most)).await;
            Vec::new()
        }
    };
    connection.abort();
    Ok(Reply { status: head.status.as_u16(), body })
}

/// Reads `most` bytes, or less if the answer ends before, and forgets them.
async fn drain(mut body: Incoming, most: usize) {
    let mut got = 0;
    while got < most {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let Some(Ok(frame)) = frame else { return };
        got += frame.data_ref().map_or(0, |data| data.len());
    }
}
