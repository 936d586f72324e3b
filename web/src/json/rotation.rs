//! `/api/v1/rotations`

use axum::extract::State;
use serde::Serialize;

use super::{Answer, list_of};
use crate::api::RotateWish;
use crate::auth::{Change, Session, may};
use crate::call::App;
use crate::extract::OperatorJson;
use crate::safe_json::SafeJson;

pub(crate) async fn list(State(app): State<App>, _: Session) -> Answer<impl Serialize> {
    let all = app.call(|api| api.rotations()).await?;
    Ok(SafeJson(list_of("rotations", all)))
}

pub(crate) async fn begin(
    State(app): State<App>,
    change: Change<may::Fresh<may::Approve>>,
    OperatorJson(wish): OperatorJson<RotateWish>,
) -> Answer<impl Serialize> {
    let all = app.call(move |api| api.rotate(change.actor(), &wish)).await?;
    Ok(SafeJson(list_of("rotations", all)))
}
