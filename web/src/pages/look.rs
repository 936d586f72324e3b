//! `/look`: theme and language, for whoever has this browser. Works before login, and on a seed without a site.

use askama::Template;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::shell::{Shell, overview, page};
use crate::auth::find;
use crate::call::App;
use crate::error::Failure;
use crate::extract::Posted;
use crate::headers::RequestId;
use crate::look::{LANGUAGE_COOKIE, THEME_COOKIE, Theme, keep};
use crate::words::Lang;

/// A theme or language to choose.
struct Choice {
    word: &'static str,
    name: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "look.html")]
struct Page {
    shell: Shell,
    themes: Vec<Choice>,
    languages: Vec<Choice>,
}

/// The form. What it does not know counts as the default.
#[derive(Deserialize)]
pub(crate) struct LookForm {
    #[serde(default)]
    theme: String,
    #[serde(default)]
    language: String,
}

pub(crate) fn form(shell: Shell) -> Result<Response, Failure> {
    let shell = shell.titled("look-title");
    let look = shell.look;
    let theme = |t: Theme| Choice { word: t.as_str(), name: look.lang.t(t.key()), chosen: t == look.theme };
    let language = |l: Lang| Choice { word: l.code(), name: l.name().to_owned(), chosen: look.chosen && l == look.lang };
    let (themes, languages) = (Theme::ALL.map(theme).into(), Lang::ALL.map(language).into());
    page(StatusCode::OK, &Page { shell, themes, languages })
}

pub(crate) async fn show(State(app): State<App>, id: RequestId, headers: HeaderMap) -> Result<Response, Failure> {
    let session = find(&app, &headers).await?;
    let overview = overview(&app).await?;
    form(Shell::new("Appearance and language", &overview, &id, session.as_ref()))
}

/// The page of a seed that has no site yet.
pub(crate) async fn show_bare(id: RequestId) -> Result<Response, Failure> {
    let site = id.look().lang.t("setup-new-seed");
    form(Shell::bare("Appearance and language", &site, "", &id))
}

/// Nothing is kept here: the browser keeps both cookies.
pub(crate) async fn save(Posted(form): Posted<LookForm>) -> Response {
    let theme = Theme::of(&form.theme).filter(|t| *t != Theme::System).map_or("", Theme::as_str);
    let language = Lang::of(&form.language).map_or("", Lang::code);
    let cookies = [(SET_COOKIE, keep(THEME_COOKIE, theme)), (SET_COOKIE, keep(LANGUAGE_COOKIE, language))];
    (AppendHeaders(cookies), Redirect::to("/look")).into_response()
}
