//! `/clock`: the seed's clock, and the form that sets it.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::shell::{Refusal, Shell, overview, page};
use super::view::clean;
use crate::api::ClockView;
use crate::auth::{ChangeForm, NoPage, PageSession, Session, may};
use crate::call::App;
use crate::dates::{iso, parse_time};
use crate::error::Failure;
use crate::headers::RequestId;

#[derive(Template)]
#[template(path = "clock.html")]
struct ClockPage {
    shell: Shell,
    refusal: Option<Refusal>,
    now: String,
    source: String,
    synchronised: bool,
    stratum: Option<u8>,
    offset: Option<String>,
    drift: Option<String>,
    doubt: Option<String>,
    typed: String,
}

#[derive(Deserialize)]
pub(crate) struct ClockForm {
    #[serde(default)]
    time: String,
    /// Milliseconds since 1970 by the browser's clock, filled in by the page's script.
    #[serde(default)]
    browser: String,
    /// The button that was pressed.
    #[serde(default)]
    take: String,
}

impl ClockForm {
    fn wanted(&self) -> Result<u64, Failure> {
        let bad = |why: &str, hint: &str| Failure::new(StatusCode::BAD_REQUEST, why).with_hint(hint);
        if self.take == "browser" {
            let hint = "this needs JavaScript; without it, type the time";
            return self.browser.parse().map_err(|_| bad("the browser sent no time", hint));
        }
        parse_time(&self.time).ok_or_else(|| bad("invalid time", "write it as 2026-11-22T19:54:05Z"))
    }
}

async fn show_page(
    app: &App,
    id: &RequestId,
    session: &Session,
    refused: Option<(StatusCode, Refusal)>,
    typed: &str,
) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let clock = app.call(|api| api.clock()).await?;
    let ClockView { clock_ms, source, synchronised, stratum, offset, drift, doubt } = clock;
    let (status, refusal) = refused.map_or((StatusCode::OK, None), |(status, refusal)| (status, Some(refusal)));
    let template = ClockPage {
        shell: Shell::new("Clock", &overview, id, Some(session)).titled("nav-clock"),
        refusal,
        now: iso(clock_ms / 1000),
        source: clean(&source),
        synchronised,
        stratum,
        offset: offset.map(|s| format!("{:+.3} ms", s * 1000.0)),
        drift: drift.map(|ppm| format!("{ppm:+.3} ppm")),
        doubt: doubt.map(|d| clean(&d)),
        typed: clean(typed),
    };
    page(status, &template)
}

pub(crate) async fn show(State(app): State<App>, PageSession(session): PageSession, id: RequestId) -> Result<Response, NoPage> {
    Ok(show_page(&app, &id, &session, None, "").await?)
}

pub(crate) async fn set(
    State(app): State<App>,
    id: RequestId,
    ChangeForm(change, form): ChangeForm<may::Administer, ClockForm>,
) -> Result<Response, Failure> {
    let actor = change.actor().clone();
    let done = match form.wanted() {
        Ok(to_ms) => app.call(move |api| api.set_clock(&actor, to_ms)).await,
        Err(failure) => Err(failure),
    };
    match done {
        Ok(_) => Ok(Redirect::to("/clock").into_response()),
        Err(failure) => show_page(&app, &id, change.session(), Some(Refusal::of(failure)?), &form.time).await,
    }
}
