//! `/api/v1/join-tokens`

use axum::extract::State;
use cluster_seed::join::token::TokenId;
use serde::Serialize;
use serde_json::json;

use super::{Answer, list_of};
use crate::api::{CreatedJoinToken, JoinTokenView, NewJoinToken};
use crate::auth::{Change, Session, may};
use crate::call::App;
use crate::extract::{Named, OperatorJson};
use crate::safe_json::SafeJson;

pub(crate) async fn list(State(app): State<App>, _: Session) -> Answer<impl Serialize> {
    Ok(SafeJson(list_of("tokens", app.call(|api| api.join_tokens()).await?)))
}

pub(crate) async fn agree(
    State(app): State<App>,
    change: Change<may::Approve>,
    Named(id): Named<TokenId>,
) -> Answer<JoinTokenView> {
    Ok(SafeJson(app.call(move |api| api.agree_to_token(change.actor(), id)).await?))
}

/// The answer has the token's text; it is not shown again.
pub(crate) async fn create(
    State(app): State<App>,
    change: Change<may::Fresh<may::Administer>>,
    OperatorJson(new): OperatorJson<NewJoinToken>,
) -> Answer<CreatedJoinToken> {
    Ok(SafeJson(app.call(move |api| api.create_join_token(change.actor(), &new)).await?))
}

pub(crate) async fn revoke(
    State(app): State<App>,
    change: Change<may::Approve>,
    Named(id): Named<TokenId>,
) -> Answer<impl Serialize> {
    app.call(move |api| api.revoke_join_token(change.actor(), id)).await?;
    Ok(SafeJson(json!({ "revoked": id })))
}
