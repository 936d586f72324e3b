//! Requests to the seed: plain HTTP, with limits on the size and time of every response. Only signed data is trusted.

use std::io;
use std::time::Duration;

use cluster_seed::agent::ErrorReply;
use cluster_seed::machine::tame;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest JSON response read, in bytes, unless the caller passes another limit.
pub const MAX_JSON: u64 = 8 << 20;
/// Time limit for one small exchange.
const SHORT: Duration = Duration::from_secs(20);
/// Time limit for one chunk: 4 MiB at 35 kB/s.
const LONG: Duration = Duration::from_secs(120);

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("the seed at {url} does not respond")]
    Unreachable { url: String, source: Box<ureq::Error> },
    #[error("the seed answered {status}: {message}")]
    Status { status: u16, message: String },
    #[error("the seed's response is larger than {0} bytes")]
    TooLarge(u64),
    #[error("the seed's response cannot be parsed")]
    Json(#[from] serde_json::Error),
}

impl HttpError {
    /// True if the same request may succeed later: no response, or an overloaded, restarting or sealed seed.
    pub fn is_temporary(&self) -> bool {
        match self {
            HttpError::Unreachable { .. } => true,
            HttpError::Status { status, .. } => matches!(status, 408 | 423 | 429 | 500..=599),
            HttpError::TooLarge(_) | HttpError::Json(_) => false,
        }
    }

    pub fn status(&self) -> Option<u16> {
        if let HttpError::Status { status, .. } = self { Some(*status) } else { None }
    }
}

/// The seed, by its base URL.
pub struct Http {
    base: String,
    agent: ureq::Agent,
}

impl Http {
    pub fn new(base: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(5)))
            .user_agent("kubedos-node")
            .build();
        Http { base: base.trim_end_matches('/').to_owned(), agent: config.new_agent() }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// The body of a 200 response; `limit` in bytes.
    pub fn get(&self, path: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
        let url = format!("{}{path}", self.base);
        let answer = self.agent.get(&url).config().timeout_global(Some(LONG)).build().call();
        body(&url, answer, limit)
    }

    pub fn get_json<T: DeserializeOwned>(&self, path: &str, limit: u64) -> Result<T, HttpError> {
        Ok(serde_json::from_slice(&self.get(path, limit)?)?)
    }

    pub fn post_json<T: DeserializeOwned>(&self, path: &str, document: &impl Serialize) -> Result<T, HttpError> {
        self.post_json_within(path, document, MAX_JSON)
    }

    /// The same; `limit` applies to the response, in bytes.
    pub fn post_json_within<T: DeserializeOwned>(
        &self,
        path: &str,
        document: &impl Serialize,
        limit: u64,
    ) -> Result<T, HttpError> {
        let url = format!("{}{path}", self.base);
        let bytes = serde_json::to_vec(document)?;
        let request = self.agent.post(&url).header("content-type", "application/json");
        let answer = request.config().timeout_global(Some(SHORT)).build().send(&bytes[..]);
        Ok(serde_json::from_slice(&body(&url, answer, limit)?)?)
    }
}

type Answer = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

fn body(url: &str, answer: Answer, limit: u64) -> Result<Vec<u8>, HttpError> {
    let lost = |e: ureq::Error| HttpError::Unreachable { url: url.to_owned(), source: Box::new(e) };
    let mut answer = answer.map_err(lost)?;
    let status = answer.status().as_u16();
    // Reading one byte beyond the limit detects a longer response.
    let bytes = match answer.body_mut().with_config().limit(limit + 1).read_to_vec() {
        Ok(bytes) if bytes.len() as u64 > limit => return Err(HttpError::TooLarge(limit)),
        Ok(bytes) => bytes,
        Err(ureq::Error::BodyExceedsLimit(_)) => return Err(HttpError::TooLarge(limit)),
        Err(ureq::Error::Io(e)) if e.kind() == io::ErrorKind::InvalidData => return Err(HttpError::TooLarge(limit)),
        Err(e) => return Err(lost(e)),
    };
    if status == 200 {
        return Ok(bytes);
    }
    let message = match serde_json::from_slice::<ErrorReply>(&bytes) {
        Ok(ErrorReply { error, hint: Some(hint), .. }) => format!("{} ({})", tame(&error), tame(&hint)),
        Ok(reply) => tame(&reply.error),
        Err(_) => tame(&String::from_utf8_lossy(&bytes[..bytes.len().min(200)])),
    };
    Err(HttpError::Status { status, message })
}

/// Sleeps; tests pass one that does not.
pub type Wait<'a> = &'a (dyn Fn(Duration) + Sync);

/// Pause before the n-th retry: 1, 2, 4, 8, then 10 seconds each time.
pub fn backoff(attempt: u32) -> Duration {
    Duration::from_secs(1u64.checked_shl(attempt).unwrap_or(10).clamp(1, 10))
}

/// Retries after a temporary failure, at most `attempts` times in total.
pub fn retry<T>(attempts: u32, wait: Wait<'_>, mut f: impl FnMut() -> Result<T, HttpError>) -> Result<T, HttpError> {
    let mut attempt = 0;
    loop {
        match f() {
            Err(e) if e.is_temporary() && attempt + 1 < attempts => {
                wait(backoff(attempt));
                attempt += 1;
            }
            other => return other,
        }
    }
}

/// An error with its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> HttpError {
        HttpError::Status { status, message: String::new() }
    }

    #[test]
    fn temporary_failures_are_retried_and_others_are_not() {
        for (code, attempts) in [(503, 3), (423, 3), (429, 3), (404, 1), (409, 1), (403, 1)] {
            let mut tried = 0;
            let result = retry(3, &|_| (), || {
                tried += 1;
                Err::<(), _>(status(code))
            });
            assert!(result.is_err());
            assert_eq!(tried, attempts, "{code}");
        }
    }

    #[test]
    fn pauses_grow_to_ten_seconds() {
        let seconds: Vec<_> = [0, 1, 2, 3, 4, 63, 64, u32::MAX].map(|n| backoff(n).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10, 10, 10]);
    }
}
