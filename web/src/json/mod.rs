//! The operators' JSON API, `/api/v1`. Its shapes are the structs of [`crate::api`].

pub(crate) mod about;
pub(crate) mod audit;
pub(crate) mod charts;
pub(crate) mod converge;
pub(crate) mod countersign;
pub(crate) mod dhcp;
pub(crate) mod inventory;
pub(crate) mod jobs;
pub(crate) mod join_tokens;
pub(crate) mod machine;
pub(crate) mod mesh;
pub(crate) mod openapi;
pub(crate) mod outputs;
pub(crate) mod passkeys;
pub(crate) mod people;
pub(crate) mod plan;
pub(crate) mod power;
pub(crate) mod rotation;
pub(crate) mod settings;
pub(crate) mod site;
pub(crate) mod webhooks;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::{ClockView, EventPart, EventView, Login, Origin, Overview, PackagesView, Setup};
use crate::auth::{Change, Session, cookie, forget_cookie, may};
use crate::call::App;
use crate::error::Failure;
use crate::extract::OperatorJson;
use crate::headers::From;
use crate::limits::MAX_EVENTS;
use crate::safe_json::SafeJson;

/// Events returned when the request does not say how many.
const DEFAULT_EVENTS: u32 = 100;

type Answer<T> = Result<SafeJson<T>, Failure>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unseal {
    passphrase: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct SetClock {
    /// Unix milliseconds.
    to_ms: u64,
}

#[derive(Deserialize)]
pub(crate) struct After {
    #[serde(default)]
    after: i64,
    limit: Option<u32>,
}

fn logged_in(app: &App, token: String) -> Result<Response, Failure> {
    let cookie = cookie(&token, app.options)?;
    Ok((AppendHeaders([(SET_COOKIE, cookie)]), SafeJson(json!({ "token": token }))).into_response())
}

pub(crate) async fn setup(
    State(app): State<App>,
    origin: Origin,
    OperatorJson(setup): OperatorJson<Setup>,
) -> Result<Response, Failure> {
    let token = app.costly(move |api| api.setup(&origin, &setup)).await?;
    logged_in(&app, token)
}

pub(crate) async fn login(
    State(app): State<App>,
    origin: Origin,
    OperatorJson(login): OperatorJson<Login>,
) -> Result<Response, Failure> {
    let token = app.costly(move |api| api.login(&origin, &login)).await?;
    logged_in(&app, token)
}

pub(crate) async fn logout(State(app): State<App>, change: Change<may::Account>) -> Result<impl IntoResponse, Failure> {
    app.call(move |api| api.logout(change.actor(), change.token())).await?;
    Ok((AppendHeaders([(SET_COOKIE, forget_cookie(app.options))]), SafeJson(json!({ "loggedOut": true }))))
}

pub(crate) async fn unseal(
    State(app): State<App>,
    From(from): From,
    change: Change<may::Administer>,
    OperatorJson(unseal): OperatorJson<Unseal>,
) -> Answer<impl Serialize> {
    app.costly(move |api| api.unseal(from, change.actor(), &unseal.passphrase)).await?;
    Ok(SafeJson(json!({ "sealed": false })))
}

pub(crate) async fn seal(State(app): State<App>, change: Change<may::Administer>) -> Answer<impl Serialize> {
    app.call(move |api| api.seal(change.actor())).await?;
    Ok(SafeJson(json!({ "sealed": true })))
}

pub(crate) async fn status(State(app): State<App>, _: Session) -> Answer<Overview> {
    Ok(SafeJson(app.call(|api| api.overview()).await?))
}

pub(crate) async fn clock(State(app): State<App>, _: Session) -> Answer<ClockView> {
    Ok(SafeJson(app.call(|api| api.clock()).await?))
}

pub(crate) async fn set_clock(
    State(app): State<App>,
    change: Change<may::Administer>,
    OperatorJson(set): OperatorJson<SetClock>,
) -> Answer<ClockView> {
    Ok(SafeJson(app.call(move |api| api.set_clock(change.actor(), set.to_ms)).await?))
}

pub(crate) async fn snapshots(State(app): State<App>, _: Session) -> Answer<PackagesView> {
    Ok(SafeJson(app.call(|api| api.packages()).await?))
}

/// HTTP shape of `GET /api/v1/events`: oldest first.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Events {
    events: Vec<EventView>,
    /// `after` of the next page; `None` if there are no newer events yet.
    next: Option<i64>,
}

pub(crate) async fn events(
    State(app): State<App>,
    session: Session,
    query: Result<Query<After>, QueryRejection>,
) -> Answer<Events> {
    let Query(After { after, limit }) = query?;
    let limit = limit.unwrap_or(DEFAULT_EVENTS).clamp(1, MAX_EVENTS);
    let actor = session.actor().clone();
    let EventPart { events, read, more } = app.call(move |api| api.events(&actor, after.max(0), limit)).await?;
    Ok(SafeJson(Events { events, next: more.then_some(read) }))
}

fn list_of<T: Serialize>(name: &'static str, items: Vec<T>) -> impl Serialize {
    std::collections::BTreeMap::from([(name, items)])
}
