//! `/api/v1/passkeys` and `/api/v1/login/passkey`: what the page's script sends during a WebAuthn ceremony.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Answer, logged_in};
use crate::api::{Origin, PasskeyView};
use crate::auth::{Change, may};
use crate::call::App;
use crate::error::Failure;
use crate::extract::{Named, OperatorJson};
use crate::headers::From;
use crate::safe_json::SafeJson;

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Made {
    name: String,
    answer: Value,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// The options for a new passkey.
pub(crate) async fn begin(
    State(app): State<App>,
    change: Change<may::Fresh<may::Account>>,
    OperatorJson(Nothing {}): OperatorJson<Nothing>,
) -> Answer<Value> {
    Ok(SafeJson(app.call(move |api| api.begin_passkey(change.actor())).await?))
}

pub(crate) async fn finish(
    State(app): State<App>,
    change: Change<may::Account>,
    OperatorJson(made): OperatorJson<Made>,
) -> Answer<PasskeyView> {
    Ok(SafeJson(app.call(move |api| api.finish_passkey(change.actor(), &made.name, &made.answer)).await?))
}

pub(crate) async fn remove(
    State(app): State<App>,
    change: Change<may::Account>,
    Named(id): Named<String>,
) -> Answer<impl Serialize> {
    app.call(move |api| api.remove_passkey(change.actor(), &id)).await?;
    Ok(SafeJson(json!({ "removed": true })))
}

/// The options for a login. A JSON body, so that no other site can send it.
pub(crate) async fn begin_login(
    State(app): State<App>,
    From(from): From,
    OperatorJson(Nothing {}): OperatorJson<Nothing>,
) -> Answer<Value> {
    Ok(SafeJson(app.call(move |api| api.begin_passkey_login(from)).await?))
}

pub(crate) async fn login(
    State(app): State<App>,
    origin: Origin,
    OperatorJson(answer): OperatorJson<Value>,
) -> Result<Response, Failure> {
    let token = app.costly(move |api| api.passkey_login(&origin, &answer)).await?;
    logged_in(&app, token)
}
