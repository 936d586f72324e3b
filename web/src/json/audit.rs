//! `/api/v1/audit`: the event log, searched, exported and verified.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;

use super::Answer;
use crate::api::{AuditEvent, AuditPage, AuditState, CheckpointView, JobView};
use crate::auth::{Change, SessionFor, may};
use crate::call::App;
use crate::error::Failure;
use crate::export::export;
use crate::extract::Named;
use crate::limits::MAX_EVENTS;
use crate::safe_json::SafeJson;
use crate::search::Search;

/// Events returned when the request does not say how many.
const DEFAULT_LIMIT: u32 = 100;

type Auditor = SessionFor<may::Audit>;

pub(crate) async fn page(
    State(app): State<App>,
    SessionFor(session, _): Auditor,
    search: Result<Query<Search>, QueryRejection>,
) -> Answer<AuditPage> {
    let Query(search) = search?;
    let query = search.query()?;
    let limit = search.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_EVENTS);
    let actor = session.actor().clone();
    Ok(SafeJson(app.call(move |api| api.audit(&actor, &query, search.before, limit)).await?))
}

pub(crate) async fn event(State(app): State<App>, SessionFor(session, _): Auditor, Named(id): Named<i64>) -> Answer<AuditEvent> {
    let actor = session.actor().clone();
    Ok(SafeJson(app.call(move |api| api.audit_event(&actor, id)).await?))
}

pub(crate) async fn state(State(app): State<App>, SessionFor(session, _): Auditor) -> Answer<AuditState> {
    let actor = session.actor().clone();
    Ok(SafeJson(app.call(move |api| api.audit_state(&actor)).await?))
}

pub(crate) async fn download(
    State(app): State<App>,
    SessionFor(session, _): Auditor,
    search: Result<Query<Search>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(search) = search?;
    let query = search.query()?;
    export(app, session, query, search.format).await
}

pub(crate) async fn verify(State(app): State<App>, change: Change<may::Audit>) -> Answer<JobView> {
    Ok(SafeJson(app.call(move |api| api.verify_log(change.actor())).await?))
}

pub(crate) async fn checkpoint(State(app): State<App>, change: Change<may::Administer>) -> Answer<CheckpointView> {
    Ok(SafeJson(app.call(move |api| api.checkpoint_log(change.actor())).await?))
}
