//! `/api/v1/nodes`, `/api/v1/enrollments`, `/api/v1/planes`, `/api/v1/ssh` and `/api/v1/events/last`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::{Answer, list_of};
use crate::api::SshView;
use crate::auth::Session;
use crate::call::App;
use crate::limits::MAX_EVENTS;
use crate::safe_json::SafeJson;

pub(crate) async fn nodes(State(app): State<App>, _: Session) -> Answer<impl Serialize> {
    let nodes = app.call(|api| api.nodes()).await?;
    Ok(SafeJson(list_of("nodes", nodes)))
}

pub(crate) async fn enrollments(State(app): State<App>, _: Session) -> Answer<impl Serialize> {
    let all = app.call(|api| api.enrollments()).await?;
    Ok(SafeJson(list_of("enrollments", all)))
}

pub(crate) async fn planes(State(app): State<App>, _: Session) -> Answer<impl Serialize> {
    let planes = app.call(|api| api.planes()).await?;
    Ok(SafeJson(list_of("planes", planes)))
}

pub(crate) async fn ssh(State(app): State<App>, _: Session) -> Answer<SshView> {
    Ok(SafeJson(app.call(|api| api.ssh()).await?))
}

/// Events returned when the request does not say how many.
const DEFAULT_LAST: u32 = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Last {
    limit: Option<u32>,
}

pub(crate) async fn last_events(
    State(app): State<App>,
    session: Session,
    query: Result<Query<Last>, QueryRejection>,
) -> Answer<impl Serialize> {
    let Query(Last { limit }) = query?;
    let limit = limit.unwrap_or(DEFAULT_LAST).clamp(1, MAX_EVENTS);
    let events = app.call(move |api| api.last_events(limit)).await?;
    Ok(SafeJson(list_of("events", session.shown(events))))
}
