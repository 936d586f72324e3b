//! The daemon's control socket: a Unix socket of mode 0600, for `seedd unseal`, `seedd status` and `seedd console`.
//! One JSON line each way.

mod site_request;

pub use site_request::SiteRequest;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use site::hint::{self, Hint as _};
use web::api::ClockView;

use crate::console::host::{Host, Power};
use crate::console::view::ConsoleView;
use crate::settings::Settings;

/// Its name, wherever it is.
pub const SOCKET: &str = site::layout::CONTROL_SOCKET;
/// Longest request and longest answer read, in bytes.
const MAX_LINE: u64 = 64 << 10;
const MAX_ANSWER: u64 = 2 << 20;
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "op", deny_unknown_fields)]
pub enum Request {
    Unseal {
        passphrase: String,
    },
    Status,
    /// Answers a [`ConsoleView`].
    View,
    /// Stores what an operator chose, as a whole; answers the settings as stored.
    Settings {
        settings: Settings,
    },
    Reboot,
    PowerOff,
    /// Open the site anew: its files were replaced.
    Reload,
    /// Make a standby the issuer.
    Promote,
    /// Answers a [`web::api::ClockView`], as does the next.
    Clock,
    #[serde(rename_all = "camelCase")]
    SetClock {
        /// Unix milliseconds.
        to_ms: u64,
    },
    /// What only a running site can answer.
    Site {
        ask: SiteRequest,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    Done(serde_json::Value),
    Error(String),
}

/// Who answers: a running site, or the set-up that comes before it.
pub trait Controlled: Send + Sync {
    fn status(&self) -> Result<serde_json::Value>;
    fn unseal(&self, passphrase: &str) -> Result<()>;
    /// The site's part of the view; the machine's part (interfaces, disks, settings, clock) comes from [`Host`].
    fn view(&self) -> Result<ConsoleView>;
    fn host(&self) -> &Host;
    /// When stored settings take effect, in words.
    fn takes_effect(&self) -> &'static str {
        "at the next start"
    }
    fn clock(&self) -> Result<ClockView>;
    /// Sets the clock of this machine, in Unix milliseconds.
    fn set_clock(&self, to_ms: u64) -> Result<ClockView>;
    fn site(&self, _ask: SiteRequest) -> Result<serde_json::Value> {
        Err(anyhow!("there is no site here yet"))
    }
    /// Called after new settings were stored.
    fn settings_changed(&self, settings: &Settings) -> Result<()>;
    fn reload(&self) -> Result<()> {
        Err(anyhow!("there is no site here yet"))
    }
    /// The new epoch.
    fn promote(&self) -> Result<u64> {
        Err(anyhow!("there is no site here yet"))
    }
}

/// An open socket without anybody behind it yet.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: Utf8PathBuf,
}

/// A socket that is answered, until the process ends.
#[derive(Clone)]
pub struct Server {
    path: Utf8PathBuf,
    answers: Arc<RwLock<Arc<dyn Controlled>>>,
}

/// Opens the socket; one left behind by a killed daemon is replaced, one that answers is not.
pub fn listen(path: &Utf8Path) -> Result<Socket> {
    if UnixStream::connect(path).is_ok() {
        return Err(anyhow!("another seedd serves this site (its socket {path} answers)"))
            .hint("stop that one first, or use another --data");
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).with_context(|| format!("removing {path}")),
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("opening {path}"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).with_context(|| format!("protecting {path}"))?;
    Ok(Socket { listener, path: path.to_owned() })
}

impl Socket {
    /// Answers one caller after the other on a thread of its own.
    pub fn start(self, first: Arc<dyn Controlled>) -> Server {
        let server = Server { path: self.path, answers: Arc::new(RwLock::new(first)) };
        let answering = server.clone();
        let listener = self.listener;
        std::thread::spawn(move || answering.serve(&listener));
        server
    }
}

impl Server {
    /// From the next request on, `next` answers.
    pub fn hand_over(&self, next: Arc<dyn Controlled>) {
        *self.answers.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// Takes the socket's name away; what is left behind by a crash is replaced at the next start.
    pub fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }

    fn serve(&self, listener: &UnixListener) {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => {
                    let who = self.answers.read().unwrap_or_else(PoisonError::into_inner).clone();
                    if let Err(error) = answer(&stream, who.as_ref()) {
                        tracing::warn!(error = format!("{error:#}"), "answering on the control socket");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting on the control socket");
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
        }
    }
}

fn answer(stream: &UnixStream, who: &dyn Controlled) -> Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let done = read_line::<Request>(stream, MAX_LINE).and_then(|request| carry_out(request, who));
    let reply = match done {
        Ok(value) => Reply::Done(value),
        Err(e) => Reply::Error(match hint::of(&e) {
            Some(hint) => format!("{e:#} ({hint})"),
            None => format!("{e:#}"),
        }),
    };
    write_line(stream, &reply)
}

fn carry_out(request: Request, who: &dyn Controlled) -> Result<serde_json::Value> {
    match request {
        Request::Unseal { passphrase } => {
            let passphrase = zeroize::Zeroizing::new(passphrase);
            who.unseal(&passphrase)?;
            Ok(serde_json::json!({"sealed": false}))
        }
        Request::Status => who.status(),
        Request::View => {
            let mut view = who.view()?;
            who.host().complete(&mut view)?;
            view.takes_effect = who.takes_effect().to_owned();
            serde_json::to_value(view).context("writing the view")
        }
        Request::Settings { settings } => {
            who.host().store_settings(&settings)?;
            who.settings_changed(&settings)?;
            serde_json::to_value(settings).context("writing the settings")
        }
        Request::Clock => serde_json::to_value(who.clock()?).context("writing the clock"),
        Request::SetClock { to_ms } => serde_json::to_value(who.set_clock(to_ms)?).context("writing the clock"),
        Request::Site { ask } => who.site(ask),
        Request::Reboot => who.host().power(Power::Reboot),
        Request::PowerOff => who.host().power(Power::Off),
        Request::Reload => {
            who.reload()?;
            Ok(serde_json::json!({"reloading": true}))
        }
        Request::Promote => Ok(serde_json::json!({"epoch": who.promote()?})),
    }
}

fn read_line<T: serde::de::DeserializeOwned>(stream: &UnixStream, limit: u64) -> Result<T> {
    let mut line = zeroize::Zeroizing::new(String::new());
    BufReader::new(stream.take(limit)).read_line(&mut line).context("reading the control socket")?;
    serde_json::from_str(&line).context("reading the control socket's line")
}

fn write_line<T: Serialize>(mut stream: &UnixStream, value: &T) -> Result<()> {
    let mut line = zeroize::Zeroizing::new(serde_json::to_vec(value)?);
    line.push(b'\n');
    stream.write_all(&line).context("writing to the control socket")
}

/// True if a daemon answers there.
pub fn answers(path: &Utf8Path) -> bool {
    UnixStream::connect(path).is_ok()
}

/// The caller's side.
pub fn ask(path: &Utf8Path, request: &Request) -> Result<serde_json::Value> {
    let stream = UnixStream::connect(path)
        .with_context(|| format!("reaching the daemon at {path}"))
        .hint("is `seedd serve` running for this --data?")?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write_line(&stream, request)?;
    match read_line(&stream, MAX_ANSWER)? {
        Reply::Done(value) => Ok(value),
        Reply::Error(text) => Err(anyhow!(text)),
    }
}

#[cfg(test)]
mod tests;
