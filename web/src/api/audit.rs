//! The event log as an audit log: searched, exported, verified.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::flight::EventView;
use super::people::Actor;
use super::site::JobView;

/// What to look for, as operators type it. Empty parts are ignored; all others have to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// A kind (`login.failed`) or a family of kinds (`login`).
    pub kind: String,
    pub actor: String,
    /// A machine's number, MAC address or host name.
    pub machine: String,
    /// Words that occur in the text, the kind, the actor or the facts; upper and lower case are the same.
    pub words: String,
    /// Unix milliseconds, both included.
    pub since: Option<u64>,
    pub until: Option<u64>,
}

/// HTTP shape of `GET /api/v1/audit`: newest first.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditPage {
    pub events: Vec<EventView>,
    /// `before` of the next page; `None` on the last one. A page may have fewer events than its limit although there are more:
    /// a search reads a bounded number of rows.
    pub next: Option<i64>,
    /// Rows of the log that were read for it.
    pub read: u32,
    /// Names of the machines in `events`, by number: host name of the node, or else MAC address.
    pub machines: BTreeMap<i64, String>,
}

/// HTTP shape of `GET /api/v1/audit/{id}`: one event with its place in the chain of hashes.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    pub event: EventView,
    pub enrollment: Option<String>,
    /// Its facts as they were hashed.
    pub facts_text: Option<String>,
    /// SHA-256 in hex over the hash of the row before and this row.
    pub hash: String,
    /// Hash of the row before it; empty for the first event.
    pub previous_hash: String,
    pub previous: Option<i64>,
    pub next: Option<i64>,
    /// The first signed checkpoint that covers it.
    pub checkpoint: Option<CheckpointView>,
}

/// HTTP shape of a signed checkpoint of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CheckpointView {
    /// The last event that it covers.
    pub event: i64,
    /// Hash of that event.
    pub hash: String,
    /// When it was signed, in Unix seconds.
    pub at: u64,
}

/// HTTP shape of `GET /api/v1/audit/state`: what is known of the log as a whole.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditState {
    /// Number of the newest event.
    pub newest: i64,
    /// Number of the oldest event that is kept.
    pub oldest: i64,
    /// The newest signed checkpoint.
    pub checkpoint: Option<CheckpointView>,
    pub checkpoints: u32,
    /// The verification that is running, or ran last since the seed started.
    pub verification: Option<JobView>,
}

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// A JSON object per line, with everything that the hash covers.
    #[default]
    Jsonl,
    /// RFC 5424.
    Syslog,
}

/// A part of an export, oldest event first.
#[derive(Debug, Clone, Default)]
pub struct ExportPart {
    /// Whole lines.
    pub text: String,
    /// Where the next part begins; `None` at the end.
    pub next: Option<i64>,
}

/// The event log for those who audit it. Every read asks for the permission too: the log names people, and where they log in from.
pub trait AuditApi: Send + Sync {
    /// The newest events that fit, with numbers below `before`, at most `limit`.
    fn audit(&self, actor: &Actor, query: &AuditQuery, before: Option<i64>, limit: u32) -> Result<AuditPage, ApiError>;
    fn audit_event(&self, actor: &Actor, id: i64) -> Result<AuditEvent, ApiError>;
    fn audit_state(&self, actor: &Actor) -> Result<AuditState, ApiError>;
    /// The next part of an export: events that fit with numbers above `after`.
    fn audit_export(&self, actor: &Actor, query: &AuditQuery, format: ExportFormat, after: i64) -> Result<ExportPart, ApiError>;
    /// Starts to check the chain of hashes and every checkpoint.
    fn verify_log(&self, actor: &Actor) -> Result<JobView, ApiError>;
    /// Signs the log as it is now. The seed has to be unsealed.
    fn checkpoint_log(&self, actor: &Actor) -> Result<CheckpointView, ApiError>;
}
