//! `/images`: the outputs made of artifacts, and building more.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use cluster_seed::foundry::Target;
use serde::Deserialize;

use super::shell::{Refusal, Shell, overview, page};
use super::site::{REFRESH, Sent};
use super::view::{bytes, clean};
use super::work::Work;
use crate::api::{Actor, ApiError, BuildWish, OperatorApi, OutputView, OutputsView, TargetView};
use crate::auth::{Change, ChangeForm, NoPage, PageSession, Session, may};
use crate::call::App;
use crate::dates::{ago, iso};
use crate::error::Failure;
use crate::headers::RequestId;
use crate::words::Lang;

/// Digits of a digest that are shown; the full digest is in the title.
const SHORT: usize = 12;

struct Output {
    name: String,
    target: Target,
    role: String,
    node: Option<String>,
    size: String,
    file: String,
    sha256: String,
    short: String,
    directory: String,
    made: (String, String),
    current: bool,
    secret: bool,
    check: Option<Check>,
}

struct Check {
    tone: &'static str,
    word: String,
    wrong: Option<String>,
    when: String,
}

impl Output {
    fn of(lang: Lang, one: &OutputView, now: u64) -> Self {
        let sha256 = one.sha256.map(|d| d.to_string()).unwrap_or_default();
        let check = one.check.as_ref().map(|c| Check {
            tone: if c.wrong.is_none() { "good" } else { "bad" },
            word: lang.t(if c.wrong.is_none() { "images-intact" } else { "images-damaged" }),
            wrong: c.wrong.as_deref().map(clean),
            when: ago(lang, now, c.at),
        });
        Output {
            name: clean(&one.name),
            target: one.target,
            role: one.role.as_deref().map_or_else(|| lang.t("images-all"), clean),
            node: one.node.as_deref().map(clean),
            size: bytes(one.bytes),
            file: clean(&one.file),
            short: sha256.chars().take(SHORT).collect(),
            sha256,
            directory: clean(&one.directory),
            made: (iso(one.made), ago(lang, now, one.made)),
            current: one.current,
            secret: one.secret,
            check,
        }
    }
}

#[derive(Template)]
#[template(path = "images.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    work: Option<Work>,
    busy: bool,
    no_build: Option<String>,
    roles: Vec<String>,
    of_role: Vec<TargetView>,
    of_all: Vec<TargetView>,
    outputs: Vec<Output>,
}

fn template(view: OutputsView, now: u64, shell: Shell, refusal: Option<Refusal>) -> Page {
    let lang = shell.lang;
    let work = view.job.as_ref().map(|job| Work::of(lang, job, now, "/images/stop"));
    let busy = work.as_ref().is_some_and(|w| w.running);
    let (of_role, of_all) = view.targets.into_iter().partition(|t| t.of_role);
    Page {
        shell,
        refusal,
        work,
        busy,
        no_build: view.no_build.as_deref().map(clean),
        roles: view.roles.iter().map(|r| clean(r)).collect(),
        of_role,
        of_all,
        outputs: view.outputs.iter().map(|o| Output::of(lang, o, now)).collect(),
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
    let view = app.call(|api| api.outputs()).await?;
    let (status, refusal) = refused.map_or((StatusCode::OK, None), |(status, refusal)| (status, Some(refusal)));
    let mut shell = Shell::new("Images", &overview, id, Some(session)).titled("nav-images");
    shell.refresh = view.job.as_ref().filter(|job| job.is_running()).map(|_| REFRESH);
    shell.event = newest;
    page(status, &template(view, overview.clock, shell, refusal))
}

pub(crate) async fn show(State(app): State<App>, PageSession(session): PageSession, id: RequestId) -> Result<Response, NoPage> {
    Ok(show_page(&app, &id, &session, None).await?)
}

async fn done<P, T: Send + 'static>(
    Sent { app, id }: Sent,
    change: Change<P>,
    work: impl FnOnce(&dyn OperatorApi, &Actor) -> Result<T, ApiError> + Send + 'static,
) -> Result<Response, Failure> {
    let actor = change.actor().clone();
    match app.call(move |api| work(api, &actor)).await {
        Ok(_) => Ok(Redirect::to("/images").into_response()),
        Err(failure) => show_page(&app, &id, change.session(), Some(Refusal::of(failure)?)).await,
    }
}

#[derive(Deserialize)]
pub(crate) struct BuildForm {
    #[serde(default)]
    target: String,
    #[serde(default)]
    role: String,
}

pub(crate) async fn build(sent: Sent, ChangeForm(change, form): ChangeForm<may::Build, BuildForm>) -> Result<Response, Failure> {
    let role = Some(form.role).filter(|r| !r.is_empty());
    let target = form.target.parse::<Target>();
    done(sent, change, move |api, actor| {
        let target = target.map_err(|why| ApiError::bad(why, "choose a target of the list"))?;
        api.build_output(actor, &BuildWish { target, role })
    })
    .await
}

#[derive(Deserialize)]
pub(crate) struct NameForm {
    #[serde(default)]
    name: String,
}

pub(crate) async fn verify(sent: Sent, ChangeForm(change, form): ChangeForm<may::Build, NameForm>) -> Result<Response, Failure> {
    done(sent, change, move |api, actor| api.verify_output(actor, &form.name)).await
}

pub(crate) async fn stop(sent: Sent, ChangeForm(change, _): ChangeForm<may::Build, NameForm>) -> Result<Response, Failure> {
    done(sent, change, move |api, actor| api.stop_job(actor, None)).await
}
