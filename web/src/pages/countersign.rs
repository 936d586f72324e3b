//! `/countersign`: nodes that wait for the signature of the key that is kept off the seed, the request for it, and its answer.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};

use super::shell::{Refusal, Shell, overview, page};
use super::site::Sent;
use super::view::clean;
use crate::api::CountersignView;
use crate::auth::{ChangeFields, PageSession, Session, may};
use crate::call::App;
use crate::error::Failure;
use crate::headers::RequestId;
use crate::text::clean_lines;

/// Most nodes on the page; the request has all.
const MAX_SHOWN: usize = 200;

struct Waiting {
    name: String,
    role: String,
    fingerprint: String,
    is_listed: bool,
}

#[derive(Template)]
#[template(path = "countersign.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    key: Option<String>,
    is_checked: bool,
    next: Option<String>,
    problem: Option<String>,
    waiting: Vec<Waiting>,
    /// How many wait, and how many of them are not shown.
    count: usize,
    more: usize,
    /// As it was typed.
    text: String,
}

fn template(shell: Shell, view: CountersignView, refusal: Option<Refusal>, text: &str) -> Page {
    let shown = view.waiting.iter().take(MAX_SHOWN).map(|w| Waiting {
        name: w.name.to_string(),
        role: clean(&w.role),
        fingerprint: clean(&w.fingerprint),
        is_listed: w.listed,
    });
    Page {
        shell,
        refusal,
        waiting: shown.collect(),
        count: view.waiting.len(),
        more: view.waiting.len().saturating_sub(MAX_SHOWN),
        key: view.key,
        is_checked: view.checked,
        next: view.next,
        problem: view.problem.as_deref().map(clean),
        text: clean_lines(text),
    }
}

async fn show_page(
    app: &App,
    id: &RequestId,
    session: &Session,
    refused: Option<(StatusCode, Refusal)>,
    text: &str,
) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let newest = *app.newest().borrow();
    let view = app.call(|api| api.countersign()).await?;
    let (status, refusal) = refused.map_or((StatusCode::OK, None), |(status, refusal)| (status, Some(refusal)));
    let mut shell = Shell::new("Countersigning", &overview, id, Some(session)).titled("countersign-title");
    shell.event = newest;
    page(status, &template(shell, view, refusal, text))
}

pub(crate) async fn show(State(app): State<App>, PageSession(session): PageSession, id: RequestId) -> Result<Response, Failure> {
    show_page(&app, &id, &session, None, "").await
}

/// The request as a file, for the stick that goes to the offline machine.
pub(crate) async fn request(State(app): State<App>, _: PageSession) -> Result<Response, Failure> {
    let file = app.call(|api| api.countersign_request(false)).await?;
    let headers =
        [(CONTENT_TYPE, "application/json"), (CONTENT_DISPOSITION, "attachment; filename=\"countersign-request.json\"")];
    Ok((headers, file.text).into_response())
}

/// The text that was pasted, or that of the file.
fn text_of(fields: &mut BTreeMap<String, String>) -> String {
    let mut take = |name: &str| fields.remove(name).filter(|t| !t.trim().is_empty());
    take("file").or_else(|| take("text")).unwrap_or_default()
}

/// What was pasted stays in the field unless it was taken.
pub(crate) async fn take(
    Sent { app, id }: Sent,
    ChangeFields(change, mut fields): ChangeFields<may::Approve>,
) -> Result<Response, Failure> {
    let text = text_of(&mut fields);
    let (actor, sent) = (change.actor().clone(), text.clone());
    match app.call(move |api| api.take_countersignatures(&actor, &sent)).await {
        Ok(_) => Ok(Redirect::to("/countersign").into_response()),
        Err(failure) => show_page(&app, &id, change.session(), Some(Refusal::of(failure)?), &text).await,
    }
}
