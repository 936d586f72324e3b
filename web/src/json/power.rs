//! `/api/v1/machines/<id>/power`, `/controller` and `/controller/certificate`.

use axum::extract::State;
use serde::Deserialize;

use super::Answer;
use crate::api::{PowerAction, PowerDone, PowerView, SetPower};
use crate::auth::{Change, Session, may};
use crate::call::App;
use crate::extract::{Named, OperatorJson};
use crate::safe_json::SafeJson;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Act {
    action: PowerAction,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trust {
    fingerprint: String,
}

pub(crate) async fn view(State(app): State<App>, _: Session, Named(id): Named<i64>) -> Answer<PowerView> {
    Ok(SafeJson(app.call(move |api| api.power(id)).await?))
}

pub(crate) async fn act(
    State(app): State<App>,
    change: Change<may::Power>,
    Named(id): Named<i64>,
    OperatorJson(act): OperatorJson<Act>,
) -> Answer<PowerDone> {
    Ok(SafeJson(app.call(move |api| api.act_power(change.actor(), id, act.action)).await?))
}

pub(crate) async fn save(
    State(app): State<App>,
    change: Change<may::Power>,
    Named(id): Named<i64>,
    OperatorJson(set): OperatorJson<SetPower>,
) -> Answer<PowerView> {
    Ok(SafeJson(app.call(move |api| api.set_power(change.actor(), id, &set)).await?))
}

pub(crate) async fn forget(State(app): State<App>, change: Change<may::Power>, Named(id): Named<i64>) -> Answer<PowerView> {
    Ok(SafeJson(app.call(move |api| api.forget_power(change.actor(), id)).await?))
}

/// Reads the certificate; no credentials are sent to the controller.
pub(crate) async fn certificate(State(app): State<App>, _: Change<may::Power>, Named(id): Named<i64>) -> Answer<PowerView> {
    Ok(SafeJson(app.call(move |api| api.read_certificate(id)).await?))
}

pub(crate) async fn trust(
    State(app): State<App>,
    change: Change<may::Power>,
    Named(id): Named<i64>,
    OperatorJson(trust): OperatorJson<Trust>,
) -> Answer<PowerView> {
    Ok(SafeJson(app.call(move |api| api.trust_certificate(change.actor(), id, &trust.fingerprint)).await?))
}
