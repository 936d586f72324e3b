//! `/api/v1/me`, `/users`, `/sessions`, `/api-tokens`, and the second person's yes to a machine.

use axum::extract::State;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::people::ApiTokenId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Answer, list_of};
use crate::api::{ChangePassword, CreatedToken, EnrollmentView, NewToken, NewUser, PeopleView, SetUser, UserView};
use crate::auth::{Change, Session, SessionFor, may};
use crate::call::App;
use crate::error::Failure;
use crate::extract::{Named, OperatorJson};
use crate::headers::From;
use crate::safe_json::SafeJson;

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Password {
    password: String,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Agree {
    decision: String,
}

async fn people(app: &App, session: Session) -> Result<PeopleView, Failure> {
    app.call(move |api| api.people(session.actor(), session.token())).await
}

pub(crate) async fn me(State(app): State<App>, session: Session) -> Answer<PeopleView> {
    Ok(SafeJson(people(&app, session).await?))
}

pub(crate) async fn users(State(app): State<App>, SessionFor(session, _): SessionFor<may::Audit>) -> Answer<impl Serialize> {
    Ok(SafeJson(list_of("users", people(&app, session).await?.users)))
}

pub(crate) async fn sessions(State(app): State<App>, SessionFor(session, _): SessionFor<may::Account>) -> Answer<impl Serialize> {
    Ok(SafeJson(list_of("sessions", people(&app, session).await?.sessions)))
}

pub(crate) async fn tokens(State(app): State<App>, SessionFor(session, _): SessionFor<may::Account>) -> Answer<impl Serialize> {
    Ok(SafeJson(list_of("tokens", people(&app, session).await?.tokens)))
}

/// The password again: for five minutes this session may do what cannot be undone.
pub(crate) async fn again(
    State(app): State<App>,
    From(from): From,
    change: Change<may::Account>,
    OperatorJson(typed): OperatorJson<Password>,
) -> Answer<impl Serialize> {
    app.costly(move |api| api.authenticate_again(from, change.actor(), change.token(), &typed.password)).await?;
    Ok(SafeJson(json!({ "fresh": true })))
}

pub(crate) async fn change_password(
    State(app): State<App>,
    From(from): From,
    change: Change<may::Account>,
    OperatorJson(typed): OperatorJson<ChangePassword>,
) -> Answer<impl Serialize> {
    app.costly(move |api| api.change_password(from, change.actor(), change.token(), &typed)).await?;
    Ok(SafeJson(json!({ "changed": true })))
}

pub(crate) async fn add_user(
    State(app): State<App>,
    change: Change<may::Fresh<may::Administer>>,
    OperatorJson(new): OperatorJson<NewUser>,
) -> Answer<UserView> {
    Ok(SafeJson(app.costly(move |api| api.add_user(change.actor(), &new)).await?))
}

pub(crate) async fn set_user(
    State(app): State<App>,
    change: Change<may::Fresh<may::Administer>>,
    Named(user): Named<String>,
    OperatorJson(set): OperatorJson<SetUser>,
) -> Answer<UserView> {
    Ok(SafeJson(app.call(move |api| api.set_user(change.actor(), &user, &set)).await?))
}

pub(crate) async fn reset_password(
    State(app): State<App>,
    change: Change<may::Fresh<may::Administer>>,
    Named(user): Named<String>,
    OperatorJson(typed): OperatorJson<Password>,
) -> Answer<impl Serialize> {
    app.costly(move |api| api.reset_password(change.actor(), &user, &typed.password)).await?;
    Ok(SafeJson(json!({ "changed": true })))
}

pub(crate) async fn remove_user(
    State(app): State<App>,
    change: Change<may::Fresh<may::Administer>>,
    Named(user): Named<String>,
) -> Answer<impl Serialize> {
    app.call(move |api| api.remove_user(change.actor(), &user)).await?;
    Ok(SafeJson(json!({ "removed": true })))
}

pub(crate) async fn end_session(
    State(app): State<App>,
    change: Change<may::Account>,
    Named(id): Named<String>,
) -> Answer<impl Serialize> {
    app.call(move |api| api.end_session(change.actor(), &id)).await?;
    Ok(SafeJson(json!({ "ended": 1 })))
}

/// Ends all but this one.
pub(crate) async fn end_sessions(State(app): State<App>, change: Change<may::Account>) -> Answer<impl Serialize> {
    let ended = app.call(move |api| api.end_other_sessions(change.actor(), change.token())).await?;
    Ok(SafeJson(json!({ "ended": ended })))
}

/// The answer has the token's text; it is not shown again.
pub(crate) async fn create_token(
    State(app): State<App>,
    change: Change<may::Fresh<may::Account>>,
    OperatorJson(new): OperatorJson<NewToken>,
) -> Answer<CreatedToken> {
    Ok(SafeJson(app.call(move |api| api.create_token(change.actor(), &new)).await?))
}

pub(crate) async fn revoke_token(
    State(app): State<App>,
    change: Change<may::Account>,
    Named(id): Named<ApiTokenId>,
) -> Answer<impl Serialize> {
    app.call(move |api| api.revoke_token(change.actor(), id)).await?;
    Ok(SafeJson(json!({ "revoked": id })))
}

/// A second person's yes to what the first one entered; `decision` is the digest that the machine's view shows.
pub(crate) async fn agree(
    State(app): State<App>,
    change: Change<may::Approve>,
    Named(id): Named<EnrollmentId>,
    OperatorJson(agree): OperatorJson<Agree>,
) -> Answer<EnrollmentView> {
    Ok(SafeJson(app.call(move |api| api.agree(change.actor(), id, &agree.decision)).await?))
}
