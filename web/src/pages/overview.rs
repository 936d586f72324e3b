//! `/`: all machines and nodes, and what is waiting for an operator.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use cluster_seed::enrollment::EnrollmentState;

use super::shell::{Refusal, Shell, overview, page};
use super::typed::{CodeField, TypedLine};
use super::view::{Entry, Line, bytes, clean, condense};
use crate::api::{ListsView, MachineRow};
use crate::auth::{PageSession, Session};
use crate::call::App;
use crate::dates::ago;
use crate::error::Failure;
use crate::headers::RequestId;
use crate::limits::{RECENT_EVENTS, RECENT_WINDOW};

/// How often a browser without JavaScript reloads the page, in seconds.
const REFRESH: u32 = 10;

struct Role {
    name: String,
    description: String,
    artifact: Option<String>,
    min_disk: Option<String>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    /// As it was typed.
    code: String,
    /// What became of the codes typed before, and their enrollments for the next form.
    typed: Vec<TypedLine>,
    typed_ids: String,
    waiting: usize,
    working: usize,
    converged: usize,
    failed: usize,
    machines: Vec<Line>,
    nodes: Vec<Line>,
    roles: Vec<Role>,
    snapshot: Option<String>,
    /// The word and its colour.
    proof: Option<(&'static str, &'static str)>,
    epoch: u64,
    lists: ListsView,
    /// Names of the most recently revoked nodes.
    revoked: String,
    clock: String,
    recent: Vec<Entry>,
}

pub(crate) async fn show(State(app): State<App>, PageSession(session): PageSession, id: RequestId) -> Result<Response, Failure> {
    render(&app, &session, &id, StatusCode::OK, CodeField::default()).await
}

pub(super) async fn render(
    app: &App,
    session: &Session,
    id: &RequestId,
    status: StatusCode,
    field: CodeField,
) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let newest = *app.newest().borrow();
    let CodeField { refusal, code, typed } = field;
    let typed_ids = typed.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let (rows, events, typed) = app
        .call(move |api| {
            let events = api.events((newest - i64::from(RECENT_WINDOW)).max(0), RECENT_WINDOW)?;
            let typed = if typed.is_empty() { Vec::new() } else { api.typed(&typed)? };
            Ok((api.machines()?, events, typed))
        })
        .await?;
    let now = overview.clock;
    let mut lines: Vec<(u8, Line)> = rows.iter().map(|row| (urgency(row), Line::of(row, now))).collect();
    lines.sort_by_key(|(urgency, line)| (*urgency, -line.id));
    let count = |n: u8| lines.iter().filter(|(urgency, _)| *urgency == n).count();
    let (waiting, failed, working, converged) = (count(0), count(1), count(2), count(4));
    let (nodes, machines) = lines.into_iter().map(|(_, line)| line).partition(|line: &Line| line.member);
    let roles = overview.roles.iter().map(|r| Role {
        name: clean(&r.name),
        description: clean(&r.description),
        artifact: r.artifact.map(|a| a.short()),
        min_disk: r.min_disk.map(bytes),
    });
    let recent = condense(&events).rev().take(RECENT_EVENTS).map(|e| Entry::of(e, ago(now, e.at / 1000))).collect();
    let mut shell = Shell::new("Machines", &overview, id, Some(session));
    // While a code may be typed, a reload would lose it.
    shell.refresh = (waiting == 0 && refusal.is_none() && typed.is_empty()).then_some(REFRESH);
    shell.event = newest;
    let template = Page {
        shell,
        refusal,
        code: clean(&code),
        typed: typed.iter().map(TypedLine::of).collect(),
        typed_ids,
        waiting,
        working,
        converged,
        failed,
        machines,
        nodes,
        roles: roles.collect(),
        snapshot: overview.snapshot.map(|s| s.short()),
        proof: overview.snapshot.and(overview.proof).map(|p| (p.as_str(), super::packages::tone(p))),
        epoch: overview.epoch,
        revoked: overview.lists.revoked.iter().map(|n| clean(n)).collect::<Vec<_>>().join(", "),
        lists: overview.lists,
        clock: crate::dates::iso(overview.clock),
        recent,
    };
    page(status, &template)
}

/// 0: waiting for an operator, 1: failed, 2: in progress, 3: only seen, 4: converged, 5: ended.
fn urgency(row: &MachineRow) -> u8 {
    use EnrollmentState as S;
    match row.enrollment.as_ref().map(|e| e.state) {
        // Set aside: it waits, but not for an operator.
        Some(S::Pending) if row.verdict.is_some() => 3,
        Some(S::Pending) => 0,
        Some(S::Failed) => 1,
        Some(S::Discovered | S::Confirming | S::Approved | S::Issued | S::Installing | S::Installed | S::FabricReady) => 2,
        None => 3,
        Some(S::Converged) => 4,
        Some(S::Denied | S::Revoked | S::Expired) => 5,
    }
}
