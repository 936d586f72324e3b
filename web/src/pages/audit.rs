//! `/audit`: the event log, searched, followed and exported; and `/audit/<number>`, one event in its chain.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use cluster_seed::events::{EventKind, family};

use super::fields::Button;
use super::shell::{Refusal, Shell, overview, page};
use super::view::{clean, facts_of, tone};
use super::work::Work;
use crate::api::{Actor, ApiError, AuditPage, AuditState, CheckpointView, EventView, OperatorApi};
use crate::auth::{Change, ChangeForm, NoPage, PageFor, Session, may};
use crate::call::App;
use crate::dates::{ago, iso};
use crate::error::Failure;
use crate::export::export;
use crate::extract::Named;
use crate::headers::RequestId;
use crate::search::Search;
use crate::words::Lang;

/// Events on a page.
const ROWS: u32 = 50;
/// How often a page without JavaScript that follows the log reloads itself, in seconds.
const FOLLOW: u32 = 10;

struct Event {
    id: i64,
    iso: String,
    when: String,
    kind: String,
    tone: &'static str,
    text: String,
    actor: Option<String>,
    machine: Option<(i64, String)>,
}

impl Event {
    fn of(lang: Lang, event: &EventView, names: &std::collections::BTreeMap<i64, String>, now: u64) -> Self {
        let name = |id: i64| names.get(&id).map_or_else(|| format!("#{id}"), |n| clean(n));
        Event {
            id: event.id,
            iso: iso(event.at / 1000),
            when: ago(lang, now, event.at / 1000),
            kind: clean(&event.kind),
            tone: tone(&event.kind),
            text: clean(&event.text),
            actor: event.actor.as_deref().map(clean),
            machine: event.machine.map(|id| (id, name(id))),
        }
    }
}

/// The signed checkpoints and the verification, above the list.
struct Proof {
    newest: i64,
    oldest: i64,
    checkpoint: Option<Checkpoint>,
    checkpoints: u32,
}

struct Checkpoint {
    event: i64,
    hash: String,
    iso: String,
    ago: String,
}

impl Checkpoint {
    fn of(lang: Lang, c: &CheckpointView, now: u64) -> Self {
        Checkpoint { event: c.event, hash: clean(&c.hash), iso: iso(c.at), ago: ago(lang, now, c.at) }
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    /// What was typed, as it comes back.
    search: Search,
    kinds: Vec<&'static str>,
    events: Vec<Event>,
    proof: Proof,
    work: Option<Work>,
    busy: bool,
    follow: bool,
    /// This page's own address, and those that lead on.
    own: String,
    older: Option<String>,
    newest: Option<String>,
    follows: String,
    export: String,
    /// The search stopped early: the number of the event that it came to, and the rows it read.
    stopped: Option<(i64, u32)>,
}

/// Families and kinds that a search may name.
fn kinds() -> Vec<&'static str> {
    let mut all: Vec<&str> = EventKind::ALL.iter().flat_map(|k| [family::of(k.as_str()), k.as_str()]).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn cleaned(search: &Search) -> Search {
    let show = |text: &String| clean(text);
    Search {
        kind: show(&search.kind),
        actor: show(&search.actor),
        machine: show(&search.machine),
        q: show(&search.q),
        since: show(&search.since),
        until: show(&search.until),
        ..search.clone()
    }
}

fn link(search: &Search, more: &[(&str, &str)]) -> String {
    match search.address(more) {
        empty if empty.is_empty() => "/audit".to_owned(),
        address => format!("/audit?{address}"),
    }
}

fn template(
    mut shell: Shell,
    now: u64,
    search: &Search,
    found: &AuditPage,
    state: &AuditState,
    refusal: Option<Refusal>,
) -> Page {
    let lang = shell.lang;
    let follow = search.follow.is_some() && search.before.is_none();
    let work = state.verification.as_ref().map(|j| Work::of(lang, j, now, "/audit/stop"));
    let busy = work.as_ref().is_some_and(|w| w.running);
    shell.refresh = if busy { Some(super::site::REFRESH) } else { follow.then_some(FOLLOW) };
    let before = found.next.map(|n| n.to_string());
    let here = search.before.map(|n| n.to_string()).unwrap_or_default();
    let stopped = found.next.filter(|_| found.events.len() < ROWS as usize).map(|n| (n, found.read));
    Page {
        kinds: kinds(),
        events: found.events.iter().map(|e| Event::of(lang, e, &found.machines, now)).collect(),
        proof: Proof {
            newest: state.newest,
            oldest: state.oldest,
            checkpoint: state.checkpoint.as_ref().map(|c| Checkpoint::of(lang, c, now)),
            checkpoints: state.checkpoints,
        },
        own: link(search, &[("before", &here), ("follow", if follow { "1" } else { "" })]),
        older: before.map(|b| link(search, &[("before", &b)])),
        newest: search.before.map(|_| link(search, &[])),
        follows: link(search, &[("follow", if follow { "" } else { "1" })]),
        export: search.address(&[]),
        search: cleaned(search),
        shell,
        refusal,
        work,
        busy,
        follow,
        stopped,
    }
}

async fn show_page(
    app: &App,
    id: &RequestId,
    session: &Session,
    search: &Search,
    refused: Option<(StatusCode, Refusal)>,
) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let newest = *app.newest().borrow();
    let (actor, auditor) = (session.actor().clone(), session.actor().clone());
    let state = app.call(move |api| api.audit_state(&actor)).await?;
    let before = search.before;
    let found = match search.query() {
        Ok(query) => app.call(move |api| api.audit(&auditor, &query, before, ROWS)).await,
        Err(failure) => Err(failure),
    };
    let (found, refused) = match found {
        Ok(found) => (found, refused),
        Err(failure) => (AuditPage::default(), Some(Refusal::of(failure)?)),
    };
    let (status, refusal) = refused.map_or((StatusCode::OK, None), |(status, refusal)| (status, Some(refusal)));
    let mut shell = Shell::new("Audit log", &overview, id, Some(session)).titled("audit-title");
    shell.event = newest;
    page(status, &template(shell, overview.clock, search, &found, &state, refusal))
}

pub(crate) async fn show(
    State(app): State<App>,
    PageFor(session, _): PageFor<may::Audit>,
    id: RequestId,
    search: Result<Query<Search>, QueryRejection>,
) -> Result<Response, NoPage> {
    let Query(search) = search.map_err(Failure::from)?;
    Ok(show_page(&app, &id, &session, &search, None).await?)
}

pub(crate) async fn download(
    State(app): State<App>,
    PageFor(session, _): PageFor<may::Audit>,
    search: Result<Query<Search>, QueryRejection>,
) -> Result<Response, NoPage> {
    let Query(search) = search.map_err(Failure::from)?;
    Ok(export(app, session, search.query()?, search.format).await?)
}

async fn done<P, T: Send + 'static>(
    app: App,
    id: RequestId,
    change: Change<P>,
    work: impl FnOnce(&dyn OperatorApi, &Actor) -> Result<T, ApiError> + Send + 'static,
) -> Result<Response, Failure> {
    let actor = change.actor().clone();
    match app.call(move |api| work(api, &actor)).await {
        Ok(_) => Ok(Redirect::to("/audit").into_response()),
        Err(failure) => show_page(&app, &id, change.session(), &Search::default(), Some(Refusal::of(failure)?)).await,
    }
}

pub(crate) async fn verify(
    State(app): State<App>,
    id: RequestId,
    ChangeForm(change, _): ChangeForm<may::Audit, Button>,
) -> Result<Response, Failure> {
    done(app, id, change, |api, actor| api.verify_log(actor)).await
}

pub(crate) async fn checkpoint(
    State(app): State<App>,
    id: RequestId,
    ChangeForm(change, _): ChangeForm<may::Administer, Button>,
) -> Result<Response, Failure> {
    done(app, id, change, |api, actor| api.checkpoint_log(actor)).await
}

/// Stops the verification, and no other job.
pub(crate) async fn stop(
    State(app): State<App>,
    id: RequestId,
    ChangeForm(change, _): ChangeForm<may::Audit, Button>,
) -> Result<Response, Failure> {
    let work = |api: &dyn OperatorApi, actor: &Actor| match api.audit_state(actor)?.verification {
        Some(job) => api.stop_job(actor, Some(job.id)),
        None => Err(ApiError::NotFound { what: "verification" }),
    };
    done(app, id, change, work).await
}

#[derive(Template)]
#[template(path = "audit_event.html")]
struct EventPage {
    shell: Shell,
    iso: String,
    ago: String,
    kind: String,
    tone: &'static str,
    text: String,
    actor: Option<String>,
    machine: Option<i64>,
    enrollment: Option<String>,
    facts: Vec<(&'static str, String)>,
    facts_text: Option<String>,
    hash: String,
    previous_hash: String,
    previous: Option<i64>,
    next: Option<i64>,
    checkpoint: Option<Checkpoint>,
}

pub(crate) async fn event(
    State(app): State<App>,
    PageFor(session, _): PageFor<may::Audit>,
    id: RequestId,
    Named(number): Named<i64>,
) -> Result<Response, NoPage> {
    let overview = overview(&app).await?;
    let actor = session.actor().clone();
    let found = app.call(move |api| api.audit_event(&actor, number)).await?;
    let now = overview.clock;
    let one = &found.event;
    let mut shell = Shell::new(&format!("Event {}", one.id), &overview, &id, Some(&session));
    shell.title = shell.n("audit-event", one.id);
    let lang = shell.lang;
    let template = EventPage {
        shell,
        iso: iso(one.at / 1000),
        ago: ago(lang, now, one.at / 1000),
        kind: clean(&one.kind),
        tone: tone(&one.kind),
        text: clean(&one.text),
        actor: one.actor.as_deref().map(clean),
        machine: one.machine,
        enrollment: found.enrollment.as_deref().map(clean),
        facts: one.facts.as_ref().map(facts_of).unwrap_or_default(),
        facts_text: found.facts_text.as_deref().map(clean),
        hash: clean(&found.hash),
        previous_hash: clean(&found.previous_hash),
        previous: found.previous,
        next: found.next,
        checkpoint: found.checkpoint.as_ref().map(|c| Checkpoint::of(lang, c, now)),
    };
    Ok(page(StatusCode::OK, &template)?)
}
