//! `/join-tokens`: the join tokens, and those that wait for a second user.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use cluster_seed::join::token::TokenId;
use serde::Deserialize;

use super::shell::{Refusal, Shell, overview, page};
use super::site::Sent;
use super::view::{Moment, clean};
use crate::api::{JoinTokenState, JoinTokenView};
use crate::auth::{ChangeForm, NoPage, PageSession, Session, may};
use crate::call::App;
use crate::dates::iso;
use crate::error::Failure;
use crate::headers::RequestId;

struct Row {
    id: String,
    role: String,
    name: String,
    uses: String,
    until: String,
    created: Moment,
    creator: String,
    agreed: String,
    image: String,
    waits: bool,
    /// Word and colour.
    state: (String, &'static str),
}

impl Row {
    fn of(t: &JoinTokenView, now: u64) -> Self {
        Row {
            id: t.id.to_string(),
            role: clean(&t.role),
            name: clean(&t.name),
            uses: format!("{} of {}", t.used, t.uses),
            until: iso(t.expires),
            created: Moment::new(now, t.created),
            creator: clean(&t.creator),
            agreed: t.agreed.as_deref().map(clean).unwrap_or_default(),
            image: t.image.as_deref().map(clean).unwrap_or_default(),
            waits: t.state == JoinTokenState::Waiting,
            state: match t.state {
                JoinTokenState::Valid => ("Valid".to_owned(), "good"),
                JoinTokenState::Waiting => ("Waits for a second user".to_owned(), "wait"),
                JoinTokenState::Ended => (t.why.as_deref().map_or_else(|| "ended".to_owned(), clean), "idle"),
            },
        }
    }
}

#[derive(Template)]
#[template(path = "join_tokens.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    tokens: Vec<Row>,
    waiting: usize,
}

async fn show_page(
    app: &App,
    id: &RequestId,
    session: &Session,
    refused: Option<(StatusCode, Refusal)>,
) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let tokens = app.call(|api| api.join_tokens()).await?;
    let (status, refusal) = refused.map_or((StatusCode::OK, None), |(status, refusal)| (status, Some(refusal)));
    let mut tokens: Vec<Row> = tokens.iter().rev().map(|t| Row::of(t, overview.clock)).collect();
    tokens.sort_by_key(|t| !t.waits);
    let waiting = tokens.iter().filter(|t| t.waits).count();
    page(status, &Page { shell: Shell::new("Join tokens", &overview, id, Some(session)), refusal, tokens, waiting })
}

pub(crate) async fn show(State(app): State<App>, PageSession(session): PageSession, id: RequestId) -> Result<Response, NoPage> {
    Ok(show_page(&app, &id, &session, None).await?)
}

#[derive(Deserialize)]
pub(crate) struct TokenForm {
    #[serde(default)]
    token: String,
}

pub(crate) async fn agree(
    Sent { app, id }: Sent,
    ChangeForm(change, form): ChangeForm<may::Approve, TokenForm>,
) -> Result<Response, Failure> {
    let token: TokenId = form.token.parse().map_err(|_| Failure::not_found())?;
    let actor = change.actor().clone();
    match app.call(move |api| api.agree_to_token(&actor, token)).await {
        Ok(_) => Ok(Redirect::to("/join-tokens").into_response()),
        Err(failure) => show_page(&app, &id, change.session(), Some(Refusal::of(failure)?)).await,
    }
}
