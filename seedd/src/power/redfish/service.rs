//! Requests to a Redfish service and their answers: sessions, redirects, busy services, ETags, tasks.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use host::clock::Stopwatch;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde_json::{Value, json};
use site::hint;
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::fault::Fault;
use super::json::{link, location, parse, path, reason};
use crate::power::net::https::{Call, Client, Reply};

/// Most redirects of one request.
const MAX_HOPS: usize = 3;
/// How often a busy service is asked again, and the longest pause that it may ask for, in seconds.
const MAX_BUSY: usize = 3;
const MAX_PAUSE: u64 = 10;
/// Longest ETag sent back, in bytes.
const MAX_ETAG: usize = 256;
const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";

/// How long a change is waited for before it is judged by what can be read.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Pause before the second look; each further one is half as long again.
    pub first: Duration,
    /// Looks at the state after a change.
    pub looks: usize,
    /// Looks at a task.
    pub task_looks: usize,
}

impl Pace {
    /// State: about 9 s. Task: about a minute.
    pub const USUAL: Pace = Pace { first: Duration::from_millis(700), looks: 6, task_looks: 20 };

    /// The pause before look `n`; the longest is 4 s.
    pub fn pause(&self, n: usize) -> Duration {
        let grown = (1..n).fold(self.first, |d, _| d + d / 2);
        grown.min(Duration::from_secs(4)).min(self.first * 16)
    }
}

/// A resource as it was read.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Where it was read; its own `@odata.id` may be missing.
    pub path: String,
    pub value: Value,
    pub etag: Option<String>,
}

/// What became of a change that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    Done,
    /// A task of the controller had not ended, in this state.
    Unfinished(String),
}

/// One service, with credentials.
pub struct Service<'c> {
    client: &'c Client,
    pub pace: Pace,
    user: &'c str,
    password: &'c [u8],
    login: RefCell<(HeaderName, HeaderValue)>,
    /// The session to end, once there is one.
    session: RefCell<Option<Option<String>>>,
    sessions: RefCell<Option<String>>,
    /// A login was refused: another try could lock the account.
    refused: Cell<bool>,
}

impl<'c> Service<'c> {
    pub fn new(client: &'c Client, user: &'c str, password: &'c [u8], pace: Pace) -> anyhow::Result<Self> {
        let plain = Zeroizing::new([user.as_bytes(), b":", password].concat());
        let text = Zeroizing::new(format!("Basic {}", B64.encode(&plain)));
        let mut value = HeaderValue::from_str(&text).context("writing the credentials")?;
        value.set_sensitive(true);
        let login = RefCell::new((AUTHORIZATION, value));
        let (session, sessions, refused) = (RefCell::default(), RefCell::default(), Cell::new(false));
        Ok(Service { client, pace, user, password, login, session, sessions, refused })
    }

    /// Whether the service took a session only.
    pub fn needs_session(&self) -> bool {
        self.session.borrow().is_some()
    }

    /// The service root. Some services want the slash at its end, some do not.
    pub async fn root(&self) -> Result<Value, Fault> {
        let root = match self.get("/redfish/v1/").await {
            Err(f) if f.is_absent() => self.get("/redfish/v1").await?,
            other => other?,
        };
        let listed = root.value.pointer("/Links/Sessions").and_then(link).map(str::to_owned);
        let below = root.value.get("SessionService").and_then(link).map(|s| format!("{s}/Sessions"));
        *self.sessions.borrow_mut() = listed.or(below);
        Ok(root.value)
    }

    pub async fn get(&self, at: &str) -> Result<Resource, Fault> {
        let reply = self.send("GET", at, None, None).await?;
        let value = parse(&reply.body).with_context(|| format!("reading the controller's {at}"))?;
        let inside = value.get("@odata.etag").and_then(Value::as_str).map(str::to_owned);
        let etag = reply.etag.or(inside).filter(|e| e.len() <= MAX_ETAG && e.bytes().all(|b| b.is_ascii_graphic()));
        Ok(Resource { path: at.trim_end_matches('/').to_owned(), value, etag })
    }

    /// Sends a change, with the ETag where one is known or demanded and without it where it does not fit (RFC 9110, 13.1.1),
    /// and waits for its task.
    pub async fn change(&self, method: &'static str, at: &str, body: &Value, etag: Option<&str>) -> Result<Sent, Fault> {
        let mut conditions: Vec<Option<String>> = etag.map(|e| Some(e.to_owned())).into_iter().collect();
        if let Some(strong) = etag.and_then(|e| e.strip_prefix("W/")) {
            conditions.push(Some(strong.to_owned()));
        }
        conditions.extend([None, Some("*".to_owned())]);
        let (mut first, mut renewed) = (None, method == "POST");
        while !conditions.is_empty() {
            let condition = conditions.remove(0);
            let refused = match self.send(method, at, Some(body), condition.as_deref()).await {
                Ok(reply) => return self.settle(reply).await,
                Err(f) => f,
            };
            let stale = matches!(refused.status(), Some(412 | 428));
            let unfit = stale || (condition.is_some() && refused.status() == Some(400));
            if !unfit {
                return Err(refused);
            }
            if !stale {
                conditions.retain(Option::is_none);
            }
            // It changed since it was read, or does not show its ETag to a list.
            if !renewed && stale {
                renewed = true;
                let fresh = self.get(at).await.ok().and_then(|r| r.etag).filter(|e| Some(e.as_str()) != condition.as_deref());
                if let Some(fresh) = fresh {
                    conditions.insert(0, Some(fresh));
                }
            }
            first.get_or_insert(refused);
        }
        Err(first.unwrap_or_else(|| Fault::Other(anyhow!("nothing was sent to {at}"))))
    }

    /// Ends the session, if there is one: a controller has few of them.
    pub async fn log_out(&self) {
        let at = self.session.borrow().clone().flatten();
        if let Some(at) = at {
            let _ = self.exchange("DELETE", &at, None, None).await;
        }
    }

    /// Uses a session instead of basic authentication (DSP0266, 13.3.4).
    pub async fn log_in(&self) -> Result<(), Fault> {
        let listed = self.sessions.borrow().clone();
        let at = listed.unwrap_or_else(|| SESSIONS.to_owned());
        let password = std::str::from_utf8(self.password).context("reading the password")?;
        let body = json!({ "UserName": self.user, "Password": password });
        let reply = self.hop("POST", &at, Some(&body), None, false).await?;
        let token = reply.token.filter(|_| reply.status < 300);
        let Some(mut token) = token else {
            self.refused.set(true);
            return Err(Fault::refused(reply.status, &at, reason(&reply.body)));
        };
        token.set_sensitive(true);
        let inside = parse(&reply.body).ok().and_then(|v| link(&v).map(str::to_owned));
        let told = reply.location.as_deref().and_then(|l| location(l, &self.client.origin(), false)).and_then(path);
        *self.session.borrow_mut() = Some(told.map(str::to_owned).or(inside));
        *self.login.borrow_mut() = (HeaderName::from_static("x-auth-token"), token);
        Ok(())
    }

    /// An answer of 2xx; everything else is a fault.
    async fn send(&self, method: &'static str, at: &str, body: Option<&Value>, if_match: Option<&str>) -> Result<Reply, Fault> {
        let mut busy = 0;
        loop {
            let reply = self.hop(method, at, body, if_match, true).await?;
            match reply.status {
                200..300 => return Ok(reply),
                // Nothing was carried out yet (RFC 9110, 15.6.4; RFC 6585, 4).
                429 | 503 if busy < MAX_BUSY => {
                    busy += 1;
                    sleep(self.wait(&reply, busy)).await;
                }
                // Basic authentication may be off.
                401 if self.session.borrow().is_none() && !self.refused.get() => {
                    if self.log_in().await.is_err() {
                        return Err(Fault::refused(401, at, reason(&reply.body)));
                    }
                }
                status => return Err(Fault::refused(status, at, reason(&reply.body))),
            }
        }
    }

    fn wait(&self, reply: &Reply, n: usize) -> Duration {
        let usual = self.pace.pause(n);
        reply.retry_after.map_or(usual, |s| Duration::from_secs(s.min(MAX_PAUSE)).min(self.pace.first * 16).max(usual))
    }

    /// Follows redirects within this service; the method stays (RFC 9110, 15.4.9; older ones are used for a slash only).
    async fn hop(
        &self,
        method: &'static str,
        at: &str,
        body: Option<&Value>,
        if_match: Option<&str>,
        with_login: bool,
    ) -> Result<Reply, Fault> {
        let mut at = at.to_owned();
        for _ in 0..=MAX_HOPS {
            let login = with_login.then(|| self.login.borrow().clone());
            let call = Call { method, path: &at, body, if_match, login: login.as_ref() };
            let reply = self.client.exchange(&call).await.map_err(Fault::from)?;
            if !matches!(reply.status, 301 | 302 | 307 | 308) {
                return Ok(reply);
            }
            let to = reply.location.as_deref().unwrap_or_default();
            let Some(next) = location(to, &self.client.origin(), false) else {
                return Err(Fault::Other(hint::with(
                    anyhow!("the controller redirects {at} to {:?}", super::json::shown(to)),
                    "redirects are followed to /redfish/v1/ of the same address only; save the controller with that address",
                )));
            };
            at = next.to_owned();
        }
        Err(Fault::Other(anyhow!("the controller redirects {at} more than {MAX_HOPS} times")))
    }

    async fn exchange(&self, method: &'static str, at: &str, body: Option<&Value>, tag: Option<&str>) -> Result<Reply, Fault> {
        let login = self.login.borrow().clone();
        let call = Call { method, path: at, body, if_match: tag, login: Some(&login) };
        self.client.exchange(&call).await.map_err(Fault::from)
    }

    /// Waits for the task that a 202 names (DSP0266, 7.10 and 12.5).
    async fn settle(&self, reply: Reply) -> Result<Sent, Fault> {
        if reply.status != 202 {
            return Ok(Sent::Done);
        }
        let body = parse(&reply.body).unwrap_or_default();
        let named = body.get("TaskState").and_then(|_| link(&body));
        let monitor = reply.location.as_deref().and_then(|l| location(l, &self.client.origin(), true)).or(named);
        let Some(monitor) = monitor.map(str::to_owned) else { return Ok(Sent::Done) };
        let mut state = body.get("TaskState").and_then(Value::as_str).unwrap_or("Running").to_owned();
        let mut last = reply;
        for look in 1..=self.pace.task_looks {
            sleep(self.wait(&last, look)).await;
            let reply = match self.hop("GET", &monitor, None, None, true).await {
                Ok(reply) => reply,
                // It did not answer in time; it may later.
                Err(_) => continue,
            };
            match judge(&reply) {
                Task::Done => return Ok(Sent::Done),
                Task::Failed(reason) => return Err(Fault::Task(reason)),
                Task::Runs(now) => state = now,
            }
            last = reply;
        }
        Ok(Sent::Unfinished(super::json::shown(&state)))
    }
}

/// Looks at a state until it is as wanted: a number of times, and not much longer than `Look::LONGEST`.
pub struct Look {
    pace: Pace,
    watch: Stopwatch,
    n: usize,
}

impl Look {
    /// A slow controller is not asked again after that.
    const LONGEST: Duration = Duration::from_secs(12);

    pub fn start(service: &Service<'_>) -> Self {
        Look { pace: service.pace, watch: Stopwatch::start(), n: 0 }
    }

    /// Waits for the next look; false when it has been looked long enough.
    pub async fn next(&mut self) -> bool {
        if self.n >= self.pace.looks || (self.n > 0 && self.watch.elapsed() > Look::LONGEST) {
            return false;
        }
        if self.n > 0 {
            sleep(self.pace.pause(self.n)).await;
        }
        self.n += 1;
        true
    }
}

enum Task {
    Done,
    Failed(String),
    Runs(String),
}

fn judge(reply: &Reply) -> Task {
    let body = parse(&reply.body).unwrap_or_default();
    let state = body.get("TaskState").and_then(Value::as_str);
    let bad = body.get("TaskStatus").and_then(Value::as_str) == Some("Critical");
    match (reply.status, state) {
        // Forgotten: it ended, and the state has to show how. The same where monitors may not be read.
        (404 | 410 | 401 | 403 | 405, _) => Task::Done,
        (429 | 503, _) => Task::Runs("Running".to_owned()),
        (400.., _) | (_, Some("Exception" | "Killed" | "Cancelled")) => Task::Failed(reason(&reply.body)),
        (_, Some("Completed")) if bad => Task::Failed(reason(&reply.body)),
        (202, None) => Task::Runs("Running".to_owned()),
        (_, None | Some("Completed")) => Task::Done,
        (_, Some(other)) => Task::Runs(other.to_owned()),
    }
}
