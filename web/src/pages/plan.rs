//! `/plan`: the plan of enrollment, the join window, and machines that were denied or set aside.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use cluster_seed::ids::EnrollmentId;
use cluster_seed::plan::Problem;
use cluster_seed::policy::{Approval, WindowRule};
use serde::Deserialize;

use super::decision::{Hints, Rival};
use super::shell::{Refusal, Shell, overview, page};
use super::site::Sent;
use super::view::{Moment, clean, clean_or};
use crate::api::{PlanCheck, PlanHow, PlanRowView, PlanView, RowState, Say, UnplannedView, VerdictView};
use crate::auth::{Change, ChangeFields, ChangeForm, PageSession, Session, may};
use crate::call::App;
use crate::dates::iso;
use crate::error::Failure;
use crate::extract::Named;
use crate::headers::RequestId;
use crate::text::clean_lines;
use crate::words::Lang;

/// Rows of the plan on a page, beside those whose machines wait.
const PAGE: usize = 100;
/// Most machines that wait on a page, of those in the plan and of the others.
const MAX_WAITING: usize = 256;
/// Most machines that are listed for one row.
const MAX_CLAIMANTS: usize = 16;

/// A row of the plan.
struct Row {
    line: u64,
    serial: String,
    mac: String,
    name: String,
    role: String,
    disk: String,
    place: String,
    labels: Vec<(String, String)>,
    is_node: bool,
    machine: Option<i64>,
    enrollment: String,
    number: String,
    hints: Option<Hints>,
    /// Of a conflict: all that claim the row.
    claimants: Vec<Rival>,
}

impl Row {
    fn of(lang: Lang, v: &PlanRowView) -> Self {
        let row = &v.row;
        Row {
            line: row.line,
            serial: clean(&row.serial),
            mac: row.mac.map(|m| m.to_string()).unwrap_or_default(),
            name: clean(&row.name),
            role: clean(&row.role),
            disk: clean(&row.disk.to_string()),
            place: clean(&row.place),
            labels: row.labels.iter().map(|(k, v)| (clean(k), clean(v))).collect(),
            is_node: v.state == RowState::Node,
            machine: v.machine,
            enrollment: v.enrollment.map(|e| e.to_string()).unwrap_or_default(),
            number: v.number.map(|n| format!("{n}-")).unwrap_or_default(),
            hints: v.suggestion.as_ref().map(|s| Hints::of(lang, s)),
            claimants: v.claimants.iter().take(MAX_CLAIMANTS).map(|c| Rival::of(lang, c)).collect(),
        }
    }
}

/// A machine that waits and has no row.
struct Other {
    machine: i64,
    mac: String,
    serial: String,
    model: String,
    number: String,
    hints: Option<Hints>,
}

impl Other {
    fn of(lang: Lang, u: &UnplannedView) -> Self {
        Other {
            machine: u.machine,
            mac: u.mac.to_string(),
            serial: clean_or(&u.serial, &lang.t("plan-no-serial")),
            model: clean_or(&u.model, &lang.t("unknown-model")),
            number: u.number.map(|n| format!("{n}-")).unwrap_or_default(),
            hints: u.suggestion.as_ref().map(|s| Hints::of(lang, s)),
        }
    }
}

/// What was said about a machine.
pub(super) struct VerdictLine {
    pub(super) mac: String,
    pub(super) machine: Option<i64>,
    pub(super) denied: bool,
    pub(super) by: String,
    pub(super) at: Moment,
    pub(super) until: String,
    pub(super) reason: String,
}

impl VerdictLine {
    pub(super) fn of(lang: Lang, v: &VerdictView, now: u64) -> Self {
        VerdictLine {
            mac: v.mac.to_string(),
            machine: v.machine,
            denied: v.denied,
            by: clean(&v.by),
            at: Moment::of(lang, now, v.at),
            until: v.until.map(iso).unwrap_or_default(),
            reason: clean(&v.reason),
        }
    }
}

struct ProblemLine {
    line: u64,
    message: String,
    hint: String,
}

#[derive(Template)]
#[template(path = "plan.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    /// These rows are only proposed: nothing was kept.
    is_dry_run: bool,
    /// As it was typed.
    text: String,
    click: bool,
    manual: bool,
    open: bool,
    until: String,
    opened_by: String,
    conflicts: Vec<Row>,
    waiting: Vec<Row>,
    others: Vec<Other>,
    /// Of the plan and of the others, machines that were set aside: they are among the verdicts.
    aside: usize,
    other_aside: usize,
    rows: Vec<Row>,
    problems: Vec<ProblemLine>,
    all: usize,
    nodes: usize,
    not_seen: usize,
    /// Numbers of this page and of the last one, from 1.
    at: usize,
    last: usize,
    verdicts: Vec<VerdictLine>,
}

/// What is shown beside the plan that is kept.
#[derive(Default)]
struct Shown {
    refusal: Option<(StatusCode, Refusal)>,
    /// A plan that was only checked.
    checked: Option<PlanCheck>,
    text: String,
    at: usize,
}

fn template(shell: Shell, view: PlanView, shown: Shown, now: u64) -> Page {
    let lang = shell.lang;
    let PlanView { policy, window, check, verdicts } = view;
    let is_dry_run = shown.checked.is_some();
    let PlanCheck { rows, unplanned, problems } = shown.checked.unwrap_or(check);
    let count = |state: RowState| rows.iter().filter(|r| r.state == state).count();
    let (all, nodes, not_seen) = (rows.len(), count(RowState::Node), count(RowState::NotSeen));
    let (conflicts, rest): (Vec<_>, Vec<_>) = rows.iter().partition(|r| r.state == RowState::Conflict);
    let aside = rows.iter().filter(|r| r.aside).count();
    let other_aside = unplanned.iter().filter(|u| u.aside).count();
    let (waiting, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(|r| r.state == RowState::Waiting);
    let last = rest.len().div_ceil(PAGE).max(1);
    let at = shown.at.clamp(1, last);
    let problem = |p: &Problem| ProblemLine { line: p.line, message: clean(&p.message), hint: clean(&p.hint) };
    Page {
        shell,
        refusal: shown.refusal.map(|(_, refusal)| refusal),
        is_dry_run,
        text: clean_lines(&shown.text),
        click: policy == Approval::PlannedClick,
        manual: window.rule == WindowRule::Manual,
        open: window.open,
        until: window.until.map(iso).unwrap_or_default(),
        opened_by: window.by.as_deref().map(clean).unwrap_or_default(),
        conflicts: conflicts.into_iter().take(MAX_WAITING).map(|r| Row::of(lang, r)).collect(),
        waiting: waiting.into_iter().filter(|r| !r.aside).take(MAX_WAITING).map(|r| Row::of(lang, r)).collect(),
        aside,
        other_aside,
        others: unplanned.iter().filter(|u| !u.aside).take(MAX_WAITING).map(|u| Other::of(lang, u)).collect(),
        rows: rest.into_iter().skip((at - 1) * PAGE).take(PAGE).map(|r| Row::of(lang, r)).collect(),
        problems: problems.iter().take(cluster_seed::plan::MAX_PROBLEMS).map(problem).collect(),
        all,
        nodes,
        not_seen,
        at,
        last,
        verdicts: verdicts.iter().take(MAX_WAITING).map(|v| VerdictLine::of(lang, v, now)).collect(),
    }
}

async fn show_page(app: &App, id: &RequestId, session: &Session, shown: Shown) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let newest = *app.newest().borrow();
    let view = app.call(|api| api.plan()).await?;
    let status = shown.refusal.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let mut shell = Shell::new("Plan", &overview, id, Some(session)).titled("nav-plan");
    shell.event = newest;
    page(status, &template(shell, view, shown, overview.clock))
}

#[derive(Deserialize)]
pub(crate) struct PageNumber {
    #[serde(default)]
    page: usize,
}

pub(crate) async fn show(
    State(app): State<App>,
    PageSession(session): PageSession,
    id: RequestId,
    query: Result<Query<PageNumber>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(PageNumber { page }) = query?;
    show_page(&app, &id, &session, Shown { at: page, ..Shown::default() }).await
}

/// The text that was pasted, or that of the file.
fn text_of(fields: &mut BTreeMap<String, String>) -> String {
    let mut take = |name: &str| fields.remove(name).filter(|t| !t.trim().is_empty());
    take("file").or_else(|| take("text")).unwrap_or_default()
}

/// Checks, replaces or adds; `act` is the button that was pressed. What was typed stays in the field unless it was kept.
pub(crate) async fn change(
    Sent { app, id }: Sent,
    ChangeFields(change, mut fields): ChangeFields<may::Approve>,
) -> Result<Response, Failure> {
    let (act, text) = (fields.remove("act").unwrap_or_default(), text_of(&mut fields));
    let (actor, sent) = (change.actor().clone(), text.clone());
    let how = match act.as_str() {
        "set" => PlanHow::Set,
        "add" => PlanHow::Add,
        _ => {
            let checked = app.call(move |api| api.check_plan(&sent)).await?;
            return show_page(&app, &id, change.session(), Shown { checked: Some(checked), text, ..Shown::default() }).await;
        }
    };
    match app.call(move |api| api.keep_plan(&actor, &sent, how)).await {
        Ok(_) => Ok(Redirect::to("/plan").into_response()),
        Err(failure) => refused(&app, &id, change.session(), failure, text).await,
    }
}

async fn refused(app: &App, id: &RequestId, session: &Session, failure: Failure, text: String) -> Result<Response, Failure> {
    let refusal = Some(Refusal::of(failure)?);
    show_page(app, id, session, Shown { refusal, text, ..Shown::default() }).await
}

#[derive(Deserialize)]
pub(crate) struct NameForm {
    /// Empty for the whole plan.
    #[serde(default)]
    name: String,
}

pub(crate) async fn remove(
    sent: Sent,
    ChangeForm(change, form): ChangeForm<may::Approve, NameForm>,
) -> Result<Response, Failure> {
    let (actor, name) = (change.actor().clone(), form.name);
    let done = sent.app.call(move |api| api.drop_plan(&actor, Some(name.as_str()).filter(|n| !n.is_empty()))).await;
    finish(sent, &change, done.map(drop), "/plan").await
}

#[derive(Deserialize)]
pub(crate) struct WindowForm {
    /// Seconds; 0 closes the window. A flattened form has texts only.
    #[serde(default)]
    seconds: String,
}

pub(crate) async fn window(
    sent: Sent,
    ChangeForm(change, form): ChangeForm<may::Approve, WindowForm>,
) -> Result<Response, Failure> {
    let seconds: u64 = form.seconds.parse().map_err(|_| Failure::not_found())?;
    let (actor, seconds) = (change.actor().clone(), Some(seconds).filter(|s| *s > 0));
    let done = sent.app.call(move |api| api.set_window(&actor, seconds)).await;
    finish(sent, &change, done.map(drop), "/plan").await
}

#[derive(Deserialize)]
pub(crate) struct ClickForm {
    #[serde(default)]
    enrollment: String,
}

pub(crate) async fn click(
    sent: Sent,
    ChangeForm(change, form): ChangeForm<may::Approve, ClickForm>,
) -> Result<Response, Failure> {
    let id: EnrollmentId = form.enrollment.parse().map_err(|_| Failure::not_found())?;
    let actor = change.actor().clone();
    let done = sent.app.call(move |api| api.click(&actor, id)).await;
    finish(sent, &change, done.map(drop), "/plan").await
}

#[derive(Deserialize)]
pub(crate) struct SayForm {
    /// `allow`, or seconds for which the machine is not listed as waiting.
    #[serde(default)]
    say: String,
    /// `plan` to return to the plan.
    #[serde(default)]
    from: String,
}

pub(crate) async fn say(
    sent: Sent,
    Named(machine): Named<i64>,
    ChangeForm(change, form): ChangeForm<may::Approve, SayForm>,
) -> Result<Response, Failure> {
    let say = match form.say.as_str() {
        "allow" => Say::Allow,
        seconds => Say::NotNow { seconds: seconds.parse().map_err(|_| Failure::not_found())? },
    };
    let actor = change.actor().clone();
    let done = sent.app.call(move |api| api.say_of(&actor, machine, say)).await;
    let back = if form.from == "plan" { "/plan".to_owned() } else { format!("/machines/{machine}") };
    finish(sent, &change, done, &back).await
}

async fn finish(sent: Sent, change: &Change<may::Approve>, done: Result<(), Failure>, to: &str) -> Result<Response, Failure> {
    let Sent { app, id } = sent;
    match done {
        Ok(()) => Ok(Redirect::to(to).into_response()),
        Err(failure) => refused(&app, &id, change.session(), failure, String::new()).await,
    }
}
