//! `/api/v1/webhooks`

use axum::extract::State;
use serde::Serialize;

use super::{Answer, list_of};
use crate::api::{TestWish, WebhookTest};
use crate::auth::{Change, Session, SessionFor, may};
use crate::call::App;
use crate::extract::OperatorJson;
use crate::safe_json::SafeJson;

pub(crate) async fn list(State(app): State<App>, session: Session) -> Answer<impl Serialize> {
    let actor = session.actor().clone();
    let all = app.call(move |api| api.webhooks(&actor)).await?;
    Ok(SafeJson(list_of("webhooks", all)))
}

pub(crate) async fn dead(State(app): State<App>, SessionFor(session, _): SessionFor<may::Audit>) -> Answer<impl Serialize> {
    let actor = session.actor().clone();
    let all = app.call(move |api| api.dead_letters(&actor)).await?;
    Ok(SafeJson(list_of("dead", all)))
}

pub(crate) async fn test(
    State(app): State<App>,
    change: Change<may::Administer>,
    OperatorJson(wish): OperatorJson<TestWish>,
) -> Answer<WebhookTest> {
    Ok(SafeJson(app.call(move |api| api.test_webhook(change.actor(), &wish.url)).await?))
}
