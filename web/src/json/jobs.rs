//! `/api/v1/jobs`

use axum::extract::State;
use serde::Serialize;

use super::{Answer, list_of};
use crate::api::{JobDetail, JobView};
use crate::auth::{Change, Session, may};
use crate::call::App;
use crate::error::Failure;
use crate::extract::Named;
use crate::safe_json::SafeJson;

pub(crate) async fn list(State(app): State<App>, _: Session) -> Answer<impl Serialize> {
    let jobs = app.call(|api| api.jobs()).await?;
    Ok(SafeJson(list_of("jobs", jobs)))
}

pub(crate) async fn show(State(app): State<App>, _: Session, Named(id): Named<u64>) -> Answer<JobDetail> {
    let jobs = app.call(|api| api.jobs()).await?;
    Ok(SafeJson(jobs.into_iter().find(|j| j.job.id == id).ok_or_else(Failure::not_found)?))
}

pub(crate) async fn stop(State(app): State<App>, change: Change<may::Administer>, Named(id): Named<u64>) -> Answer<JobView> {
    Ok(SafeJson(app.call(move |api| api.stop_job(change.actor(), Some(id))).await?))
}
