//! What may be asked over the socket.

use cluster_seed::ids::{Digest, Hostname, Mac};
use cluster_seed::join::token::TokenId;
use cluster_seed::people::Permission;
use serde::{Deserialize, Serialize};
use site::putting::InUse;
use site::tokens::Token;
use zeroize::Zeroize as _;

use super::answer::{ControllerKind, PowerAction, Privilege};
use super::note::Note;
use crate::settings::Settings;

/// No `Debug`: some of them hold a secret. Each names its answer in [`super::answer`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "op", deny_unknown_fields)]
pub enum Request {
    /// [`super::answer::Unsealed`].
    Unseal {
        passphrase: String,
    },
    /// Forget the keys. [`super::answer::Unsealed`].
    Seal,
    /// [`super::answer::Status`].
    Status,
    /// [`crate::console::view::ConsoleView`].
    View,
    /// Stores what an operator chose, as a whole. Answers the settings as stored.
    Settings {
        settings: Settings,
    },
    /// [`super::answer::Asked`], as does the next.
    Reboot,
    PowerOff,
    /// Open the site again: its files were replaced. [`super::answer::Reloading`].
    Reload,
    /// Make a standby the issuer. [`super::answer::Promoted`], as does the next.
    Promote,
    /// The same of a copy of the site: what it signs fences no other seed. A request of its own: an earlier daemon, which would read
    /// over a field and promote for good, refuses it.
    PromoteDrill,
    /// [`super::answer::Clock`], as does the next.
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

impl Request {
    /// It is answered only after a device elsewhere did. Such requests run beside all others, which take turns.
    pub(super) fn waits_for_a_device(&self) -> bool {
        let Request::Site { ask } = self else { return false };
        matches!(ask, SiteRequest::Act { .. } | SiteRequest::Certificate { .. } | SiteRequest::Trust { .. })
    }

    /// Overwrites the secret that it holds, if any.
    pub(super) fn wipe(&mut self) {
        match self {
            Request::Unseal { passphrase } => passphrase.zeroize(),
            Request::Site { ask: SiteRequest::Controller(c) } => c.password.zeroize(),
            Request::Site { ask: SiteRequest::RotateKeys(r) } => r.passphrase.zeroize(),
            Request::Site { ask: SiteRequest::Change { ask: ChangeRequest::Accept { passphrase, .. } } } => passphrase.zeroize(),
            _ => {}
        }
    }
}

/// What the command line asks a running site for.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "what", deny_unknown_fields)]
pub enum SiteRequest {
    /// The event log. [`super::answer::EventPage`].
    Events(EventQuery),
    /// The last packets of a machine. [`super::answer::Packets`].
    Packets {
        mac: Mac,
    },
    /// A session at the JSON API for a caller on this machine. [`super::answer::Session`].
    Session,
    /// [`super::answer::Metrics`].
    Metrics,
    /// [`super::answer::Power`], as do the next four.
    Power {
        mac: Mac,
    },
    Controller(SetController),
    ForgetController {
        mac: Mac,
    },
    /// Reads a controller's certificate.
    Certificate {
        mac: Mac,
    },
    /// Confirms it.
    Trust {
        mac: Mac,
        fingerprint: String,
    },
    /// Takes a node off the planes. [`super::answer::Nothing`], as does the next.
    Revoke {
        hostname: Hostname,
        reason: String,
    },
    /// Takes a machine that is no node off the list.
    Forget {
        mac: Mac,
    },
    /// [`super::answer::GrubPassword`].
    GrubPassword,
    /// Replaces keys of the seed. [`super::answer::KeysRotated`].
    RotateKeys(RotateKeys),
    /// [`super::answer::PowerDone`].
    Act {
        mac: Mac,
        action: PowerAction,
    },
    /// [`super::answer::DaemonFacts`].
    Doctor,
    /// Signs the event log. [`super::answer::LogSigned`].
    SignLog,
    /// For so many seconds (at most an hour) the made-up machines of the doctor are counted but not written down.
    /// [`super::answer::Nothing`].
    Rehearsal {
        seconds: u64,
    },
    /// Changes what only the command line of the seed changes.
    Change {
        ask: ChangeRequest,
    },
}

/// What only the command line of the seed changes: it has no page and no operation of the JSON API.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "what", deny_unknown_fields)]
pub enum ChangeRequest {
    /// Makes an API token of any user. [`super::answer::ApiTokenMade`].
    CreateApiToken(NewApiToken),
    /// Makes a join token valid that is in an image for one node, once the image is complete. [`super::answer::Nothing`].
    AddImageToken { id: TokenId, token: Box<Token> },
    /// Makes the token of a remote scraper, in place of the one before. [`super::answer::MetricsTokenMade`].
    CreateMetricsToken {
        /// Validity in days.
        days: u32,
    },
    /// [`super::answer::Nothing`], as does the next.
    RevokeMetricsToken,
    /// Puts a payload in use that was published.
    UsePayload { id: Digest },
    /// Puts in use what was built, fetched, imported or adopted. [`super::answer::Nothing`].
    PutInUse { named: Box<InUse> },
    /// Runs the checks of acceptance and signs the report. [`super::answer::Accepted`].
    Accept {
        /// Names of checks; none means those that cluster.yaml requires.
        checks: Vec<String>,
        /// Opens the key for this signature only; an unsealed seed needs none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        passphrase: Option<String>,
    },
    /// A node is about to be replaced. [`super::answer::Nothing`], as does the next.
    ReplaceNode {
        hostname: Hostname,
        /// Although the cluster that it votes in may lose its majority.
        force: bool,
    },
    /// Writes to the log what a command did itself.
    Note { note: Note },
}

/// A wish for an API token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewApiToken {
    pub user: String,
    /// What it is for.
    pub name: String,
    pub scopes: Vec<Permission>,
    /// Validity in days.
    pub days: u32,
}

/// A controller's address and credentials. No `Debug`: it holds a secret.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetController {
    pub mac: Mac,
    pub kind: ControllerKind,
    /// `https://address[:port]` for Redfish, `address[:port]` for IPMI.
    pub address: String,
    pub user: String,
    pub password: String,
    /// For IPMI, as is the next.
    #[serde(default, rename = "cipherSuite", skip_serializing_if = "Option::is_none")]
    pub cipher_suite: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privilege: Option<Privilege>,
}

/// Which keys to replace. No `Debug`: it holds a secret.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateKeys {
    pub passphrase: String,
    /// Names of planes.
    pub planes: Vec<String>,
    pub vault: bool,
    pub release: bool,
}

/// Which events.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Only newer ones; without it the last `back` that fit.
    pub after: Option<i64>,
    pub back: u32,
    pub limit: u32,
    pub mac: Option<Mac>,
    /// Beginnings of kinds; none means all.
    pub kinds: Vec<String>,
}
