//! cluster.yaml: shown, checked, changed.

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::people::Actor;

/// HTTP shape of `GET /api/v1/settings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SettingsView {
    /// The file as it is.
    pub text: String,
    /// SHA-256 of the file in hex; the entity tag of the settings.
    pub tag: String,
    /// The boot network is overridden at this location, so a change of it has no effect here.
    pub overlaid: bool,
}

/// HTTP shape of a proposed file.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SettingsText {
    pub text: String,
}

/// HTTP shape of the result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SettingsCheck {
    /// Why the file is refused; empty if it may be applied.
    pub problems: Vec<SpecProblem>,
    /// What changes in the file.
    pub diff: Vec<DiffLine>,
    /// What follows for the nodes, as `seedd cluster plan` prints it.
    pub plan: String,
}

/// HTTP shape of one problem of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SpecProblem {
    /// From 1; 0 if it concerns the file as a whole.
    pub line: u64,
    pub column: u64,
    pub message: String,
    pub hint: Option<String>,
}

/// HTTP shape of one line of a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DiffLine {
    pub change: DiffChange,
    /// Its number in the file as it is, and in the proposed one.
    pub old: Option<u64>,
    pub new: Option<u64>,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum DiffChange {
    Same,
    Removed,
    Added,
    /// Lines between two changes that are left out.
    Gap,
}

/// The settings of the site.
pub trait SettingsApi: Send + Sync {
    /// For those who may not administer, without the paths of webhooks: they may be secrets.
    fn settings(&self, actor: &Actor) -> Result<SettingsView, ApiError>;
    /// Checks a proposed file without changing anything.
    fn check_settings(&self, text: &str) -> Result<SettingsCheck, ApiError>;
    /// Replaces the file, if `tag` is that of the file as it is; the seed reads it at once.
    fn apply_settings(&self, actor: &Actor, text: &str, tag: &str) -> Result<SettingsView, ApiError>;
}
