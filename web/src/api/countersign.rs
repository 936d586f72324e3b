//! Countersigning, as operators see it.

use cluster_seed::ids::Hostname;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::people::Actor;

/// HTTP shape of `GET /api/v1/countersign`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CountersignView {
    /// The key in force, 64 hex digits.
    pub key: Option<String>,
    /// How often it was changed.
    pub serial: u64,
    /// Nodes check it: the newest peer list carries it. Before, nodes from before the key need a signature each.
    pub checked: bool,
    /// The key that follows, once it has signed every node of the list.
    pub next: Option<String>,
    /// What is wrong, as a sentence.
    pub problem: Option<String>,
    /// Nodes that the key asked for next has not signed, by name.
    pub waiting: Vec<CountersignWaiting>,
}

/// HTTP shape of a node without a signature.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CountersignWaiting {
    #[cfg_attr(test, schemars(with = "String"))]
    pub name: Hostname,
    pub role: String,
    /// As the console of the machine shows it.
    pub fingerprint: String,
    /// It is in the peer list all the same: it was there before the key.
    pub listed: bool,
}

/// HTTP shape of a file for the offline machine, or of one from there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CountersignText {
    pub text: String,
}

/// HTTP shape of what an answer changed.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CountersignTaken {
    /// Nodes with a signature of this answer, by name.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub signed: Vec<Hostname>,
    /// Nodes of the answer that are gone, or are not as they were when they were signed.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub outdated: Vec<Hostname>,
    /// The answer names the next key, or ends countersigning.
    pub change: bool,
}

/// The signatures of a key that is kept off the seed.
pub trait CountersignApi: Send + Sync {
    fn countersign(&self) -> Result<CountersignView, ApiError>;
    /// The request for the offline machine, as the text of its file. `all`: nodes that are signed too.
    fn countersign_request(&self, all: bool) -> Result<CountersignText, ApiError>;
    /// Takes the text of the file that the offline machine wrote.
    fn take_countersignatures(&self, actor: &Actor, text: &str) -> Result<CountersignTaken, ApiError>;
}
