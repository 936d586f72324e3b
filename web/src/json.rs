//! The operator's JSON API, `/api/v1`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Response};
use cluster_seed::ids::EnrollmentId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::{Approve, ClockView, EnrollmentView, Login, MachineDetail, Overview, PackagesView, SeedApi, Setup};
use crate::auth::{Session, cookie, forget_cookie};
use crate::call::App;
use crate::error::Failure;
use crate::extract::{Named, OperatorJson, check_origin};
use crate::headers::From;
use crate::limits::MAX_EVENTS;
use crate::safe_json::SafeJson;

/// Events returned where the request does not say how many.
const DEFAULT_EVENTS: u32 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unseal {
    passphrase: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deny {
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
pub(crate) struct After {
    #[serde(default)]
    after: i64,
    limit: Option<u32>,
}

fn logged_in<A: SeedApi>(app: &App<A>, token: String) -> Result<Response, Failure> {
    let cookie = cookie(&token, app.options)?;
    Ok((AppendHeaders([(SET_COOKIE, cookie)]), SafeJson(json!({ "token": token }))).into_response())
}

pub(crate) async fn setup<A: SeedApi>(
    State(app): State<App<A>>,
    From(from): From,
    OperatorJson(setup): OperatorJson<Setup>,
) -> Result<Response, Failure> {
    let token = app.costly(move |api| api.setup(from, &setup)).await?;
    logged_in(&app, token)
}

pub(crate) async fn login<A: SeedApi>(
    State(app): State<App<A>>,
    From(from): From,
    OperatorJson(login): OperatorJson<Login>,
) -> Result<Response, Failure> {
    let token = app.costly(move |api| api.login(from, &login)).await?;
    logged_in(&app, token)
}

pub(crate) async fn logout<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Failure> {
    check_origin(&headers)?;
    session.check_header(&headers)?;
    app.call(move |api| api.logout(&session.token)).await?;
    Ok((AppendHeaders([(SET_COOKIE, forget_cookie(app.options))]), SafeJson(json!({ "loggedOut": true }))))
}

pub(crate) async fn unseal<A: SeedApi>(
    State(app): State<App<A>>,
    From(from): From,
    session: Session,
    headers: HeaderMap,
    OperatorJson(unseal): OperatorJson<Unseal>,
) -> Result<impl IntoResponse, Failure> {
    session.check_header(&headers)?;
    app.costly(move |api| api.unseal(from, &session.actor, &unseal.passphrase)).await?;
    Ok(SafeJson(json!({ "sealed": false })))
}

pub(crate) async fn status<A: SeedApi>(State(app): State<App<A>>, _: Session) -> Result<SafeJson<Overview>, Failure> {
    Ok(SafeJson(app.call(|api| api.overview()).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct SetClock {
    /// Unix milliseconds.
    to_ms: u64,
}

pub(crate) async fn clock<A: SeedApi>(State(app): State<App<A>>, _: Session) -> Result<SafeJson<ClockView>, Failure> {
    Ok(SafeJson(app.call(|api| api.clock()).await?))
}

pub(crate) async fn set_clock<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    headers: HeaderMap,
    OperatorJson(set): OperatorJson<SetClock>,
) -> Result<SafeJson<ClockView>, Failure> {
    session.check_header(&headers)?;
    Ok(SafeJson(app.call(move |api| api.set_clock(&session.actor, set.to_ms)).await?))
}

pub(crate) async fn machines<A: SeedApi>(State(app): State<App<A>>, _: Session) -> Result<impl IntoResponse, Failure> {
    let machines = app.call(|api| api.machines()).await?;
    Ok(SafeJson(list("machines", machines)))
}

pub(crate) async fn snapshots<A: SeedApi>(State(app): State<App<A>>, _: Session) -> Result<SafeJson<PackagesView>, Failure> {
    Ok(SafeJson(app.call(|api| api.packages()).await?))
}

pub(crate) async fn machine<A: SeedApi>(
    State(app): State<App<A>>,
    _: Session,
    Named(id): Named<i64>,
) -> Result<SafeJson<MachineDetail>, Failure> {
    Ok(SafeJson(app.call(move |api| api.machine(id)).await?))
}

pub(crate) async fn approve<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    headers: HeaderMap,
    Named(id): Named<EnrollmentId>,
    OperatorJson(approve): OperatorJson<Approve>,
) -> Result<SafeJson<EnrollmentView>, Failure> {
    session.check_header(&headers)?;
    Ok(SafeJson(app.call(move |api| api.approve(&session.actor, id, &approve)).await?))
}

pub(crate) async fn deny<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    headers: HeaderMap,
    Named(id): Named<EnrollmentId>,
    OperatorJson(deny): OperatorJson<Deny>,
) -> Result<SafeJson<EnrollmentView>, Failure> {
    session.check_header(&headers)?;
    Ok(SafeJson(app.call(move |api| api.deny(&session.actor, id, &deny.reason)).await?))
}

pub(crate) async fn revoke<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    headers: HeaderMap,
    Named(id): Named<EnrollmentId>,
    OperatorJson(why): OperatorJson<Deny>,
) -> Result<SafeJson<EnrollmentView>, Failure> {
    session.check_header(&headers)?;
    Ok(SafeJson(app.call(move |api| api.revoke(&session.actor, id, &why.reason)).await?))
}

pub(crate) async fn events<A: SeedApi>(
    State(app): State<App<A>>,
    _: Session,
    query: Result<Query<After>, QueryRejection>,
) -> Result<impl IntoResponse, Failure> {
    let Query(After { after, limit }) = query?;
    let limit = limit.unwrap_or(DEFAULT_EVENTS).clamp(1, MAX_EVENTS);
    let events = app.call(move |api| api.events(after.max(0), limit)).await?;
    Ok(SafeJson(list("events", events)))
}

fn list<T: Serialize>(name: &'static str, items: Vec<T>) -> impl Serialize {
    std::collections::BTreeMap::from([(name, items)])
}
