//! Webhooks, as operators see them.

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::people::Actor;

/// HTTP shape of a receiver in `GET /api/v1/webhooks`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct WebhookView {
    /// Without its path for those who may not administer: it may be a secret.
    pub url: String,
    /// Beginnings of kinds; none means all.
    pub events: Vec<String>,
    /// Number of the last event that it was told or that was left out; `None` before the first.
    pub told: Option<i64>,
    /// Events of the log after that, whether they are for it or not.
    pub behind: u64,
    /// Attempts that failed for the event that is sent now, and why the last one did.
    pub attempts: u32,
    pub why: Option<String>,
    /// Its dead letters.
    pub dead: u32,
}

/// HTTP shape of an event that was given up, in `GET /api/v1/webhooks/dead`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterView {
    /// As in [`WebhookView`].
    pub url: String,
    pub event: i64,
    pub kind: String,
    pub text: String,
    /// Unix seconds.
    pub at: u64,
    pub attempts: u32,
    pub why: String,
}

/// HTTP shape of the request for a test.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TestWish {
    pub url: String,
}

/// HTTP shape of a test that was taken.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct WebhookTest {
    /// HTTP status of the receiver.
    pub status: u16,
    pub milliseconds: u64,
}

/// Receivers of events outside.
pub trait WebhookApi: Send + Sync {
    /// In the order of cluster.yaml.
    fn webhooks(&self, actor: &Actor) -> Result<Vec<WebhookView>, ApiError>;
    /// Newest first.
    fn dead_letters(&self, actor: &Actor) -> Result<Vec<DeadLetterView>, ApiError>;
    /// Sends one message, which names the actor, and waits for the answer.
    fn test_webhook(&self, actor: &Actor, url: &str) -> Result<WebhookTest, ApiError>;
}
