//! `/`: the field for a pairing code, what needs an operator now, the stages of all machines, and what happened last.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use cluster_seed::fleet::Stage;

use super::needs::{Need, Step, needs, steps};
use super::shell::{Refusal, Shell, overview, page};
use super::typed::{CodeField, TypedLine};
use super::view::{Entry, bytes, clean, stage_key};
use super::work::Work;
use crate::api::{Happening, HomeView, Overview};
use crate::auth::{PageSession, Session};
use crate::call::App;
use crate::dates::ago;
use crate::error::Failure;
use crate::headers::RequestId;
use crate::words::Lang;

struct Role {
    name: String,
    description: String,
    artifact: Option<String>,
    min_disk: Option<String>,
}

/// How many machines a stage has.
struct Count {
    stage: Stage,
    count: u32,
}

impl Count {
    fn key(&self) -> &'static str {
        stage_key(self.stage)
    }
}

/// An event, with the name of its machine.
struct Event {
    entry: Entry,
    machine: Option<(i64, String)>,
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
    needs: Vec<Need>,
    /// The first hour of a site; empty once a node works.
    steps: Vec<Step>,
    stages: Vec<Count>,
    /// Machines that would wait, but were set aside.
    aside: u32,
    job: Option<Work>,
    events: Vec<Event>,
    roles: Vec<Role>,
    snapshot: Option<String>,
    /// The word and its colour.
    proof: Option<(String, &'static str)>,
    epoch: u64,
    clock: String,
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
    let actor = session.actor().clone();
    let (home, typed) =
        app.call(move |api| Ok((api.home(&actor)?, if typed.is_empty() { Vec::new() } else { api.typed(&typed)? }))).await?;
    let now = overview.clock;
    // It is not reloaded without JavaScript: the cursor is in the field for the code.
    let mut shell = Shell::new("Home", &overview, id, Some(session)).titled("home-title");
    let lang = shell.lang;
    shell.event = newest;
    let steps = steps(lang, &overview, &home);
    let template = Page {
        shell,
        refusal,
        code: clean(&code),
        typed: typed.iter().map(|t| TypedLine::of(lang, t)).collect(),
        typed_ids,
        needs: needs(lang, &overview, &home, !steps.is_empty()),
        steps,
        stages: stages(&home),
        aside: home.aside,
        job: home.job.as_ref().filter(|j| j.is_running()).map(|j| Work::of(lang, j, now, "/site/stop")),
        events: home.events.iter().map(|h| event(lang, h, now)).collect(),
        roles: roles(&overview),
        snapshot: overview.snapshot.map(|s| s.short()),
        proof: overview.snapshot.and(overview.proof).map(|p| (lang.t(super::packages::word(p)), super::packages::tone(p))),
        epoch: overview.epoch,
        clock: crate::dates::iso(overview.clock),
    };
    page(status, &template)
}

fn roles(overview: &Overview) -> Vec<Role> {
    let roles = overview.roles.iter().map(|r| Role {
        name: clean(&r.name),
        description: clean(&r.description),
        artifact: r.artifact.map(|a| a.short()),
        min_disk: r.min_disk.map(bytes),
    });
    roles.collect()
}

/// The way of a healthy machine always, the others only if there are any.
fn stages(home: &HomeView) -> Vec<Count> {
    let all = Stage::ALL.iter().map(|stage| Count { stage: *stage, count: home.counts.get(stage).copied().unwrap_or(0) });
    all.filter(|c| c.count > 0 || !matches!(c.stage, Stage::Silent | Stage::Failed | Stage::Ended)).collect()
}

fn event(lang: Lang, happening: &Happening, now: u64) -> Event {
    let Happening { event, name } = happening;
    let machine = event.machine.zip(name.as_deref()).map(|(id, name)| (id, clean(name)));
    Event { entry: Entry::of(event, ago(lang, now, event.at / 1000)), machine }
}
