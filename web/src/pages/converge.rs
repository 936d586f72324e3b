//! `/platform`: how far the nodes have converged, stage by stage.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use cluster_seed::converge::orders::RunResult;
use cluster_seed::converge::stage::Stand;
use serde::Deserialize;

use super::shell::{Refusal, Shell, overview, page};
use super::site::{REFRESH, Sent};
use super::view::clean;
use crate::api::{ConvergeAct, ConvergeNode, ConvergeStage, ConvergeView, ConvergeWhat, NodeCheck, RunView};
use crate::auth::{ChangeForm, NoPage, PageSession, Session, may};
use crate::call::App;
use crate::dates::{ago, iso};
use crate::error::Failure;
use crate::headers::RequestId;
use crate::limits::MAX_CONVERGE_NODES;
use crate::words::Lang;

/// Names of changes that a check run found, shown per node.
const MAX_WOULD: usize = 10;

struct Node {
    hostname: String,
    label: String,
    tone: &'static str,
    word: String,
    /// What it does, waits for, or failed at, in the words of the payload and of the daemon.
    now: Vec<String>,
    why: Option<String>,
    checks: Vec<NodeCheck>,
    would: Vec<String>,
    ran: Option<(String, String, String)>,
    seen: Option<(String, String)>,
}

fn tone(stand: Stand) -> &'static str {
    match stand {
        Stand::Converged => "good",
        Stand::Nothing => "idle",
        Stand::Waiting | Stand::Outdated => "wait",
        Stand::Running => "busy",
        Stand::Failed | Stand::Unhealthy | Stand::Silent => "bad",
    }
}

/// The key of the word for where a node stands.
fn word(stand: Stand) -> &'static str {
    match stand {
        Stand::Nothing => "stand-nothing",
        Stand::Waiting => "stand-waiting",
        Stand::Running => "stand-running",
        Stand::Converged => "stand-converged",
        Stand::Outdated => "stand-outdated",
        Stand::Failed => "stand-failed",
        Stand::Unhealthy => "stand-unhealthy",
        Stand::Silent => "stand-silent",
    }
}

/// How often a run was ok, what it changed, and how long it took.
fn outcome(lang: Lang, r: &RunView) -> String {
    lang.with("platform-ran", &[("ok", r.ok.into()), ("changed", r.changed.into()), ("n", r.seconds.into())])
}

impl Node {
    fn of(lang: Lang, n: &ConvergeNode, now: u64) -> Self {
        let run = n.run.as_ref();
        let place = |r: &RunView| format!("{}: {}", clean(&r.play), clean(&r.task));
        let doing = match n.stand {
            Stand::Running => run.filter(|r| !r.task.is_empty()).map(place).into_iter().collect(),
            Stand::Failed => run.map(place).into_iter().collect(),
            _ => n.waits.iter().map(|b| clean(&b.detail)).collect(),
        };
        let ended = n.ended_at.zip(run.filter(|r| r.result == RunResult::Ok));
        Node {
            label: clean(n.hostname.split('.').next().unwrap_or_default()),
            hostname: clean(&n.hostname),
            tone: tone(n.stand),
            word: lang.t(word(n.stand)),
            now: doing,
            why: run.filter(|_| n.stand == Stand::Failed).map(|r| clean(&r.why)),
            checks: n.checks.iter().map(tamed).collect(),
            would: n.check.iter().flat_map(|c| &c.would).take(MAX_WOULD).map(|w| clean(w)).collect(),
            ran: ended.map(|(at, r)| (iso(at), ago(lang, now, at), outcome(lang, r))),
            seen: n.seen.map(|at| (iso(at), ago(lang, now, at))),
        }
    }

    fn failing(&self) -> impl Iterator<Item = &NodeCheck> {
        self.checks.iter().filter(|c| !c.ok)
    }

    fn passing(&self) -> usize {
        self.checks.iter().filter(|c| c.ok).count()
    }
}

struct Stage {
    role: String,
    plays: String,
    after: String,
    open: bool,
    detail: String,
    paused: bool,
    nodes: Vec<Node>,
    left_out: usize,
}

impl Stage {
    fn of(lang: Lang, s: &ConvergeStage, now: u64) -> Self {
        let list = |names: &[String]| names.iter().map(|n| clean(n)).collect::<Vec<_>>().join(", ");
        Stage {
            role: clean(&s.role),
            plays: list(&s.plays),
            after: list(&s.after),
            open: s.open,
            detail: clean(&s.detail),
            paused: s.paused,
            nodes: s.nodes.iter().map(|n| Node::of(lang, n, now)).collect(),
            left_out: s.left_out,
        }
    }
}

/// The newest report of acceptance.
struct Accept {
    at: (String, String),
    passed: bool,
    checks: Vec<NodeCheck>,
}

fn tamed(c: &NodeCheck) -> NodeCheck {
    NodeCheck { name: clean(&c.name), ok: c.ok, detail: clean(&c.detail) }
}

#[derive(Template)]
#[template(path = "platform.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    payload: Option<String>,
    paused: bool,
    busy: bool,
    stages: Vec<Stage>,
    accept: Option<Accept>,
}

fn template(view: &ConvergeView, now: u64, shell: Shell, refusal: Option<Refusal>) -> Page {
    let busy =
        view.stages.iter().flat_map(|s| &s.nodes).any(|n| matches!(n.stand, Stand::Running | Stand::Waiting | Stand::Outdated));
    let lang = shell.lang;
    Page {
        shell,
        refusal,
        payload: view.payload.map(|id| id.to_string()),
        paused: view.paused,
        busy,
        stages: view.stages.iter().map(|s| Stage::of(lang, s, now)).collect(),
        accept: view.accept.as_ref().map(|a| Accept {
            at: (iso(a.at), ago(lang, now, a.at)),
            passed: a.passed,
            checks: a.checks.iter().map(tamed).collect(),
        }),
    }
}

async fn show_page(
    app: &App,
    id: &RequestId,
    session: &Session,
    refused: Option<(StatusCode, Refusal)>,
) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let newest = *app.newest().borrow();
    let view = app.call(|api| api.converge_view()).await?;
    let (status, refusal) = refused.map_or((StatusCode::OK, None), |(status, refusal)| (status, Some(refusal)));
    let mut shell = Shell::new("Platform", &overview, id, Some(session)).titled("nav-platform");
    shell.event = newest;
    // A node that is busy stays, so the page still refreshes itself.
    let mut made = template(&view.shortened(MAX_CONVERGE_NODES), overview.clock, shell, refusal);
    made.shell.refresh = made.busy.then_some(REFRESH);
    page(status, &made)
}

pub(crate) async fn show(State(app): State<App>, PageSession(session): PageSession, id: RequestId) -> Result<Response, NoPage> {
    Ok(show_page(&app, &id, &session, None).await?)
}

#[derive(Deserialize)]
pub(crate) struct ActForm {
    what: ConvergeWhat,
    #[serde(default)]
    role: String,
    #[serde(default)]
    node: String,
}

pub(crate) async fn act(
    Sent { app, id }: Sent,
    ChangeForm(change, form): ChangeForm<may::Converge, ActForm>,
) -> Result<Response, Failure> {
    let given = |text: String| Some(text).filter(|t| !t.is_empty());
    let act = ConvergeAct { what: form.what, role: given(form.role), node: given(form.node) };
    let actor = change.actor().clone();
    match app.call(move |api| api.act_on_converge(&actor, &act)).await {
        Ok(()) => Ok(Redirect::to("/platform").into_response()),
        Err(failure) => show_page(&app, &id, change.session(), Some(Refusal::of(failure)?)).await,
    }
}
