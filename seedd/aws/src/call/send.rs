//! Sends one request: signature, time limits, retries with growing pauses, and AWS's errors in one form.

use std::time::Duration;

use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::files::read_limited;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::refusal::{of_query, of_rest};
use crate::credentials::Credentials;
use crate::endpoint::{Endpoint, Target};
use crate::error::{AwsError, FaultKind, shown};
use crate::sign::{Scope, Unsigned, authorization, stamp};

/// Bytes of an answer: lists are filtered by what we made.
const MAX_ANSWER: u64 = 4 << 20;
/// Bytes of a file of certificates.
const MAX_CERTIFICATES: u64 = 4 << 20;
/// How often a pause looks for a request to stop.
const STEP: Duration = Duration::from_millis(100);

/// Patience of a client.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connect: Duration,
    /// For one request and its answer.
    pub request: Duration,
    /// Attempts for one request.
    pub tries: u32,
    /// Longest first pause; it doubles with each attempt.
    pub pause: Duration,
    /// Longest of the pauses.
    pub longest_pause: Duration,
    /// Between two looks at something that AWS is still working on.
    pub poll: Duration,
    /// For a snapshot, an image or an instance to become ready.
    pub ready: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(15),
            request: Duration::from_secs(120),
            tries: 10,
            pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(20),
            poll: Duration::from_secs(5),
            ready: Duration::from_secs(3600),
        }
    }
}

/// Speaks to one region of one account.
pub struct Client {
    agent: ureq::Agent,
    credentials: Credentials,
    region: String,
    ec2: Endpoint,
    ebs: Endpoint,
    limits: Limits,
    now: fn() -> u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Ec2,
    Ebs,
}

/// A request.
pub(crate) struct Call<'a> {
    /// Name of the API's action, as IAM and the errors have it.
    pub action: &'static str,
    pub service: Service,
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: &'a [u8],
    /// sha256 of the body, where it is known already.
    pub payload: Option<Digest>,
    /// Also repeats what AWS answered with "not found": what was just made is not known to every server at once.
    pub fresh: bool,
}

pub(crate) struct Answer {
    pub action: &'static str,
    pub body: Vec<u8>,
}

impl Client {
    /// `now` reads the wall clock in Unix seconds: signatures carry the time, and an upload may take hours. Proxies are taken
    /// from the environment, as ureq does (`HTTPS_PROXY`, `NO_PROXY`).
    ///
    /// # Errors
    /// If the region, an endpoint or the file of certificates cannot be used. Nothing is sent.
    pub fn new(target: &Target, credentials: Credentials, limits: Limits, now: fn() -> u64) -> Result<Self, AwsError> {
        let mut config = ureq::Agent::config_builder()
            .timeout_connect(Some(limits.connect))
            .timeout_resolve(Some(limits.connect))
            .timeout_global(Some(limits.request))
            // A signature is for one host.
            .max_redirects(0)
            .http_status_as_error(false)
            .max_idle_connections_per_host(64)
            .max_idle_connections(128)
            .user_agent(concat!("kubedos/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &target.ca_file {
            let failed = |source: ureq::Error| AwsError::Certificates { path: path.clone(), source: Box::new(source) };
            let bytes = read_limited(path, MAX_CERTIFICATES)?;
            let mut roots = Vec::new();
            for item in parse_pem(&bytes) {
                if let PemItem::Certificate(certificate) = item.map_err(failed)? {
                    roots.push(certificate);
                }
            }
            if roots.is_empty() {
                return Err(failed(ureq::Error::Tls("no certificate was found")));
            }
            config = config.tls_config(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build());
        }
        let agent = config.build().new_agent();
        let (ec2, ebs) = (target.ec2()?, target.ebs()?);
        Ok(Client { agent, credentials, region: target.region.clone(), ec2, ebs, limits, now })
    }

    pub fn region(&self) -> &str {
        &self.region
    }

    /// Address of the EBS direct APIs.
    pub(crate) fn ebs_address(&self) -> &str {
        &self.ebs.base
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sends until it succeeds, the attempts are used up, or the error is one that repeating does not change.
    pub(crate) fn call(&self, call: &Call<'_>, progress: &dyn Progress) -> Result<Answer, AwsError> {
        let payload = call.payload.unwrap_or_else(|| Digest::of(call.body));
        let mut tries = 0;
        loop {
            if progress.cancelled() {
                return Err(AwsError::Cancelled);
            }
            tries += 1;
            let error = match self.send(call, payload) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let again = match &error {
                AwsError::Transport { source, .. } => is_transient(source),
                _ => match error.fault() {
                    Some(FaultKind::Transient) => true,
                    Some(FaultKind::Missing) => call.fresh,
                    _ => false,
                },
            };
            if !again || tries >= self.limits.tries {
                return Err(error);
            }
            tracing::debug!(action = call.action, tries, %error, "repeating a request");
            self.rest(self.backoff(tries), progress)?;
        }
    }

    /// Sleeps in small steps.
    pub(crate) fn rest(&self, mut time: Duration, progress: &dyn Progress) -> Result<(), AwsError> {
        while !time.is_zero() {
            if progress.cancelled() {
                return Err(AwsError::Cancelled);
            }
            let step = time.min(STEP);
            std::thread::sleep(step);
            time -= step;
        }
        Ok(())
    }

    /// Half of the doubled pause and a random part of the other half, so that parallel requests do not come back together.
    fn backoff(&self, tries: u32) -> Duration {
        let longest = self.limits.pause.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(self.limits.longest_pause);
        let part = host::random::bytes().map_or(0, |[b]: [u8; 1]| u32::from(b));
        longest / 2 + longest / 512 * part
    }

    fn send(&self, call: &Call<'_>, payload: Digest) -> Result<Answer, AwsError> {
        let (endpoint, service) = match call.service {
            Service::Ec2 => (&self.ec2, "ec2"),
            Service::Ebs => (&self.ebs, "ebs"),
        };
        let time = stamp((self.now)());
        let mut headers = call.headers.clone();
        headers.extend([
            ("host", endpoint.host.clone()),
            ("x-amz-content-sha256", payload.to_string()),
            ("x-amz-date", time.clone()),
        ]);
        if let Some(token) = self.credentials.token() {
            headers.push(("x-amz-security-token", token.to_owned()));
        }
        let unsigned = Unsigned { method: call.method, path: &call.path, query: "", headers: &headers, payload };
        let scope = Scope { region: &self.region, service };
        let value = authorization(unsigned, &self.credentials, scope, &time);
        let failed = |source: ureq::Error| AwsError::Transport {
            action: call.action,
            host: endpoint.host.clone(),
            source: Box::new(source),
        };
        let mut request = ureq::http::Request::builder()
            .method(call.method)
            .uri(format!("{}{}", endpoint.base, call.path))
            .header("authorization", value);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(call.body).map_err(|e| failed(ureq::Error::Http(e)))?;
        let mut response = self.agent.run(request).map_err(failed)?;
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(failed)?;
        if response.status().is_success() {
            return Ok(Answer { action: call.action, body });
        }
        let mut fault = Box::new(match call.service {
            Service::Ec2 => of_query(&body),
            Service::Ebs => of_rest(header(&response, "x-amzn-errortype").unwrap_or_default(), &body),
        });
        fault.status = response.status().as_u16();
        if let Some(id) = header(&response, "x-amzn-requestid").filter(|_| fault.request.is_empty()) {
            fault.request = shown(id);
        }
        fault.ahead = header(&response, "date").and_then(|date| self.ahead(date));
        Err(AwsError::Answered { action: call.action, fault })
    }

    /// Seconds that the other clock is ahead of ours.
    fn ahead(&self, date: &str) -> Option<i64> {
        let theirs = httpdate::parse_http_date(date).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        i64::try_from(theirs).ok()?.checked_sub(i64::try_from((self.now)()).ok()?)
    }
}

fn header<'a>(response: &'a ureq::http::Response<ureq::Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// False for what the next attempt would meet again. A name that does not resolve is usually a region that does not exist.
fn is_transient(error: &ureq::Error) -> bool {
    !matches!(
        error,
        ureq::Error::BadUri(_)
            | ureq::Error::HostNotFound
            | ureq::Error::Http(_)
            | ureq::Error::Tls(_)
            | ureq::Error::Rustls(_)
            | ureq::Error::Pem(_)
            | ureq::Error::InvalidProxyUrl
            | ureq::Error::BodyExceedsLimit(_)
            | ureq::Error::TooManyRedirects
    )
}
