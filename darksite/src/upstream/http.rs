//! Fetches over HTTP and HTTPS, with resume, timeouts and limits.

use std::time::Duration;

use crate::upstream::fetch::{Body, DirFetch, Fetch, FetchError, without_login};
use crate::upstream::netrc::Netrc;

/// Redirects followed for one request.
pub const MAX_REDIRECTS: u32 = 5;
/// Bytes of an HTTP response header.
pub const MAX_HEADER: usize = 64 << 10;

/// Timeouts of an HTTP server.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    pub connect: Duration,
    /// For the response header.
    pub response: Duration,
    /// Between two reads of a body.
    pub read: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits { connect: Duration::from_secs(15), response: Duration::from_secs(30), read: Duration::from_secs(30) }
    }
}

/// What a request says beyond its address.
#[derive(Debug, Default, Clone, Copy)]
pub struct Ask<'a> {
    /// First byte wanted.
    pub offset: u64,
    /// The Accept header.
    pub accept: Option<&'a str>,
    /// A token (RFC 6750), instead of a login.
    pub bearer: Option<&'a str>,
}

/// What a server answered.
pub enum Reply {
    Body(Body),
    /// Status 401, with the WWW-Authenticate header if there is one.
    Challenge(Option<String>),
}

/// A mirror reached over HTTP or HTTPS.
pub struct HttpFetch {
    agent: ureq::Agent,
    logins: Netrc,
}

impl HttpFetch {
    /// `logins` are sent to the servers they are for.
    pub fn new(limits: HttpLimits, logins: Netrc) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(limits.connect))
            .timeout_resolve(Some(limits.connect))
            .timeout_recv_response(Some(limits.response))
            .timeout_per_read(Some(limits.read))
            .max_redirects(MAX_REDIRECTS)
            // To another host, a password or a token is never sent on.
            .redirect_auth_headers(ureq::config::RedirectAuthHeaders::SameHost)
            .max_response_header_size(MAX_HEADER)
            .max_idle_connections_per_host(8)
            .http_status_as_error(false)
            .user_agent(concat!("kubedos/", env!("CARGO_PKG_VERSION")))
            .build();
        HttpFetch { agent: config.new_agent(), logins }
    }

    /// Sends one request.
    pub fn ask(&self, url: &str, ask: Ask<'_>) -> Result<Reply, FetchError> {
        if let Some(public) = without_login(url) {
            return Err(FetchError::Secret(public));
        }
        let mut request = self.agent.get(url).header("Accept-Encoding", "identity");
        if let Some(token) = ask.bearer {
            request = request.header("Authorization", format!("Bearer {token}"));
        } else if let Some(value) = self.logins.authorization(url) {
            request = request.header("Authorization", value.as_str());
        }
        if let Some(accept) = ask.accept {
            request = request.header("Accept", accept);
        }
        if ask.offset > 0 {
            request = request.header("Range", format!("bytes={}-", ask.offset));
        }
        let response = request.call().map_err(|e| FetchError::Transport { url: url.to_owned(), source: Box::new(e) })?;
        let status = response.status().as_u16();
        let offset = match status {
            200 => 0,
            206 if ask.offset > 0 && range_start(&response) == Some(ask.offset) => ask.offset,
            // The part on disk is not shorter than the file: start over.
            416 if ask.offset > 0 => return self.ask(url, Ask { offset: 0, ..ask }),
            401 => return Ok(Reply::Challenge(header(&response, "www-authenticate"))),
            404 | 410 => return Err(FetchError::NotFound { url: url.to_owned() }),
            _ => return Err(FetchError::Status { url: url.to_owned(), status }),
        };
        Ok(Reply::Body(Body { offset, reader: Box::new(response.into_body().into_reader()) }))
    }
}

impl Fetch for HttpFetch {
    fn get(&self, url: &str, offset: u64) -> Result<Body, FetchError> {
        match self.ask(url, Ask { offset, ..Ask::default() })? {
            Reply::Body(body) => Ok(body),
            Reply::Challenge(_) => Err(FetchError::Status { url: url.to_owned(), status: 401 }),
        }
    }
}

fn header(response: &ureq::http::Response<ureq::Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

fn range_start(response: &ureq::http::Response<ureq::Body>) -> Option<u64> {
    header(response, "content-range")?.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// Chooses by the address: `file://` or HTTP.
pub struct AnyFetch {
    http: HttpFetch,
}

impl AnyFetch {
    pub fn new(limits: HttpLimits) -> Self {
        AnyFetch::with_logins(limits, Netrc::default())
    }

    pub fn with_logins(limits: HttpLimits, logins: Netrc) -> Self {
        AnyFetch { http: HttpFetch::new(limits, logins) }
    }

    pub fn http(&self) -> &HttpFetch {
        &self.http
    }
}

impl Fetch for AnyFetch {
    fn get(&self, url: &str, offset: u64) -> Result<Body, FetchError> {
        match url.split_once("://") {
            Some(("http" | "https", _)) => self.http.get(url, offset),
            Some(("file", _)) => DirFetch.get(url, offset),
            _ => Err(FetchError::Scheme(url.to_owned())),
        }
    }
}
