//! `/api/v1/join-tokens`

use axum::extract::State;
use cluster_seed::join::token::TokenId;
use serde::Serialize;

use super::{Answer, list_of};
use crate::api::JoinTokenView;
use crate::auth::{Change, Session, may};
use crate::call::App;
use crate::extract::Named;
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
