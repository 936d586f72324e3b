//! `/api/v1/machines/<id>/power` and `/controller`.

use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;

use crate::api::{PowerAction, PowerDone, PowerView, SeedApi, SetPower};
use crate::auth::Session;
use crate::call::App;
use crate::error::Failure;
use crate::extract::{Named, OperatorJson, check_origin};
use crate::safe_json::SafeJson;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Act {
    action: PowerAction,
}

pub(crate) async fn view<A: SeedApi>(
    State(app): State<App<A>>,
    _: Session,
    Named(id): Named<i64>,
) -> Result<SafeJson<PowerView>, Failure> {
    Ok(SafeJson(app.call(move |api| api.power(id)).await?))
}

pub(crate) async fn act<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    headers: HeaderMap,
    Named(id): Named<i64>,
    OperatorJson(act): OperatorJson<Act>,
) -> Result<SafeJson<PowerDone>, Failure> {
    session.check_header(&headers)?;
    Ok(SafeJson(app.call(move |api| api.act_power(&session.actor, id, act.action)).await?))
}

pub(crate) async fn keep<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    headers: HeaderMap,
    Named(id): Named<i64>,
    OperatorJson(set): OperatorJson<SetPower>,
) -> Result<SafeJson<PowerView>, Failure> {
    session.check_header(&headers)?;
    Ok(SafeJson(app.call(move |api| api.set_power(&session.actor, id, &set)).await?))
}

pub(crate) async fn forget<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    headers: HeaderMap,
    Named(id): Named<i64>,
) -> Result<SafeJson<PowerView>, Failure> {
    check_origin(&headers)?;
    session.check_header(&headers)?;
    Ok(SafeJson(app.call(move |api| api.forget_power(&session.actor, id)).await?))
}
