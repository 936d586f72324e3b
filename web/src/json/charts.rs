//! `/api/v1/charts`

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::Answer;
use crate::api::{ChartsView, Window};
use crate::auth::Session;
use crate::call::App;
use crate::safe_json::SafeJson;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    #[serde(default)]
    window: Window,
}

pub(crate) async fn view(State(app): State<App>, _: Session, query: Result<Query<Ask>, QueryRejection>) -> Answer<ChartsView> {
    let Query(Ask { window }) = query?;
    Ok(SafeJson(app.call(move |api| api.charts(window)).await?))
}
