//! `/api/v1/dhcp`

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::Answer;
use crate::api::DhcpView;
use crate::auth::Session;
use crate::call::App;
use crate::safe_json::SafeJson;

/// Longest search, in characters.
pub(crate) const MAX_SEARCH: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    #[serde(default)]
    q: String,
}

pub(crate) async fn view(State(app): State<App>, _: Session, query: Result<Query<Ask>, QueryRejection>) -> Answer<DhcpView> {
    let Query(Ask { q }) = query?;
    let q: String = q.trim().chars().take(MAX_SEARCH).collect();
    Ok(SafeJson(app.call(move |api| api.dhcp(&q)).await?))
}
