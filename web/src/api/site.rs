//! The site as a whole: its capsules, its underlay, its recovery drills, and the job that works on them.

use serde::{Deserialize, Serialize};

use super::flight::EventView;

/// What a seed may do, as the HTTP API spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum SeedMode {
    /// It approves machines and issues identities.
    #[default]
    Active,
    /// A second seed, not promoted: web pages only.
    Standby,
    /// Another seed of the site was promoted: web pages only.
    Fenced,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum JobKind {
    Export,
    Verify,
    Import,
    Drill,
    /// Builds an output.
    Build,
    VerifyOutput,
    /// Checks the event log.
    VerifyLog,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum JobState {
    Running,
    Done,
    Failed,
    /// Stopped by an operator.
    Stopped,
}

/// HTTP shape of the job that is running, or ran last. A seed runs one job at a time.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    pub id: u64,
    pub kind: JobKind,
    pub state: JobState,
    /// Description of the current step.
    pub step: String,
    /// Bytes or items of the step that are done.
    pub done: u64,
    pub total: Option<u64>,
    /// The result, as a sentence.
    pub text: Option<String>,
    pub hint: Option<String>,
    pub actor: String,
    /// Unix seconds.
    pub began: u64,
}

impl JobView {
    pub fn is_running(&self) -> bool {
        self.state == JobState::Running
    }
}

/// HTTP shape of a capsule, or a part of one, stored on this seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CapsuleFile {
    pub name: String,
    pub size: u64,
    /// Final size of an unfinished upload.
    pub expected: Option<u64>,
    /// Unix seconds of its last change.
    pub modified: u64,
}

/// HTTP shape of an earlier capsule of this site that an incremental one can be based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CapsuleRecord {
    pub id: String,
    /// Unix seconds.
    pub created: u64,
    pub recipient: String,
}

/// HTTP shape of this seed's underlay network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaceView {
    pub subnet: String,
    pub seed: String,
    pub first: String,
    pub last: String,
    #[serde(default)]
    pub router: String,
}

/// HTTP shape of `GET /api/v1/site`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SiteView {
    /// ed25519 in hex, for another seed to pin.
    pub site_key: String,
    /// age recipient that another seed encrypts capsules to.
    pub recipient: String,
    pub mode: SeedMode,
    pub epoch: u64,
    /// Id of the medium its packages and images were imported from.
    pub medium: Option<String>,
    pub place: PlaceView,
    /// The underlay differs from cluster.yaml.
    pub overlaid: bool,
    /// Newest first.
    pub capsules: Vec<CapsuleFile>,
    pub records: Vec<CapsuleRecord>,
    /// Free bytes in the file system of the capsules.
    pub free: u64,
    pub job: Option<JobView>,
    /// Why drills are not possible here; `None` if they are.
    pub no_drill: Option<String>,
    /// Results of drills, newest first.
    pub drills: Vec<EventView>,
}

/// HTTP shape of a request to export a capsule. No `Debug`: it holds a secret.
#[derive(Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExportWish {
    /// Recipient of the other seed.
    pub recipient: String,
    /// Id of the earlier capsule to base it on.
    #[serde(default)]
    pub since: Option<String>,
    /// Omit blobs that are on the seed medium.
    #[serde(default)]
    pub same_medium: bool,
    /// Largest part in bytes; `None` for a single file.
    #[serde(default)]
    pub split: Option<u64>,
    pub passphrase: String,
}

/// HTTP shape of a request to import or verify a capsule. No `Debug`: it holds a secret.
#[derive(Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImportWish {
    /// Name of a file of [`SiteView::capsules`], or of its first part.
    pub file: String,
    /// Site key of the seed that exported it.
    pub pin: String,
    pub passphrase: String,
    /// Verify every byte without importing.
    #[serde(default)]
    pub verify_only: bool,
    /// Import the underlay too instead of keeping this seed's.
    #[serde(default)]
    pub take_place: bool,
}
