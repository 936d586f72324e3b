//! A client for the seed's HTTP API.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::tls::Certificate;

use crate::trust::{compared_agent, https_agent};

/// Most bytes read of any answer.
const MAX_ANSWER: u64 = 16 << 20;
/// Unsealing and logging in compute an expensive hash, which is slow while machines are emulated.
const PATIENCE: Duration = Duration::from_secs(90);
/// Bytes of a capsule that are sent at once.
const PIECE: usize = 4 << 20;
/// Events asked for at once.
const PAGE: u32 = 500;

/// One answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The body of a successful answer; otherwise the seed's error.
    pub fn good(self, what: &str) -> Result<Value> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let hint = self.body["hint"].as_str().map(|h| format!(" (hint: {h})")).unwrap_or_default();
        bail!("{what}: {} {}{hint}", self.status, self.body["error"].as_str().unwrap_or("no message"))
    }

    /// The body of a refusal with exactly this status.
    pub fn refused(self, status: u16, what: &str) -> Result<Value> {
        if self.status == status {
            return Ok(self.body);
        }
        bail!("{what}: answered {}, not {status}: {}", self.status, self.body)
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Progress {
    pub written: u64,
    pub total: u64,
    pub rate: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Enrollment {
    pub id: String,
    pub state: String,
    pub hostname: Option<String>,
    #[serde(default)]
    pub addresses: Vec<(String, String)>,
    #[serde(default, rename = "wrongCodes")]
    pub wrong_codes: u32,
    pub progress: Option<Progress>,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Machine {
    pub id: i64,
    pub mac: String,
    pub ip: Option<String>,
    pub enrollment: Option<Enrollment>,
}

impl Machine {
    pub fn state(&self) -> &str {
        self.enrollment.as_ref().map_or("", |e| e.state.as_str())
    }

    /// Its address on each plane.
    pub fn planes(&self) -> BTreeMap<String, String> {
        self.enrollment.as_ref().map(|e| e.addresses.iter().cloned().collect()).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    pub id: i64,
    /// Unix milliseconds by the seed's clock.
    pub at: u64,
    pub kind: String,
    pub text: String,
    pub machine: Option<i64>,
}

/// An operator's decision about a machine.
#[derive(Debug, Clone)]
pub struct Decision<'a> {
    pub code: &'a str,
    pub role: &'a str,
    pub hostname: &'a str,
    pub disk: &'a str,
    /// Revoke and replace the node with this name.
    pub replace: bool,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Fetched {
    pub status: u16,
    /// Content-Type.
    pub kind: String,
    pub bytes: Vec<u8>,
}

impl Fetched {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A client, logged in or not.
#[derive(Debug)]
pub struct Client {
    agent: ureq::Agent,
    pub base: String,
    pub token: Option<String>,
}

/// An HTTP client that returns every answer, whatever its status.
pub fn http_agent(patience: Duration) -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(patience)).build().into()
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>, what: &str) -> Result<Answer> {
    let mut response = response.with_context(|| format!("asking the seed: {what}"))?;
    let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string();
    let text = text.with_context(|| format!("reading the answer to {what}"))?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answer { status: response.status().as_u16(), body })
}

impl Client {
    /// For the web interface at `base`, whose certificate is one of `roots` or signed by one.
    pub fn new(base: &str, roots: &[Certificate<'static>]) -> Self {
        Client { agent: https_agent(PATIENCE, roots), base: base.to_owned(), token: None }
    }

    /// For the web interface at `base`, whose certificate was compared with a printed fingerprint.
    pub fn compared(base: &str) -> Self {
        Client { agent: compared_agent(PATIENCE), base: base.to_owned(), token: None }
    }

    /// The certificate was compared with the fingerprint that the server printed.
    pub fn trust_compared(&mut self) {
        self.agent = compared_agent(PATIENCE);
    }

    /// Trusts only `roots` from now on.
    pub fn trust(&mut self, roots: &[Certificate<'static>]) {
        self.agent = https_agent(PATIENCE, roots);
    }

    fn authorization(&self) -> String {
        format!("Bearer {}", self.token.as_deref().unwrap_or(""))
    }

    pub fn get(&self, path: &str) -> Result<Answer> {
        let ask = || self.agent.get(format!("{}{path}", self.base)).header("authorization", self.authorization()).call();
        // A seed that reloads its site ends connections that wait for a request, perhaps while one is sent: RFC 9112, section 9.3.1.
        let response = match ask() {
            Err(ureq::Error::Io(_)) => ask(),
            other => other,
        };
        answer(response, path)
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("authorization", self.authorization());
        answer(request.send_json(body), path)
    }

    /// Any answer, byte for byte.
    pub fn fetch(&self, path: &str) -> Result<Fetched> {
        let request = self.agent.get(format!("{}{path}", self.base)).header("authorization", self.authorization());
        let mut response = request.call().with_context(|| format!("asking for {path}"))?;
        let kind = response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let bytes =
            response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().with_context(|| format!("reading {path}"))?;
        Ok(Fetched { status: response.status().as_u16(), kind, bytes })
    }

    /// A page as text.
    pub fn page(&self, path: &str) -> Result<String> {
        let request = self.agent.get(format!("{}{path}", self.base)).header("authorization", self.authorization());
        let mut response = request.call().with_context(|| format!("asking for {path}"))?;
        response.body_mut().with_config().limit(MAX_ANSWER).read_to_string().with_context(|| format!("reading {path}"))
    }

    /// Sends a form and waits for `patience` at most.
    pub fn form(&self, path: &str, fields: &[(&str, &str)], patience: Duration) -> Result<u16> {
        let request = self.agent.post(format!("{}{path}", self.base)).config().timeout_global(Some(patience)).build();
        let response = request.send_form(fields.iter().copied()).with_context(|| format!("sending the form of {path}"))?;
        Ok(response.status().as_u16())
    }

    pub fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        let request = self.agent.put(format!("{}{path}", self.base)).header("authorization", self.authorization());
        answer(request.send_json(body), path)
    }

    /// The site: its keys, underlay, capsules and job.
    pub fn site(&self) -> Result<Value> {
        self.get("/api/v1/site")?.good("asking for the site")
    }

    /// Saves a capsule of the seed as `to`; its size.
    pub fn download(&self, name: &str, to: &Path) -> Result<u64> {
        let url = format!("{}/capsules/{name}", self.base);
        let response = self.agent.get(&url).header("authorization", self.authorization()).call();
        let mut response = response.with_context(|| format!("asking for {url}"))?;
        if response.status().as_u16() != 200 {
            bail!("{url}: {}", response.status());
        }
        let mut file = std::fs::File::create(to).with_context(|| format!("making {}", to.display()))?;
        std::io::copy(&mut response.body_mut().as_reader(), &mut file).with_context(|| format!("saving {url}"))
    }

    /// Uploads bytes `at` to `until` of a capsule in pieces; returns the size on the seed.
    pub fn upload(&self, name: &str, content: &[u8], at: usize, until: usize) -> Result<usize> {
        let mut at = at;
        while at < until {
            let end = until.min(at + PIECE);
            let url = format!("{}/api/v1/capsules/{name}?at={at}&total={}", self.base, content.len());
            let request = self.agent.put(&url).header("authorization", self.authorization());
            answer(request.send(&content[at..end]), &url)?.good("uploading a capsule")?;
            at = end;
        }
        Ok(at)
    }

    pub fn keep_token(&mut self, body: &Value) -> Result<()> {
        self.token = Some(body["token"].as_str().context("an answer without a token")?.to_owned());
        Ok(())
    }

    /// Makes the first administrator; logged in afterwards.
    pub fn setup(&mut self, code: &str, user: &str, password: &str) -> Result<()> {
        let body = json!({"code": code, "user": user, "password": password});
        let body = self.post("/api/v1/setup", &body)?.good("setting up the first administrator")?;
        self.keep_token(&body)
    }

    pub fn login(&mut self, user: &str, password: &str) -> Result<()> {
        let body = self.try_login(user, password)?.good("logging in")?;
        self.keep_token(&body)
    }

    /// The answer to a login; an error if the seed did not answer.
    pub fn try_login(&self, user: &str, password: &str) -> Result<Answer> {
        self.post("/api/v1/login", &json!({"user": user, "password": password}))
    }

    pub fn unseal(&self, passphrase: &str) -> Result<Answer> {
        self.post("/api/v1/unseal", &json!({"passphrase": passphrase}))
    }

    pub fn status(&self) -> Result<Value> {
        self.get("/api/v1/status")?.good("asking for the status")
    }

    pub fn machines(&self) -> Result<Vec<Machine>> {
        let body = self.get("/api/v1/machines")?.good("listing machines")?;
        let list = if body.is_array() { body } else { body["machines"].clone() };
        serde_json::from_value(list).context("reading the list of machines")
    }

    /// Kernel names of the machine's disks, with sizes in bytes.
    pub fn disks(&self, machine: i64) -> Result<Vec<(String, u64)>> {
        let body = self.get(&format!("/api/v1/machines/{machine}"))?.good("asking for a machine")?;
        let disks = body["facts"]["disks"].as_array().cloned().unwrap_or_default();
        Ok(disks.iter().filter_map(|d| Some((d["name"].as_str()?.to_owned(), d["size"].as_u64()?))).collect())
    }

    pub fn approve(&self, enrollment: &str, decision: &Decision<'_>) -> Result<Answer> {
        let Decision { code, role, hostname, disk, replace } = decision;
        let body = json!({"code": code, "role": role, "hostname": hostname, "disk": disk, "replace": replace});
        self.post(&format!("/api/v1/enrollments/{enrollment}/approve"), &body)
    }

    /// Approves whichever machine shows the code.
    pub fn approve_code(&self, decision: &Decision<'_>) -> Result<Answer> {
        let Decision { code, role, hostname, disk, replace } = decision;
        self.post("/api/v1/approve", &json!({"code": code, "role": role, "hostname": hostname, "disk": disk, "replace": replace}))
    }

    /// Every event so far.
    pub fn events(&self) -> Result<Vec<Event>> {
        /// Most pages read: far more than any run produces.
        const MAX_PAGES: usize = 200;
        let mut all: Vec<Event> = Vec::new();
        for _ in 0..MAX_PAGES {
            let after = all.last().map_or(0, |e| e.id);
            let body = self.get(&format!("/api/v1/events?after={after}&limit={PAGE}"))?.good("reading events")?;
            let list = if body.is_array() { body } else { body["events"].clone() };
            let page: Vec<Event> = serde_json::from_value(list).context("reading events")?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
        bail!("the event log does not end")
    }
}
