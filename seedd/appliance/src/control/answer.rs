//! What is answered. The structs are the shape of the socket's JSON and of the command line's `--json`, and nothing else.

use std::net::{Ipv4Addr, SocketAddrV4};

use cluster_seed::events::Cause;
use cluster_seed::ids::{Digest, Mac};
use cluster_seed::proof::ProofState;
use serde::{Deserialize, Serialize};
use site::store::events::{EventRow, PacketFacts as StoredFacts};

pub use super::power::{Controller, ControllerKind, OfferedCertificate, Power, PowerAction, PowerDone, Privilege};
pub use super::rotated::{KeyChange, KeysRotated, ReleaseChange, VaultChange};
pub use super::session::Session;
pub use super::tokens::{ApiTokenMade, MetricsTokenMade};
use crate::console::view::ConsoleView;
use crate::settings::Settings;

/// What a server answers. The caller knows from its request which one it reads.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Answer {
    Unsealed(Unsealed),
    Status(Status),
    View(Box<ConsoleView>),
    Settings(Settings),
    Asked(Asked),
    Reloading(Reloading),
    Promoted(Promoted),
    Clock(Clock),
    Events(EventPage),
    Packets(Packets),
    Session(Session),
    Metrics(Metrics),
    Power(Power),
    PowerDone(PowerDone),
    Doctor(DaemonFacts),
    GrubPassword(GrubPassword),
    KeysRotated(KeysRotated),
    LogSigned(LogSigned),
    ApiTokenMade(ApiTokenMade),
    MetricsTokenMade(MetricsTokenMade),
    Accepted(Accepted),
    Nothing(Nothing),
}

/// The report of acceptance that was signed and recorded, in the shape of `seedd accept --json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Accepted {
    pub report: serde_json::Value,
}

/// The checkpoint that was signed: the last event that it covers, and the hash of that event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSigned {
    pub event: i64,
    pub hash: String,
}

/// What opens GRUB's editor on a node. No useful `Debug`: it holds a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrubPassword {
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for GrubPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrubPassword").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

/// Whether the keys are open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsealed {
    pub sealed: bool,
}

/// The status of a site, or of the set-up that comes before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Status {
    Site(Box<SiteStatus>),
    SetUp(SetUpStatus),
}

/// The status of a running site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SiteStatus {
    pub site: String,
    pub version: String,
    /// There is no administrator yet.
    pub setup_needed: bool,
    pub sealed: bool,
    pub mode: SeedMode,
    pub epoch: u64,
    pub snapshot: Option<Digest>,
    /// Result of the snapshot's proof.
    pub proof: Option<ProofState>,
    pub roles: Vec<Role>,
    /// Unix seconds by the seed's clock.
    pub clock: u64,
    /// sha256 of the current TLS certificate, as upper-case hex pairs with colons.
    pub fingerprint: Option<String>,
    /// The same of the certificate that is shown while sealed; `None` before the first unseal.
    #[serde(default)]
    pub sealed_fingerprint: Option<String>,
    /// Conditions an operator should act on, as sentences.
    pub warnings: Vec<String>,
    /// The warnings that are also shown before login.
    pub lasting: Vec<String>,
}

/// The status while there is no site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetUpStatus {
    /// Always true.
    pub setup: bool,
    /// Always `None`.
    pub site: Option<String>,
    pub sealed: bool,
    pub warnings: Vec<String>,
}

/// What a seed may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SeedMode {
    Active,
    Standby,
    Fenced,
}

/// A role, and the artifact built for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    pub name: String,
    pub description: String,
    pub artifact: Option<Digest>,
    /// Bytes.
    pub min_disk: Option<u64>,
}

/// A word was left for the system's path units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub asked: Wish,
}

/// Also the name of the file that the path units wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    Reboot,
    PowerOff,
}

/// The site is opened again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloading {
    pub reloading: bool,
}

/// The epoch that this seed began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promoted {
    pub epoch: u64,
}

/// The seed's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    /// Unix milliseconds.
    pub clock_ms: u64,
    /// What it follows, as text.
    pub source: String,
    /// It follows a time server.
    pub synchronised: bool,
    /// Stratum announced to the nodes (RFC 5905: 1 is best).
    pub stratum: Option<u8>,
    /// Seconds from the source; negative is slow.
    pub offset: Option<f64>,
    /// Parts per million the clock would gain or lose if left alone.
    pub drift: Option<f64>,
    /// Why the time is implausible.
    pub doubt: Option<String>,
}

/// A part of the event log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventPage {
    pub events: Vec<Event>,
    /// Id to go on from.
    pub next: i64,
    /// There are newer ones.
    pub more: bool,
}

/// One event with its machine's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub id: i64,
    /// Unix milliseconds.
    pub at: u64,
    pub kind: String,
    pub text: String,
    pub machine: Option<i64>,
    pub mac: Option<Mac>,
    pub actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<PacketFacts>,
}

impl Event {
    /// `mac`: of the event's machine.
    pub fn of(row: EventRow, mac: Option<Mac>) -> Self {
        let EventRow { id, at, kind, text, machine, actor, facts } = row;
        Event { id, at, kind, text, machine, mac, actor, facts: facts.map(PacketFacts::from) }
    }
}

/// What a packet contained. Texts come from the wire: printable, bounded, untrusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PacketFacts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iface: Option<String>,
    /// The DHCP transaction, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ipxe: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// Another DHCP server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Stable name of the reason for no answer or a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The same reason where code decides by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// How many more events of this kind the row summarises, the last of them at `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
}

impl From<StoredFacts> for PacketFacts {
    fn from(f: StoredFacts) -> Self {
        PacketFacts {
            iface: f.iface,
            xid: f.xid,
            arch: f.arch,
            ipxe: f.ipxe,
            ip: f.ip,
            server: f.server,
            file: f.file,
            bytes: f.bytes,
            why: f.why,
            cause: f.cause,
            vendor_class: f.vendor_class,
            hostname: f.hostname,
            uuid: f.uuid,
            repeats: f.repeats,
        }
    }
}

/// The last packets of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packets {
    /// How many.
    pub packets: u32,
    /// A pcapng file, base64 in JSON.
    #[serde(with = "base64_text")]
    pub pcapng: Vec<u8>,
}

mod base64_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// In Prometheus' text format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    pub text: String,
}

/// What the doctor wants to know of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonFacts {
    /// Netboot interface; empty while none is served.
    pub iface: String,
    /// HTTP address for machines.
    pub listen: SocketAddrV4,
    /// It is the issuer of its site.
    pub active: bool,
    pub sealed: bool,
    pub pid: u32,
}
