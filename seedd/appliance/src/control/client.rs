//! The caller's side: one method per request, so that each answer is read as what it is.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::{Digest, Hostname, Mac};
use cluster_seed::join::token::TokenId;
use serde::de::{DeserializeOwned, IgnoredAny};
use site::hint::with;
use site::putting::InUse;
use site::tokens::Token;

use super::answer::{
    Accepted, ApiTokenMade, Clock, DaemonFacts, EventPage, GrubPassword, KeysRotated, LogSigned, Metrics, MetricsTokenMade,
    Nothing, Packets, Power, PowerAction, PowerDone, Promoted, Reloading, Session, Status, Unsealed,
};
use super::note::Note;
use super::request::{ChangeRequest, EventQuery, NewApiToken, Request, RotateKeys, SetController, SiteRequest};
use super::wire::{DEVICE_TIMEOUT, MAX_ANSWER, Reply, TIMEOUT, read_line, write_line};
use crate::console::view::ConsoleView;

/// Asks the daemon behind one socket; every call is a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    socket: Utf8PathBuf,
}

impl Client {
    pub fn new(socket: &Utf8Path) -> Self {
        Client { socket: socket.to_owned() }
    }

    /// True if a daemon answers there.
    pub fn answers(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }

    pub fn status(&self) -> Result<Status> {
        self.ask(Request::Status)
    }

    pub fn unseal(&self, passphrase: &str) -> Result<Unsealed> {
        self.ask(Request::Unseal { passphrase: passphrase.to_owned() })
    }

    pub fn seal(&self) -> Result<Unsealed> {
        self.ask(Request::Seal)
    }

    pub fn view(&self) -> Result<ConsoleView> {
        self.ask(Request::View)
    }

    pub fn reload(&self) -> Result<Reloading> {
        self.ask(Request::Reload)
    }

    /// `drill`: of a copy of the site.
    pub fn promote(&self, drill: bool) -> Result<Promoted> {
        let request = if drill { Request::PromoteDrill } else { Request::Promote };
        self.ask(request).map_err(of_another_version)
    }

    pub fn clock(&self) -> Result<Clock> {
        self.ask(Request::Clock)
    }

    /// `to_ms`: Unix milliseconds.
    pub fn set_clock(&self, to_ms: u64) -> Result<Clock> {
        self.ask(Request::SetClock { to_ms })
    }

    pub fn events(&self, query: EventQuery) -> Result<EventPage> {
        self.ask_site(SiteRequest::Events(query))
    }

    pub fn packets(&self, mac: Mac) -> Result<Packets> {
        self.ask_site(SiteRequest::Packets { mac })
    }

    /// A session at the JSON API.
    pub fn session(&self) -> Result<Session> {
        self.ask_site(SiteRequest::Session)
    }

    pub fn metrics(&self) -> Result<Metrics> {
        self.ask_site(SiteRequest::Metrics)
    }

    pub fn revoke(&self, hostname: Hostname, reason: &str) -> Result<Nothing> {
        self.ask_site(SiteRequest::Revoke { hostname, reason: reason.to_owned() })
    }

    pub fn forget(&self, mac: Mac) -> Result<Nothing> {
        self.ask_site(SiteRequest::Forget { mac })
    }

    pub fn power(&self, mac: Mac) -> Result<Power> {
        self.ask_site(SiteRequest::Power { mac })
    }

    pub fn set_controller(&self, controller: SetController) -> Result<Power> {
        self.ask_site(SiteRequest::Controller(controller))
    }

    pub fn forget_controller(&self, mac: Mac) -> Result<Power> {
        self.ask_site(SiteRequest::ForgetController { mac })
    }

    /// Reads the certificate of the machine's controller.
    pub fn certificate(&self, mac: Mac) -> Result<Power> {
        self.ask_site(SiteRequest::Certificate { mac })
    }

    /// Confirms the certificate with this sha256.
    pub fn trust(&self, mac: Mac, fingerprint: &str) -> Result<Power> {
        self.ask_site(SiteRequest::Trust { mac, fingerprint: fingerprint.to_owned() })
    }

    pub fn act(&self, mac: Mac, action: PowerAction) -> Result<PowerDone> {
        self.ask_site(SiteRequest::Act { mac, action })
    }

    /// Needs an unsealed seed.
    pub fn grub_password(&self) -> Result<GrubPassword> {
        self.ask_site(SiteRequest::GrubPassword)
    }

    pub fn rotate_keys(&self, which: RotateKeys) -> Result<KeysRotated> {
        self.ask_site(SiteRequest::RotateKeys(which))
    }

    pub fn sign_log(&self) -> Result<LogSigned> {
        self.ask_site(SiteRequest::SignLog)
    }

    pub fn create_api_token(&self, new: NewApiToken) -> Result<ApiTokenMade> {
        self.change(ChangeRequest::CreateApiToken(new))
    }

    /// Makes the token of an image for one node valid.
    pub fn add_image_token(&self, id: TokenId, token: Token) -> Result<Nothing> {
        self.change(ChangeRequest::AddImageToken { id, token: Box::new(token) })
    }

    /// `days`: how long it is valid.
    pub fn create_metrics_token(&self, days: u32) -> Result<MetricsTokenMade> {
        self.change(ChangeRequest::CreateMetricsToken { days })
    }

    pub fn revoke_metrics_token(&self) -> Result<Nothing> {
        self.change(ChangeRequest::RevokeMetricsToken)
    }

    /// Puts a published payload in use.
    pub fn use_payload(&self, id: Digest) -> Result<Nothing> {
        self.change(ChangeRequest::UsePayload { id })
    }

    /// Puts in use what is in the data directory; nothing of it is written if any part is missing or not signed by its maker.
    pub fn put_in_use(&self, named: &InUse) -> Result<Nothing> {
        self.change(ChangeRequest::PutInUse { named: Box::new(named.clone()) })
    }

    /// Runs checks, those of cluster.yaml if none is named. A sealed seed needs the passphrase.
    pub fn accept(&self, checks: &[String], passphrase: Option<&str>) -> Result<Accepted> {
        self.change(ChangeRequest::Accept { checks: checks.to_vec(), passphrase: passphrase.map(str::to_owned) })
    }

    /// Refused without `force` if the cluster that the node votes in would lose its majority.
    pub fn replace_node(&self, hostname: Hostname, force: bool) -> Result<Nothing> {
        self.change(ChangeRequest::ReplaceNode { hostname, force })
    }

    pub fn note(&self, note: Note) -> Result<Nothing> {
        self.change(ChangeRequest::Note { note })
    }

    pub fn doctor(&self) -> Result<DaemonFacts> {
        self.ask_site(SiteRequest::Doctor)
    }

    /// Announces made-up machines for so many seconds; 0 ends it.
    pub fn rehearse(&self, seconds: u64) -> Result<Nothing> {
        self.ask_site(SiteRequest::Rehearsal { seconds })
    }

    /// Has something done whose answer says nothing new.
    pub fn send(&self, request: Request) -> Result<()> {
        self.ask::<IgnoredAny>(request).map(drop)
    }

    fn change<T: DeserializeOwned>(&self, ask: ChangeRequest) -> Result<T> {
        self.ask_site(SiteRequest::Change { ask }).map_err(of_another_version)
    }

    fn ask_site<T: DeserializeOwned>(&self, ask: SiteRequest) -> Result<T> {
        self.ask(Request::Site { ask })
    }

    fn ask<T: DeserializeOwned>(&self, mut request: Request) -> Result<T> {
        let answer = self.exchange(&request);
        request.wipe();
        answer
    }

    fn exchange<T: DeserializeOwned>(&self, request: &Request) -> Result<T> {
        let stream = UnixStream::connect(&self.socket).map_err(|error| {
            let hint = remedy(error.kind());
            with(anyhow!(error).context(format!("reaching the daemon at {}", self.socket)), hint)
        })?;
        let limit = if request.waits_for_a_device() { DEVICE_TIMEOUT } else { TIMEOUT };
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        write_line(&stream, request)?;
        match read_line(&stream, MAX_ANSWER).map_err(|e| late(e, limit))? {
            Reply::Done(value) => Ok(value),
            Reply::Error(text) => Err(anyhow!(text)),
        }
    }
}

/// A daemon that was not restarted after an upgrade does not know every request.
fn of_another_version(error: anyhow::Error) -> anyhow::Error {
    if !error.to_string().contains("unknown variant") {
        return error;
    }
    site::hint::with(error, "the running seed is of another version: restart it, and run the command again")
}

/// A read that timed out is "resource temporarily unavailable" to the system, which helps no reader.
pub(super) fn late(error: anyhow::Error, limit: Duration) -> anyhow::Error {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    if !matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut)) {
        return error;
    }
    let text = format!("the daemon did not answer within {} s, and continues", limit.as_secs());
    site::hint::with(anyhow!(text), "`seedd tail` shows how it ends")
}

/// What to do about a socket that cannot be reached.
fn remedy(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::PermissionDenied => "run this as root, or as the user that runs `seedd serve`",
        ErrorKind::InvalidInput => {
            "the path of a socket has at most 107 bytes: give --data a shorter one, for example a symbolic link"
        }
        _ => "is `seedd serve` running for this --data?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_of_another_version_is_to_be_restarted() {
        let unknown = serde_json::from_str::<ChangeRequest>(r#"{"what":"fly"}"#).err().unwrap();
        let hint = |error| site::hint::of(&of_another_version(error));
        assert!(hint(anyhow!("reading the control socket's line: {unknown}")).unwrap().contains("restart it"));
        assert_eq!(hint(anyhow!("there is no payload")), None);
    }

    #[test]
    fn the_hint_names_the_cause() {
        for (kind, part) in [
            (ErrorKind::NotFound, "seedd serve` running"),
            (ErrorKind::ConnectionRefused, "seedd serve` running"),
            (ErrorKind::PermissionDenied, "as root"),
            (ErrorKind::InvalidInput, "107 bytes"),
        ] {
            assert!(remedy(kind).contains(part), "{kind}");
        }
        let long = Client::new(Utf8Path::new(&format!("/tmp/{}/socket", "x".repeat(120))));
        let error = long.status().unwrap_err();
        assert!(site::hint::all(&error, &|_| None).iter().any(|h| h.contains("107 bytes")), "{error:#}");
    }
}
