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
use crate::words::Lang;

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
    /// Colour and word of the state.
    tone: &'static str,
    word: String,
    /// In place of the word: why it ended, as the daemon says it.
    why: Option<String>,
}

impl Row {
    fn of(lang: Lang, t: &JoinTokenView, now: u64) -> Self {
        let (tone, word) = match t.state {
            JoinTokenState::Valid => ("good", "join-token-valid"),
            JoinTokenState::Waiting => ("wait", "join-token-waits"),
            JoinTokenState::Ended => ("idle", "join-token-ended"),
        };
        Row {
            id: t.id.to_string(),
            role: clean(&t.role),
            name: clean(&t.name),
            uses: lang.with("join-token-uses", &[("n", t.used.into()), ("x", (&t.uses.to_string()).into())]),
            until: iso(t.expires),
            created: Moment::of(lang, now, t.created),
            creator: clean(&t.creator),
            agreed: t.agreed.as_deref().map(clean).unwrap_or_default(),
            image: t.image.as_deref().map(clean).unwrap_or_default(),
            waits: t.state == JoinTokenState::Waiting,
            tone,
            word: lang.t(word),
            why: t.why.as_deref().filter(|_| t.state == JoinTokenState::Ended).map(clean),
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
    let shell = Shell::new("Join tokens", &overview, id, Some(session)).titled("join-token-title");
    let mut tokens: Vec<Row> = tokens.iter().rev().map(|t| Row::of(shell.lang, t, overview.clock)).collect();
    tokens.sort_by_key(|t| !t.waits);
    let waiting = tokens.iter().filter(|t| t.waits).count();
    page(status, &Page { shell, refusal, tokens, waiting })
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
