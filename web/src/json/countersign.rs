//! `/api/v1/countersign`

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::Answer;
use crate::api::{CountersignTaken, CountersignText, CountersignView};
use crate::auth::{Change, Session, may};
use crate::call::App;
use crate::extract::OperatorJson;
use crate::safe_json::SafeJson;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    #[serde(default)]
    all: bool,
}

pub(crate) async fn view(State(app): State<App>, _: Session) -> Answer<CountersignView> {
    Ok(SafeJson(app.call(|api| api.countersign()).await?))
}

pub(crate) async fn request(
    State(app): State<App>,
    _: Session,
    which: Result<Query<Which>, QueryRejection>,
) -> Answer<CountersignText> {
    let Query(Which { all }) = which?;
    Ok(SafeJson(app.call(move |api| api.countersign_request(all)).await?))
}

pub(crate) async fn take(
    State(app): State<App>,
    change: Change<may::Approve>,
    OperatorJson(CountersignText { text }): OperatorJson<CountersignText>,
) -> Answer<CountersignTaken> {
    Ok(SafeJson(app.call(move |api| api.take_countersignatures(change.actor(), &text)).await?))
}
