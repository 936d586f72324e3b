//! Long jobs: the running one and those before it.

use serde::Serialize;

use super::error::ApiError;
use super::people::Actor;
use super::site::JobView;

/// HTTP shape of a job with its history, since the seed started.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct JobDetail {
    pub job: JobView,
    /// Unix seconds; `None` while it runs.
    pub ended: Option<u64>,
    /// Seconds that the current step needs at its present speed, if that is known.
    pub left: Option<u64>,
    /// Its steps, oldest first; the oldest of very many are dropped.
    pub lines: Vec<JobLine>,
}

/// HTTP shape of one step of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct JobLine {
    /// When it began, in Unix seconds.
    pub at: u64,
    pub text: String,
}

/// Jobs of this seed.
pub trait JobsApi: Send + Sync {
    /// Newest first.
    fn jobs(&self) -> Result<Vec<JobDetail>, ApiError>;
    /// Asks this job, or the one that runs, to stop; it ends soon and leaves nothing half-written.
    fn stop_job(&self, actor: &Actor, id: Option<u64>) -> Result<JobView, ApiError>;
}
