//! `/jobs`: the running job and those before it.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::fields::Button;
use super::shell::{Refusal, Shell, overview, page};
use super::site::REFRESH;
use super::view::{Moment, clean};
use super::work::Work;
use crate::api::JobDetail;
use crate::auth::{ChangeForm, NoPage, PageSession, Session, may};
use crate::call::App;
use crate::dates::{iso, lasting};
use crate::error::Failure;
use crate::extract::Named;
use crate::headers::RequestId;
use crate::words::Lang;

struct Job {
    id: u64,
    work: Work,
    ended: Option<Moment>,
    /// How long it ran, or has been running.
    took: String,
    left: Option<String>,
    /// Time and text, the newest first.
    lines: Vec<(String, String)>,
}

impl Job {
    fn of(lang: Lang, detail: &JobDetail, now: u64) -> Self {
        let until = detail.ended.unwrap_or(now);
        let lines = detail.lines.iter().rev().map(|l| (iso(l.at), clean(&l.text)));
        Job {
            id: detail.job.id,
            work: Work::of(lang, &detail.job, now, "/jobs"),
            ended: detail.ended.map(|t| Moment::of(lang, now, t)),
            took: lasting(until.saturating_sub(detail.job.began)),
            left: detail.left.filter(|_| detail.job.is_running()).map(lasting),
            lines: lines.collect(),
        }
    }
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    jobs: Vec<Job>,
    busy: bool,
}

async fn show_page(
    app: &App,
    id: &RequestId,
    session: &Session,
    refused: Option<(StatusCode, Refusal)>,
) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let newest = *app.newest().borrow();
    let jobs = app.call(|api| api.jobs()).await?;
    let (status, refusal) = refused.map_or((StatusCode::OK, None), |(status, refusal)| (status, Some(refusal)));
    let busy = jobs.iter().any(|j| j.job.is_running());
    let mut shell = Shell::new("Jobs", &overview, id, Some(session)).titled("nav-jobs");
    shell.refresh = busy.then_some(REFRESH);
    shell.event = newest;
    let jobs = jobs.iter().map(|j| Job::of(shell.lang, j, overview.clock)).collect();
    page(status, &Page { shell, refusal, jobs, busy })
}

pub(crate) async fn show(State(app): State<App>, PageSession(session): PageSession, id: RequestId) -> Result<Response, NoPage> {
    Ok(show_page(&app, &id, &session, None).await?)
}

pub(crate) async fn stop(
    State(app): State<App>,
    id: RequestId,
    Named(job): Named<u64>,
    ChangeForm(change, _): ChangeForm<may::Administer, Button>,
) -> Result<Response, Failure> {
    let actor = change.actor().clone();
    match app.call(move |api| api.stop_job(&actor, Some(job))).await {
        Ok(_) => Ok(Redirect::to("/jobs").into_response()),
        Err(failure) => show_page(&app, &id, change.session(), Some(Refusal::of(failure)?)).await,
    }
}
