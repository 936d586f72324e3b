//! Requests to the seed: plain HTTP, with limits on the size and time of every response. Only signed data is trusted.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::time::Duration;

use cluster_seed::agent::ErrorReply;
use cluster_seed::machine::tame;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest JSON response read, in bytes, unless the caller passes another limit.
pub const MAX_JSON: u64 = 8 << 20;
/// Largest error response read, in bytes.
const MAX_ERROR: u64 = 64 << 10;
/// Most requests of one download that is interrupted again and again.
const MAX_PARTS: u32 = 64;
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
    #[error("the seed sent fewer bytes of {url} than it announced, or others")]
    Short { url: String },
    #[error("writing what the seed sent")]
    Store(#[source] io::Error),
    #[error("the seed's response cannot be parsed")]
    Json(#[from] serde_json::Error),
}

impl HttpError {
    /// True if the same request may succeed later: no response, or an overloaded, restarting or sealed seed.
    pub fn is_temporary(&self) -> bool {
        match self {
            HttpError::Unreachable { .. } => true,
            HttpError::Status { status, .. } => matches!(status, 408 | 423 | 429 | 500..=599),
            HttpError::TooLarge(_) | HttpError::Json(_) | HttpError::Short { .. } | HttpError::Store(_) => false,
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

    /// Downloads `path`, a file of `size` bytes, to the end of `file`: what it contains already is not requested again.
    /// `fetched` is called with the bytes received by this call so far.
    ///
    /// # Errors
    /// If the seed sends fewer or more bytes, or stops for two minutes; `file` then contains what was received.
    pub fn download(&self, path: &str, file: &mut File, size: u64, fetched: &dyn Fn(u64)) -> Result<(), HttpError> {
        let (url, mut received) = (format!("{}{path}", self.base), 0);
        for _ in 0..MAX_PARTS {
            let held = file.seek(SeekFrom::End(0)).map_err(HttpError::Store)?;
            if held == size {
                return Ok(());
            }
            if held > size {
                file.set_len(0).map_err(HttpError::Store)?;
                continue;
            }
            let before = received;
            let done = self.part(&url, file, held, size, &mut |n| {
                received += n;
                fetched(received);
            });
            match done {
                // The time limit applies to one request; a slow but living transfer continues.
                Err(e) if received > before && e.is_temporary() => tracing::debug!(error = %chain(&e), "download interrupted"),
                Err(e) => return Err(e),
                Ok(()) if received == before => return Err(HttpError::Short { url }),
                Ok(()) => {}
            }
        }
        Err(HttpError::Short { url })
    }

    /// One request for the bytes from `held` on (RFC 9110 section 14.2). A server without ranges sends the whole file.
    fn part(&self, url: &str, file: &mut File, held: u64, size: u64, received: &mut dyn FnMut(u64)) -> Result<(), HttpError> {
        let lost = |e: ureq::Error| HttpError::Unreachable { url: url.to_owned(), source: Box::new(e) };
        let request = self.agent.get(url).header("range", format!("bytes={held}-"));
        let mut answer = request.config().timeout_global(Some(LONG)).build().call().map_err(lost)?;
        let start = match answer.status().as_u16() {
            206 => {
                let range = answer.headers().get("content-range").and_then(|v| v.to_str().ok()).unwrap_or_default();
                if !range.starts_with(&format!("bytes {held}-")) {
                    return Err(HttpError::Short { url: url.to_owned() });
                }
                held
            }
            200 => {
                file.set_len(0).map_err(HttpError::Store)?;
                0
            }
            _ => return body(url, Ok(answer), MAX_ERROR).and(Err(HttpError::Short { url: url.to_owned() })),
        };
        file.seek(SeekFrom::Start(start)).map_err(HttpError::Store)?;
        let left = size - start;
        let mut reader = answer.body_mut().with_config().limit(left.saturating_add(1)).reader();
        let (mut taken, mut buffer) = (0, vec![0; 64 << 10]);
        loop {
            let n = match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(e) => return Err(lost(ureq::Error::Io(e))),
            };
            taken += n as u64;
            if taken > left {
                return Err(HttpError::TooLarge(size));
            }
            file.write_all(&buffer[..n]).map_err(HttpError::Store)?;
            received(n as u64);
        }
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
