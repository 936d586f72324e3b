//! `/api/v1/nodes`, `/api/v1/enrollments`, `/api/v1/planes`, `/api/v1/ssh` and `/api/v1/events/last`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::{Answer, list_of};
use crate::api::{EnrollmentRow, Listed, NodeView, SshView};
use crate::auth::Session;
use crate::call::App;
use crate::limits::{LIST_PAGE, MAX_EVENTS};
use crate::safe_json::SafeJson;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    page: Option<u32>,
}

impl Which {
    fn page(&self) -> u32 {
        self.page.unwrap_or(1).max(1)
    }
}

/// HTTP shape of `GET /api/v1/nodes`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NodePage {
    /// By name.
    nodes: Vec<NodeView>,
    page: u32,
    /// At least 1.
    pages: u32,
    /// Nodes on all pages.
    total: u32,
}

/// HTTP shape of `GET /api/v1/enrollments`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EnrollmentPage {
    /// Newest first.
    enrollments: Vec<EnrollmentRow>,
    page: u32,
    /// At least 1.
    pages: u32,
    /// Enrollments on all pages.
    total: u32,
}

fn pages(total: u32) -> u32 {
    total.div_ceil(LIST_PAGE).max(1)
}

pub(crate) async fn nodes(State(app): State<App>, _: Session, query: Result<Query<Which>, QueryRejection>) -> Answer<NodePage> {
    let page = query?.page();
    let Listed { rows, total } = app.call(move |api| api.nodes(page)).await?;
    Ok(SafeJson(NodePage { nodes: rows, page, pages: pages(total), total }))
}

pub(crate) async fn enrollments(
    State(app): State<App>,
    _: Session,
    query: Result<Query<Which>, QueryRejection>,
) -> Answer<EnrollmentPage> {
    let page = query?.page();
    let Listed { rows, total } = app.call(move |api| api.enrollments(page)).await?;
    Ok(SafeJson(EnrollmentPage { enrollments: rows, page, pages: pages(total), total }))
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
    let actor = session.actor().clone();
    Ok(SafeJson(list_of("events", app.call(move |api| api.last_events(&actor, limit)).await?)))
}
