//! What the pages ask about the site as a whole: its capsules, its place, its drills, and the long work on them.

use std::net::IpAddr;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::api::{Actor, ApiError, EventView, SeedMode};

/// What a long work is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum JobKind {
    Export,
    Verify,
    Import,
    Drill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum JobState {
    Running,
    Done,
    Failed,
    /// An operator asked it to stop.
    Stopped,
}

/// The long work that runs, or ran last. A seed does one at a time.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    pub id: u64,
    pub kind: JobKind,
    pub state: JobState,
    /// The step it is in, in words.
    pub step: String,
    /// Bytes or items of the step.
    pub done: u64,
    pub total: Option<u64>,
    /// How it ended, in a sentence.
    pub text: Option<String>,
    pub hint: Option<String>,
    pub actor: String,
    /// Unix seconds.
    pub began: u64,
}

/// A capsule, or a part of one, that lies on this seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CapsuleFile {
    pub name: String,
    pub size: u64,
    /// Of an upload that is not finished: what it will have.
    pub expected: Option<u64>,
    /// Unix seconds of its last change.
    pub modified: u64,
}

/// An earlier capsule of this site, which a new one can build on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CapsuleRecord {
    pub id: String,
    /// Unix seconds.
    pub created: u64,
    pub recipient: String,
}

/// The underlay of this place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaceView {
    pub subnet: String,
    pub seed: String,
    pub first: String,
    pub last: String,
    #[serde(default)]
    pub router: String,
}

/// GET /api/v1/site.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SiteView {
    /// ed25519 in hex: what another seed pins.
    pub site_key: String,
    /// age recipient of this seed's operator: what another seed encrypts to.
    pub recipient: String,
    pub mode: SeedMode,
    pub epoch: u64,
    /// Id of the medium it took its packages and images from.
    pub medium: Option<String>,
    pub place: PlaceView,
    /// The place differs from cluster.yaml.
    pub overlaid: bool,
    /// Newest first.
    pub capsules: Vec<CapsuleFile>,
    pub records: Vec<CapsuleRecord>,
    /// Free bytes where capsules lie.
    pub free: u64,
    pub job: Option<JobView>,
    /// Why no drill can be held here; none if it can.
    pub no_drill: Option<String>,
    /// Results of drills, newest first.
    pub drills: Vec<EventView>,
}

/// What a new capsule is to be. No `Debug`: it holds a secret.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExportWish {
    /// Of the seed it is for.
    pub recipient: String,
    /// Id of an earlier capsule.
    #[serde(default)]
    pub since: Option<String>,
    /// The other seed boots the same medium: leave out what that holds.
    #[serde(default)]
    pub same_medium: bool,
    /// Largest part in bytes; none for one file.
    #[serde(default)]
    pub split: Option<u64>,
    pub passphrase: String,
}

/// What is to be done with a capsule that was brought here. No `Debug`: it holds a secret.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImportWish {
    /// Name of a file of [`SiteView::capsules`], or of its first part.
    pub file: String,
    /// Site key of the seed that made it.
    pub pin: String,
    pub passphrase: String,
    /// Only read every byte, and change nothing.
    #[serde(default)]
    pub verify_only: bool,
    /// Take the other site's underlay too, instead of staying on this place's.
    #[serde(default)]
    pub take_place: bool,
}

/// The daemon's side. Every call may block.
pub trait SiteApi: Send + Sync + 'static {
    fn site(&self) -> Result<SiteView, ApiError>;
    fn export(&self, from: IpAddr, actor: &Actor, wish: &ExportWish) -> Result<JobView, ApiError>;
    fn import(&self, from: IpAddr, actor: &Actor, wish: &ImportWish) -> Result<JobView, ApiError>;
    fn drill(&self, from: IpAddr, actor: &Actor, passphrase: &str) -> Result<JobView, ApiError>;
    /// Asks the running work to stop; it ends soon, with nothing half-written.
    fn stop_job(&self, actor: &Actor) -> Result<JobView, ApiError>;
    /// Makes a standby the issuer. `name` is the site's name, typed by somebody who means it.
    fn promote(&self, actor: &Actor, name: &str) -> Result<u64, ApiError>;
    /// Another underlay for this place; none for the one of cluster.yaml.
    fn set_place(&self, actor: &Actor, place: Option<&PlaceView>) -> Result<PlaceView, ApiError>;
    /// Where a whole capsule lies; none if there is no such.
    fn capsule_path(&self, name: &str) -> Option<Utf8PathBuf>;
    /// Appends a piece of a capsule at `at`; the size of the file now. The last piece makes it `total` long and whole.
    fn put_capsule(&self, actor: &Actor, name: &str, at: u64, total: u64, piece: &[u8]) -> Result<u64, ApiError>;
    fn remove_capsule(&self, actor: &Actor, name: &str) -> Result<(), ApiError>;
}
