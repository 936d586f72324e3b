//! `SeedApi`: all that the pages and the JSON API ask of the daemon, and the plain data they get back.
//!
//! Implemented by seedd on its store, and by the tests of this crate in memory. Every call may block (SQLite, scrypt):
//! handlers run them on tokio's blocking threads.

use std::net::IpAddr;

use camino::Utf8PathBuf;
use cluster_seed::agent::{Claim, ClaimReply, Hello, HelloReply, Report, ReportReply, Reveal, RevealReply, StatusReply};
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::epoch::{EpochProof, EpochReply};
use cluster_seed::ids::{Digest, EnrollmentId, Mac};
use cluster_seed::machine::HardwareFacts;
use cluster_seed::peers::PeersFile;
use cluster_seed::proof::ProofState;
use cluster_seed::seal::Sealed;
use serde::{Deserialize, Serialize};

pub use crate::api_flight::{Finding, PacketFacts, Tone};
pub use crate::api_packages::{DamagedView, ExtraView, PackagesView, ProvenRole, SnapshotView};
pub use crate::api_power::{BmcKind, BmcView, PowerAction, PowerDone, PowerView, SetPower};
use crate::site_api::SiteApi;

/// What went wrong, by what the caller can do about it; `why` is shown outside, the chain goes to the log only.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400
    #[error("{why}")]
    BadRequest { why: String, hint: Option<String> },
    /// 401
    #[error("log in first")]
    Unauthorized,
    /// 403
    #[error("{why}")]
    Forbidden { why: String },
    /// 404
    #[error("no such {what}")]
    NotFound { what: &'static str },
    /// 409
    #[error("{why}")]
    Conflict { why: String, hint: Option<String> },
    /// 423
    #[error("the seed is sealed")]
    Sealed,
    /// 429
    #[error("too many tries; wait {seconds} s")]
    TooMany { seconds: u64 },
    /// 503
    #[error("{why}")]
    Unavailable { why: String },
    /// 500; the text is for the log, outside only "internal error" is said.
    #[error("{0}")]
    Internal(String),
}

/// Query of GET /boot/ipxe; every value comes from a machine.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct BootQuery {
    pub mac: Option<String>,
    pub arch: Option<String>,
    pub uuid: Option<String>,
    /// `grub` for GRUB's configuration instead of iPXE's script; `grub-first` for the one that asks for it, of no machine.
    pub format: Option<String>,
}

/// Who is logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    pub user: String,
}

/// No `Debug`: it holds secrets.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// The one-time code the daemon printed.
    pub code: String,
    pub user: String,
    pub password: String,
}

/// No `Debug`: it holds a secret.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub user: String,
    pub password: String,
}

/// The operator's decision about a Pending enrollment.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// As read from the machine's console.
    pub code: String,
    pub role: String,
    /// Label or full name; the site's domain is added to a label.
    pub hostname: String,
    /// Kernel name of the disk that will be wiped.
    pub disk: String,
    /// The node that holds the name now is revoked and replaced.
    #[serde(default)]
    pub replace: bool,
}

/// What a seed may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SeedMode {
    /// It issues.
    #[default]
    Active,
    /// A second seed that was not promoted: pages only.
    Standby,
    /// Another seed of the site was promoted: pages only.
    Fenced,
}

/// GET /api/v1/status and the head of every page.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    pub site: String,
    pub version: String,
    /// First administrator not made yet.
    pub setup_needed: bool,
    pub sealed: bool,
    pub mode: SeedMode,
    pub epoch: u64,
    pub snapshot: Option<Digest>,
    /// What is proven of it.
    pub proof: Option<ProofState>,
    pub roles: Vec<RoleView>,
    /// Seconds since the epoch by the seed's clock.
    pub clock: u64,
    /// sha256 of the certificate the pages show now, as upper-case hex pairs with colons.
    pub fingerprint: Option<String>,
    /// Things an operator should act on, in plain words.
    pub warnings: Vec<String>,
    /// Those of the warnings that stand on every page.
    pub lasting: Vec<String>,
}

/// A manifest or index of an image.
#[derive(Debug, Clone)]
pub struct ImageManifest {
    pub digest: Digest,
    pub media_type: String,
    pub path: Utf8PathBuf,
}

/// GET /api/v1/clock.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClockView {
    /// Unix milliseconds by the seed's clock.
    pub clock_ms: u64,
    /// What it follows, in words.
    pub source: String,
    /// It follows a time server.
    pub synchronised: bool,
    /// As the nodes are told (RFC 5905: 1 is best).
    pub stratum: Option<u8>,
    /// Seconds from the source; negative is slow.
    pub offset: Option<f64>,
    /// Parts per million that it would gain or lose by itself.
    pub drift: Option<f64>,
    /// Why it cannot be right.
    pub doubt: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleView {
    pub name: String,
    pub description: String,
    /// The artifact built for it, if any; a role without one cannot be approved.
    pub artifact: Option<Digest>,
    pub min_disk: Option<u64>,
}

/// One line of the list of machines.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineRow {
    pub id: i64,
    pub mac: Mac,
    pub ip: Option<IpAddr>,
    /// Vendor and product as the machine says, tamed.
    pub model: String,
    /// Unix seconds.
    pub first_seen: u64,
    pub last_seen: u64,
    /// Its latest enrollment, if it got that far.
    pub enrollment: Option<EnrollmentView>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentView {
    pub id: EnrollmentId,
    pub state: EnrollmentState,
    /// Unix seconds of the last change of state.
    pub since: u64,
    pub hostname: Option<String>,
    pub role: Option<String>,
    /// `(plane, address)` once approved, in plane order.
    pub addresses: Vec<(String, String)>,
    pub wrong_codes: u32,
    pub progress: Option<InstallProgress>,
    /// Why it was denied, failed or expired.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstallProgress {
    /// Bytes of disk written and verified.
    pub written: u64,
    pub total: u64,
    /// Bytes per second.
    pub rate: u64,
}

/// One machine's page.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineDetail {
    pub row: MachineRow,
    pub facts: Option<HardwareFacts>,
    /// Older enrollments, newest first.
    pub earlier: Vec<EnrollmentView>,
    /// Oldest first, at most 500.
    pub timeline: Vec<EventView>,
    /// What the timeline says about the last attempt to boot, the most useful first.
    pub diagnosis: Vec<Finding>,
    /// Packets of the machine that can be downloaded.
    pub packets: u32,
}

/// One row of the append-only event log.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    pub id: i64,
    /// Unix milliseconds.
    pub at: u64,
    /// For example `dhcp.discover`, `enrollment.pending`, `install.progress`, `login.failed`.
    pub kind: String,
    /// A sentence for people.
    pub text: String,
    pub machine: Option<i64>,
    pub actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<PacketFacts>,
}

pub trait SeedApi: SiteApi {
    // The machine's side. `from` is the peer's address.
    fn boot_script(&self, from: IpAddr, query: &BootQuery) -> Result<String, ApiError>;
    /// Path of a netboot file; `name` is a key in a table.
    fn boot_file(&self, from: IpAddr, name: &str) -> Option<Utf8PathBuf>;
    /// The answers of Debian's installer for the machine with this MAC address.
    fn preseed(&self, query: &BootQuery) -> Result<String, ApiError>;
    /// Root directory of a published snapshot; `None` asks for the current one.
    fn snapshot_dir(&self, id: Option<Digest>) -> Option<Utf8PathBuf>;
    /// The signed proof of a snapshot; `None` asks for that of the current one.
    fn proof_path(&self, snapshot: Option<Digest>) -> Option<Utf8PathBuf>;
    /// Root directory of the extras that are files.
    fn extras_dir(&self) -> Option<Utf8PathBuf>;
    /// Names of the images among the extras, with their registries.
    fn image_repositories(&self) -> Vec<String>;
    fn image_tags(&self, repository: &str) -> Option<Vec<String>>;
    /// What a tag or `sha256:` digest means.
    fn image_manifest(&self, repository: &str, reference: &str) -> Option<ImageManifest>;
    fn image_blob(&self, repository: &str, digest: Digest) -> Option<Utf8PathBuf>;
    fn chunk_path(&self, stored: Digest) -> Option<Utf8PathBuf>;
    fn manifest_path(&self, artifact: Digest) -> Option<Utf8PathBuf>;
    /// A medium of this seed; `name` is a key in a list.
    fn medium_path(&self, name: &str) -> Option<Utf8PathBuf>;
    fn hello(&self, from: IpAddr, hello: Hello) -> Result<HelloReply, ApiError>;
    fn reveal(&self, from: IpAddr, id: EnrollmentId, reveal: Reveal) -> Result<RevealReply, ApiError>;
    fn enrollment_status(&self, id: EnrollmentId) -> Result<StatusReply, ApiError>;
    fn claim(&self, from: IpAddr, id: EnrollmentId, claim: &Sealed<Claim>) -> Result<ClaimReply, ApiError>;
    fn report(&self, from: IpAddr, id: EnrollmentId, report: &Sealed<Report>) -> Result<ReportReply, ApiError>;
    fn peers(&self) -> Result<Sealed<PeersFile>, ApiError>;
    /// The site's signature under its epoch.
    fn epoch(&self) -> Result<Sealed<EpochProof>, ApiError>;
    /// A machine shows what another seed of this site has signed.
    fn hear_epoch(&self, from: IpAddr, proof: &Sealed<EpochProof>) -> Result<EpochReply, ApiError>;

    // The operator's side.
    /// The certificate of the site's CA in PEM, which everybody may have; none before the site's first unseal.
    fn ca_certificate(&self) -> Result<Option<String>, ApiError>;
    fn overview(&self) -> Result<Overview, ApiError>;
    fn packages(&self) -> Result<PackagesView, ApiError>;
    /// Makes the first administrator and logs in; returns the session token.
    fn setup(&self, from: IpAddr, setup: &Setup) -> Result<String, ApiError>;
    /// Returns the session token (128 random bits or more, hashed at rest).
    fn login(&self, from: IpAddr, login: &Login) -> Result<String, ApiError>;
    fn session(&self, token: &str) -> Result<Option<Actor>, ApiError>;
    fn logout(&self, token: &str) -> Result<(), ApiError>;
    fn unseal(&self, from: IpAddr, actor: &Actor, passphrase: &str) -> Result<(), ApiError>;
    fn clock(&self) -> Result<ClockView, ApiError>;
    /// Sets the seed's clock, in Unix milliseconds.
    fn set_clock(&self, actor: &Actor, to_ms: u64) -> Result<ClockView, ApiError>;
    fn machines(&self) -> Result<Vec<MachineRow>, ApiError>;
    fn machine(&self, id: i64) -> Result<MachineDetail, ApiError>;
    /// The machine's last packets as a pcapng file.
    fn packets(&self, id: i64) -> Result<Vec<u8>, ApiError>;
    fn power(&self, id: i64) -> Result<PowerView, ApiError>;
    /// Keeps a controller's address and, sealed, its credentials; the certificate it shows next is the one that counts.
    fn set_power(&self, actor: &Actor, id: i64, set: &SetPower) -> Result<PowerView, ApiError>;
    fn forget_power(&self, actor: &Actor, id: i64) -> Result<PowerView, ApiError>;
    fn act_power(&self, actor: &Actor, id: i64, action: PowerAction) -> Result<PowerDone, ApiError>;
    /// Prometheus text for a caller who may read it: on this machine, on a plane, or with the metrics token.
    fn metrics(&self, from: IpAddr, token: Option<&str>) -> Result<String, ApiError>;
    fn approve(&self, actor: &Actor, id: EnrollmentId, approve: &Approve) -> Result<EnrollmentView, ApiError>;
    fn deny(&self, actor: &Actor, id: EnrollmentId, reason: &str) -> Result<EnrollmentView, ApiError>;
    /// Takes an approved machine off the planes; it may enroll anew.
    fn revoke(&self, actor: &Actor, id: EnrollmentId, reason: &str) -> Result<EnrollmentView, ApiError>;
    /// Events with an id above `after`, oldest first.
    fn events(&self, after: i64, limit: u32) -> Result<Vec<EventView>, ApiError>;
    /// Wakes with the newest event id; a lagging receiver just asks `events` again.
    fn subscribe(&self) -> tokio::sync::watch::Receiver<i64>;
}
