//! The daemon's control socket: a Unix socket of mode 0600, for `seedd unseal`, `seedd status` and `seedd console`.
//! One JSON line each way.

/// What may be asked.
mod request;

/// What is answered about power.
mod power;

/// The answer to a change of keys.
mod rotated;

/// A session for a caller on this machine.
mod session;

/// The answers to new tokens.
mod tokens;

/// Events that a command asks the daemon to record.
mod note;

/// What is answered.
pub mod answer;

/// One line each way.
mod wire;

/// The caller's side.
mod client;

pub use client::Client;
pub use note::Note;
pub use request::{ChangeRequest, EventQuery, NewApiToken, Request, RotateKeys, SetController, SiteRequest};

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use site::hint::{self, Hint as _};

use self::answer::{Answer, Clock, Promoted, Reloading, Status, Unsealed, Wish};
use self::wire::{MAX_REQUEST, Reply, TIMEOUT, read_line, write_line};
use crate::console::host::Host;
use crate::console::view::ConsoleView;
use crate::settings::Settings;

/// Its name, wherever it is.
pub const SOCKET: &str = site::layout::CONTROL_SOCKET;

/// Who answers: a running site, or the set-up that comes before it.
pub trait Controlled: Send + Sync {
    fn status(&self) -> Result<Status>;
    fn unseal(&self, passphrase: &str) -> Result<()>;
    fn seal(&self) -> Result<()> {
        Err(anyhow!("this seed has no site yet"))
    }
    /// The site's part of the view; the machine's part (interfaces, disks, settings, clock) comes from [`Host`].
    fn view(&self) -> Result<ConsoleView>;
    fn host(&self) -> &Host;
    /// When stored settings take effect, in words.
    fn takes_effect(&self) -> &'static str {
        "at the next start"
    }
    fn clock(&self) -> Result<Clock>;
    /// Sets the clock of this machine, in Unix milliseconds.
    fn set_clock(&self, to_ms: u64) -> Result<Clock>;
    fn site(&self, _ask: SiteRequest) -> Result<Answer> {
        Err(anyhow!("this seed has no site yet"))
    }
    /// Called after new settings were stored.
    fn settings_changed(&self, settings: &Settings) -> Result<()>;
    fn reload(&self) -> Result<()> {
        Err(anyhow!("this seed has no site yet"))
    }
    /// The new epoch. In a `drill`, what this seed signs fences no other.
    fn promote(&self, _drill: bool) -> Result<u64> {
        Err(anyhow!("this seed has no site yet"))
    }
}

/// An open socket without anybody behind it yet.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: Utf8PathBuf,
}

/// Callers at once; further ones wait to be accepted.
const MAX_CALLERS: usize = 32;

/// A socket that is answered, until the process ends.
#[derive(Clone)]
pub struct Server {
    path: Utf8PathBuf,
    answers: Arc<RwLock<Arc<dyn Controlled>>>,
    /// What changes the seed is carried out one after the other.
    turn: Arc<Mutex<()>>,
    callers: Arc<(Mutex<usize>, Condvar)>,
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
    /// Answers each caller on a thread of its own, so that one who waits for a device keeps no other waiting.
    pub fn start(self, first: Arc<dyn Controlled>) -> Server {
        let answers = Arc::new(RwLock::new(first));
        let server = Server { path: self.path, answers, turn: Arc::default(), callers: Arc::default() };
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
                    let caller = self.admit();
                    let server = self.clone();
                    let started = std::thread::Builder::new().spawn(move || {
                        let _caller = caller;
                        if let Err(error) = server.answer(&stream) {
                            tracing::warn!(error = format!("{error:#}"), "answering on the control socket");
                        }
                    });
                    if let Err(error) = started {
                        tracing::warn!(%error, "starting a thread for the control socket");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting on the control socket");
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
        }
    }

    /// Waits for a place.
    fn admit(&self) -> Caller {
        let (count, freed) = &*self.callers;
        let held = count.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = freed.wait_while(held, |n| *n >= MAX_CALLERS).unwrap_or_else(PoisonError::into_inner);
        *held += 1;
        Caller(self.callers.clone())
    }

    fn answer(&self, stream: &UnixStream) -> Result<()> {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let done = read_line::<Request>(stream, MAX_REQUEST).and_then(|request| {
            let turn = (!request.waits_for_a_device()).then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner));
            let who = self.answers.read().unwrap_or_else(PoisonError::into_inner).clone();
            let done = carry_out(request, who.as_ref());
            drop(turn);
            done
        });
        let reply = match done {
            Ok(value) => Reply::Done(value),
            Err(e) => Reply::Error(match hint::of(&e) {
                Some(hint) => format!("{e:#} ({hint})"),
                None => format!("{e:#}"),
            }),
        };
        write_line(stream, &reply)
    }
}

/// A place that is held until it is dropped.
struct Caller(Arc<(Mutex<usize>, Condvar)>);

impl Drop for Caller {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.1.notify_one();
    }
}

fn carry_out(request: Request, who: &dyn Controlled) -> Result<Answer> {
    Ok(match request {
        Request::Unseal { passphrase } => {
            let passphrase = zeroize::Zeroizing::new(passphrase);
            who.unseal(&passphrase)?;
            Answer::Unsealed(Unsealed { sealed: false })
        }
        Request::Seal => {
            who.seal()?;
            Answer::Unsealed(Unsealed { sealed: true })
        }
        Request::Status => Answer::Status(who.status()?),
        Request::View => {
            let mut view = who.view()?;
            who.host().complete(&mut view)?;
            view.takes_effect = who.takes_effect().to_owned();
            Answer::View(Box::new(view))
        }
        Request::Settings { settings } => {
            who.host().store_settings(&settings)?;
            who.settings_changed(&settings)?;
            Answer::Settings(settings)
        }
        Request::Clock => Answer::Clock(who.clock()?),
        Request::SetClock { to_ms } => Answer::Clock(who.set_clock(to_ms)?),
        Request::Site { ask } => who.site(ask)?,
        Request::Reboot => Answer::Asked(who.host().power(Wish::Reboot)?),
        Request::PowerOff => Answer::Asked(who.host().power(Wish::PowerOff)?),
        Request::Reload => {
            who.reload()?;
            Answer::Reloading(Reloading { reloading: true })
        }
        Request::Promote => Answer::Promoted(Promoted { epoch: who.promote(false)? }),
        Request::PromoteDrill => Answer::Promoted(Promoted { epoch: who.promote(true)? }),
    })
}

#[cfg(test)]
mod tests;
