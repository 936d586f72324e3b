//! Jobs in the web interface.

use cluster_seed::people::Permission;
use web::api::{Actor, ApiError, JobDetail, JobKind, JobView, JobsApi};

use super::Seed;

impl JobsApi for Seed {
    fn jobs(&self) -> Result<Vec<JobDetail>, ApiError> {
        Ok(self.0.jobs.details())
    }

    fn stop_job(&self, actor: &Actor, id: Option<u64>) -> Result<JobView, ApiError> {
        self.0.jobs.stop(id, |kind| may_stop(actor, kind))
    }
}

/// Who may start a job may stop it.
fn may_stop(actor: &Actor, kind: JobKind) -> Result<(), ApiError> {
    let needs = match kind {
        JobKind::Build | JobKind::VerifyOutput => Permission::Build,
        JobKind::VerifyLog => Permission::Audit,
        JobKind::Export | JobKind::Verify | JobKind::Import | JobKind::Drill => Permission::Administer,
    };
    actor.must(needs).map(drop)
}
