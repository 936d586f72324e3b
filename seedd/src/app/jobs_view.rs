//! Jobs in the web interface.

use web::api::{Actor, ApiError, JobDetail, JobView, JobsApi};

use super::Seed;

impl JobsApi for Seed {
    fn jobs(&self) -> Result<Vec<JobDetail>, ApiError> {
        Ok(self.0.jobs.details())
    }

    fn stop_job_of(&self, _: &Actor, id: u64) -> Result<JobView, ApiError> {
        self.0.jobs.stop_one(id)
    }
}
