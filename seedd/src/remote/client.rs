//! From requests to values and errors.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use appliance::control;
use camino::Utf8Path;
use serde::Deserialize;
use serde_json::Value;
use site::Site;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use super::http::{Call, Reply, send};
use super::server::Server;
use super::trust::{self, Believed, Trust};

/// Largest answer read, in bytes: lists of ten thousand machines.
const MAX_ANSWER: usize = 64 << 20;
/// Most pages of a list that are read: no site has more.
const MAX_PAGES: u64 = 1_000;

/// The seed refused a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    pub status: u16,
    pub error: String,
    pub hint: Option<String>,
}

impl Refused {
    /// What the caller can do about it.
    pub fn hint(&self) -> Option<String> {
        match (self.status, &self.hint) {
            (_, Some(hint)) => Some(hint.clone()),
            (401, None) => Some("log in: `seedd login`".to_owned()),
            (423, None) => Some("unseal it first: `seedd unseal`".to_owned()),
            _ => None,
        }
    }
}

/// The body of an answer that is an error. Unknown fields are those of newer seeds.
#[derive(Deserialize)]
struct ErrorBody {
    /// RFC 9457 calls it `detail` or `title`.
    error: Option<String>,
    detail: Option<String>,
    title: Option<String>,
    hint: Option<String>,
}

/// A seed whose JSON API is asked.
pub struct Remote {
    server: Server,
    trust: Arc<Trust>,
    token: Option<Zeroizing<String>>,
    runtime: Runtime,
    /// Of a seed on this machine: gives another token when this one has ended.
    control: Option<control::Client>,
}

impl Remote {
    /// A seed elsewhere.
    pub fn new(server: Server, believed: &Believed, token: Option<Zeroizing<String>>) -> Result<Self> {
        Ok(Remote { server, trust: Trust::new(believed)?, token, runtime: runtime()?, control: None })
    }

    /// The seed that serves a site on this machine.
    pub fn local(data: &Utf8Path) -> Result<Self> {
        let control = control::Client::new(&Site::new(data).control_socket());
        let session = control.session()?;
        let server = session.url.parse().context("reading where the seed's API is")?;
        let fingerprint = session.fingerprint.as_deref().map(trust::fingerprint).transpose()?;
        let token = Some(Zeroizing::new(session.token));
        Ok(Remote { control: Some(control), ..Remote::new(server, &Believed { fingerprint, ca: None }, token)? })
    }

    /// A seed whose certificate nobody has confirmed yet: nothing secret may be sent to it.
    pub fn stranger(server: Server) -> Result<Self> {
        Ok(Remote { server, trust: Trust::look(), token: None, runtime: runtime()?, control: None })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    pub fn get(&self, path: &str) -> Result<Value> {
        self.ask("GET", path, None)
    }

    /// The rows of a list: those under `key` of an answer, and of its other pages if it has more than one.
    pub fn list(&self, path: &str, key: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut answer = self.get(path)?;
        for next in 2..=MAX_PAGES {
            match answer.get_mut(key).map(Value::take) {
                Some(Value::Array(rows)) => all.extend(rows),
                _ => return Err(anyhow!("{} answers {path} without {key}", self.server)),
            }
            if answer.get("pages").and_then(Value::as_u64).is_none_or(|pages| pages < next) {
                return Ok(all);
            }
            let mark = if path.contains('?') { '&' } else { '?' };
            answer = self.get(&format!("{path}{mark}page={next}"))?;
        }
        Err(anyhow!("{} answers {path} with more than {MAX_PAGES} pages", self.server))
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.ask("POST", path, Some(body))
    }

    pub fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.ask("PUT", path, Some(body))
    }

    pub fn delete(&self, path: &str) -> Result<Value> {
        self.ask("DELETE", path, None)
    }

    /// The bytes of an answer that is not JSON.
    pub fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        Ok(self.exchange("GET", path, None)?.body)
    }

    fn ask(&self, method: &'static str, path: &str, body: Option<&Value>) -> Result<Value> {
        let reply = self.exchange(method, path, body)?;
        serde_json::from_slice(&reply.body).with_context(|| format!("reading the answer of {}", self.server))
    }

    fn exchange(&self, method: &'static str, path: &str, body: Option<&Value>) -> Result<Reply> {
        let token = self.token.as_ref().map(|t| t.as_str());
        let reply = self.once(method, path, body, token)?;
        // Nothing was done: whatever it was can be asked again.
        let reply = match &self.control {
            Some(control) if reply.status == 401 => {
                let fresh = Zeroizing::new(control.session()?.token);
                self.once(method, path, body, Some(fresh.as_str()))?
            }
            _ => reply,
        };
        if (200..300).contains(&reply.status) { Ok(reply) } else { Err(refusal(&reply).into()) }
    }

    fn once(&self, method: &'static str, path: &str, body: Option<&Value>, token: Option<&str>) -> Result<Reply> {
        let body = body.map(|b| b.to_string().into_bytes());
        let call = Call { method, path, body, token, headers: &[], most: MAX_ANSWER };
        self.runtime.block_on(send(&self.server, &self.trust, call))
    }
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")
}

fn refusal(reply: &Reply) -> Refused {
    let body: Option<ErrorBody> = serde_json::from_slice(&reply.body).ok();
    let (error, hint) = body.map_or((None, None), |b| (b.error.or(b.detail).or(b.title), b.hint));
    let plain = |text: String| text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
    Refused {
        status: reply.status,
        error: error.map_or_else(|| format!("the seed answered with status {}", reply.status), plain),
        hint: hint.map(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_and_what_to_do() {
        let of = |status, body: &str| refusal(&Reply { status, body: body.into() });
        let told = of(409, r#"{"error":"no\u001b[2J","hint":"do it otherwise","requestId":"1"}"#);
        assert_eq!((told.error.as_str(), told.hint().as_deref()), ("no\u{fffd}[2J", Some("do it otherwise")));
        let problem = of(403, r#"{"type":"about:blank","title":"Forbidden","detail":"not yours"}"#);
        assert_eq!((problem.error.as_str(), problem.hint()), ("not yours", None));
        assert!(of(401, "{}").hint().unwrap().contains("seedd login"));
        assert!(of(423, "x").hint().unwrap().contains("seedd unseal") && of(502, "x").error.contains("502"));
    }
}
