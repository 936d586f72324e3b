//! `/settings`: cluster.yaml with line numbers; edited, checked, compared and applied.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::shell::{Refusal, Shell, overview, page};
use super::view::clean;
use crate::api::{DiffChange, DiffLine, SettingsCheck, SettingsView};
use crate::auth::{ChangeForm, NoPage, PageSession, Session, may};
use crate::call::App;
use crate::error::Failure;
use crate::headers::RequestId;
use crate::text::is_tricky;
use crate::words::Lang;

/// A line of a difference.
struct Diff {
    class: &'static str,
    sign: &'static str,
    /// For those who do not see the sign.
    word: String,
    number: String,
    text: String,
}

impl Diff {
    fn of(lang: Lang, line: &DiffLine) -> Self {
        let (class, sign, word) = match line.change {
            DiffChange::Same => ("same", " ", String::new()),
            DiffChange::Removed => ("removed", "\u{2212}", lang.t("settings-removed")),
            DiffChange::Added => ("added", "+", lang.t("settings-added")),
            DiffChange::Gap => ("gap", "\u{22ef}", lang.t("settings-left-out")),
        };
        let number = line.new.or(line.old).map(|n| n.to_string()).unwrap_or_default();
        Diff { class, sign, word, number, text: whole(&line.text) }
    }
}

struct Problem {
    line: u64,
    column: u64,
    message: String,
    hint: Option<String>,
}

/// A line of the file.
struct Line {
    number: u64,
    text: String,
    bad: bool,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    /// What is in the text field.
    text: String,
    tag: String,
    overlaid: bool,
    /// The text field differs from the file.
    edited: bool,
    lines: Vec<Line>,
    checked: bool,
    problems: Vec<Problem>,
    diff: Vec<Diff>,
    plan: String,
}

/// A text of many lines, uncut, without characters that reorder or hide what is around them.
fn whole(text: &str) -> String {
    text.chars().map(|c| if is_tricky(c) && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// Browsers send line ends as CR LF (WHATWG HTML, section 4.10.22.4).
fn unix(text: &str) -> String {
    text.replace("\r\n", "\n")
}

fn template(
    shell: Shell,
    view: &SettingsView,
    typed: Option<&str>,
    check: Option<SettingsCheck>,
    refusal: Option<Refusal>,
) -> Page {
    let lang = shell.lang;
    let text = typed.unwrap_or(&view.text);
    let checked = check.is_some();
    let SettingsCheck { problems, diff, plan } = check.unwrap_or_default();
    let is_bad = |number: u64| problems.iter().any(|p| p.line == number);
    Page {
        shell,
        refusal,
        text: whole(text),
        tag: view.tag.clone(),
        overlaid: view.overlaid,
        edited: typed.is_some_and(|t| t != view.text),
        lines: (1..).zip(text.lines()).map(|(number, text)| Line { number, text: whole(text), bad: is_bad(number) }).collect(),
        checked,
        problems: problems
            .iter()
            .map(|p| Problem { line: p.line, column: p.column, message: clean(&p.message), hint: p.hint.as_deref().map(clean) })
            .collect(),
        diff: diff.iter().map(|line| Diff::of(lang, line)).collect(),
        plan: whole(&plan),
    }
}

/// What a page shows beside the file as it is.
#[derive(Default)]
struct Shown<'a> {
    typed: Option<&'a str>,
    check: Option<SettingsCheck>,
    refused: Option<(StatusCode, Refusal)>,
}

async fn show_page(app: &App, id: &RequestId, session: &Session, shown: Shown<'_>) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let actor = session.actor().clone();
    let view = app.call(move |api| api.settings(&actor)).await?;
    let shell = Shell::new("Settings", &overview, id, Some(session)).titled("nav-settings");
    let (mut status, refusal) = shown.refused.map_or((StatusCode::OK, None), |(status, refusal)| (status, Some(refusal)));
    if shown.check.as_ref().is_some_and(|c| !c.problems.is_empty()) && refusal.is_none() {
        status = StatusCode::UNPROCESSABLE_ENTITY;
    }
    page(status, &template(shell, &view, shown.typed, shown.check, refusal))
}

pub(crate) async fn show(State(app): State<App>, PageSession(session): PageSession, id: RequestId) -> Result<Response, NoPage> {
    Ok(show_page(&app, &id, &session, Shown::default()).await?)
}

#[derive(Deserialize)]
pub(crate) struct Edit {
    #[serde(default)]
    text: String,
    /// Of the file that was edited.
    #[serde(default)]
    tag: String,
}

/// Checks what was typed, and shows the difference.
pub(crate) async fn check(
    State(app): State<App>,
    id: RequestId,
    ChangeForm(change, form): ChangeForm<may::Administer, Edit>,
) -> Result<Response, Failure> {
    let text = unix(&form.text);
    let shown = checked(&app, &text).await?;
    show_page(&app, &id, change.session(), shown).await
}

async fn checked<'a>(app: &App, text: &'a str) -> Result<Shown<'a>, Failure> {
    let typed = text.to_owned();
    Ok(match app.call(move |api| api.check_settings(&typed)).await {
        Ok(check) => Shown { typed: Some(text), check: Some(check), refused: None },
        Err(failure) => Shown { typed: Some(text), check: None, refused: Some(Refusal::of(failure)?) },
    })
}

/// Replaces the file. With a password that was typed just now: the file says who may log in to nodes and how many approve a machine.
pub(crate) async fn apply(
    State(app): State<App>,
    id: RequestId,
    ChangeForm(change, form): ChangeForm<may::Fresh<may::Administer>, Edit>,
) -> Result<Response, Failure> {
    let text = unix(&form.text);
    let shown = checked(&app, &text).await?;
    if shown.check.as_ref().is_none_or(|c| !c.problems.is_empty()) {
        return show_page(&app, &id, change.session(), shown).await;
    }
    let (actor, typed) = (change.actor().clone(), text.clone());
    match app.call(move |api| api.apply_settings(&actor, &typed, form.tag.trim())).await {
        Ok(_) => Ok(Redirect::to("/settings").into_response()),
        Err(failure) => {
            let refused = Some(Refusal::of(failure)?);
            show_page(&app, &id, change.session(), Shown { refused, ..shown }).await
        }
    }
}
