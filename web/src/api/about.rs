//! What this program is, and the bundle for those who help.

use serde::Serialize;

use super::error::ApiError;
use super::people::Actor;

/// HTTP shape of `GET /api/v1/about`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AboutView {
    pub version: String,
    /// What the seed runs on: kernel and architecture.
    pub system: String,
    /// Version of the database's schema.
    pub schema: i64,
    /// Version of the protocol of agents.
    pub protocol: u32,
    /// age recipient that support bundles are encrypted to.
    pub recipient: String,
}

/// What this program is.
pub trait AboutApi: Send + Sync {
    fn about(&self) -> Result<AboutView, ApiError>;
    /// A support bundle, encrypted to the operator's key of this site.
    fn support_bundle(&self, actor: &Actor) -> Result<Vec<u8>, ApiError>;
}
