//! `/site`: capsules, the underlay, promotion of a standby, recovery drills, and the job that is running.

use askama::Template;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::shell::{Refusal, Shell, overview, page};
use super::view::{Entry, bytes, clean};
use super::work::Work;
use crate::api::{Actor, ApiError, CapsuleFile, ExportWish, ImportWish, OperatorApi, Overview, PlaceView, SeedMode, SiteView};
use crate::auth::{Change, ChangeForm, NoPage, PageSession, Session, may};
use crate::call::App;
use crate::dates::{ago, iso};
use crate::error::Failure;
use crate::headers::{From, RequestId};
use crate::words::Lang;

/// How often a browser without JavaScript reloads the page while a job runs, in seconds.
pub(super) const REFRESH: u32 = 5;
/// Sizes of parts that a capsule can be split into: value of the form, key of the label, bytes.
const SPLITS: [(&str, &str, Option<u64>); 4] = [
    ("", "site-split-no", None),
    ("650M", "site-split-cd", Some(650 << 20)),
    ("4000M", "site-split-fat", Some(4000 << 20)),
    ("23G", "site-split-disc", Some(23 << 30)),
];

struct File {
    name: String,
    size: String,
    /// Percent of an unfinished upload.
    arrived: Option<u64>,
    changed: String,
}

impl File {
    fn of(lang: Lang, file: &CapsuleFile, now: u64) -> Self {
        let arrived = file.expected.filter(|e| *e > 0);
        File {
            name: clean(&file.name),
            size: bytes(file.size),
            arrived: arrived.map(|e| (u128::from(file.size.min(e)) * 100 / u128::from(e)) as u64),
            changed: ago(lang, now, file.modified),
        }
    }
}

#[derive(Template)]
#[template(path = "site.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    site_key: String,
    recipient: String,
    /// The key of its text.
    mode: &'static str,
    standby: bool,
    active: bool,
    epoch: u64,
    medium: Option<String>,
    place: PlaceView,
    overlaid: bool,
    files: Vec<File>,
    records: Vec<(String, String)>,
    free: String,
    work: Option<Work>,
    busy: bool,
    no_drill: Option<String>,
    drills: Vec<Entry>,
    splits: &'static [(&'static str, &'static str, Option<u64>)],
}

fn template(overview: &Overview, site: SiteView, shell: Shell, refusal: Option<Refusal>) -> Page {
    let (now, lang) = (overview.clock, shell.lang);
    let work = site.job.as_ref().map(|j| Work::of(lang, j, now, "/site/stop"));
    let busy = work.as_ref().is_some_and(|w| w.running);
    let mode = match site.mode {
        SeedMode::Active => "site-mode-active",
        SeedMode::Standby => "site-mode-standby",
        SeedMode::Fenced => "site-mode-fenced",
    };
    let PlaceView { subnet, seed, first, last, router } = site.place;
    let place = PlaceView {
        subnet: clean(&subnet),
        seed: clean(&seed),
        first: clean(&first),
        last: clean(&last),
        router: clean(&router),
    };
    Page {
        shell,
        refusal,
        site_key: clean(&site.site_key),
        recipient: clean(&site.recipient),
        mode,
        standby: site.mode == SeedMode::Standby,
        active: site.mode == SeedMode::Active,
        epoch: site.epoch,
        medium: site.medium.map(|m| clean(&m).chars().take(12).collect()),
        place,
        overlaid: site.overlaid,
        files: site.capsules.iter().map(|f| File::of(lang, f, now)).collect(),
        records: site.records.iter().map(|r| (clean(&r.id), iso(r.created))).collect(),
        free: bytes(site.free),
        work,
        busy,
        no_drill: site.no_drill.map(|w| clean(&w)),
        drills: site.drills.iter().map(|e| Entry::of(e, ago(lang, now, e.at / 1000))).collect(),
        splits: &SPLITS,
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
    let site = app.call(|api| api.site()).await?;
    let (status, refusal) = refused.map_or((StatusCode::OK, None), |(status, refusal)| (status, Some(refusal)));
    let mut shell = Shell::new("Site", &overview, id, Some(session)).titled("nav-the-site");
    shell.refresh = site.job.as_ref().filter(|j| j.is_running()).map(|_| REFRESH);
    shell.event = newest;
    page(status, &template(&overview, site, shell, refusal))
}

/// What a call costs: one that opens keys is [`App::costly`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cost {
    Cheap,
    Keys,
}

/// Does `work` for the operator and returns to the page, with the refusal if there is one.
async fn done<P, T: Send + 'static>(
    Sent { app, id }: Sent,
    change: Change<P>,
    cost: Cost,
    work: impl FnOnce(&dyn OperatorApi, &Actor) -> Result<T, ApiError> + Send + 'static,
) -> Result<Response, Failure> {
    let actor = change.actor().clone();
    let work = move |api: &dyn OperatorApi| work(api, &actor);
    let done = if cost == Cost::Keys { app.costly(work).await } else { app.call(work).await };
    match done {
        Ok(_) => Ok(Redirect::to("/site").into_response()),
        Err(failure) => show_page(&app, &id, change.session(), Some(Refusal::of(failure)?)).await,
    }
}

/// What the handler of every form of the page needs beside the form.
pub(crate) struct Sent {
    pub(super) app: App,
    pub(super) id: RequestId,
}

impl FromRequestParts<App> for Sent {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        Ok(Sent { app: app.clone(), id: RequestId::from_request_parts(parts, app).await? })
    }
}

pub(crate) async fn show(State(app): State<App>, PageSession(session): PageSession, id: RequestId) -> Result<Response, NoPage> {
    Ok(show_page(&app, &id, &session, None).await?)
}

#[derive(Deserialize)]
pub(crate) struct ExportForm {
    #[serde(default)]
    recipient: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    same_medium: Option<String>,
    #[serde(default)]
    split: String,
    #[serde(default)]
    passphrase: String,
}

pub(crate) async fn export(
    sent: Sent,
    From(from): From,
    ChangeForm(change, form): ChangeForm<may::Administer, ExportForm>,
) -> Result<Response, Failure> {
    let wish = ExportWish {
        recipient: form.recipient.trim().to_owned(),
        since: Some(form.since.trim().to_owned()).filter(|s| !s.is_empty()),
        same_medium: form.same_medium.is_some(),
        split: SPLITS.iter().find(|(value, ..)| *value == form.split).and_then(|(.., bytes)| *bytes),
        passphrase: form.passphrase,
    };
    done(sent, change, Cost::Keys, move |api, actor| api.export(from, actor, &wish)).await
}

#[derive(Deserialize)]
pub(crate) struct ImportForm {
    #[serde(default)]
    file: String,
    #[serde(default)]
    pin: String,
    #[serde(default)]
    passphrase: String,
    #[serde(default)]
    take_place: Option<String>,
    /// The button that was pressed.
    #[serde(default)]
    what: String,
}

pub(crate) async fn import(
    sent: Sent,
    From(from): From,
    ChangeForm(change, form): ChangeForm<may::Administer, ImportForm>,
) -> Result<Response, Failure> {
    let wish = ImportWish {
        file: form.file,
        pin: form.pin.trim().to_ascii_lowercase(),
        passphrase: form.passphrase,
        verify_only: form.what != "import",
        take_place: form.take_place.is_some(),
    };
    done(sent, change, Cost::Keys, move |api, actor| api.import(from, actor, &wish)).await
}

/// A form with a single field, or none.
#[derive(Deserialize)]
pub(crate) struct WordForm {
    #[serde(default)]
    word: String,
}

pub(crate) async fn promote(
    sent: Sent,
    ChangeForm(change, form): ChangeForm<may::Fresh<may::Administer>, WordForm>,
) -> Result<Response, Failure> {
    done(sent, change, Cost::Cheap, move |api, actor| api.promote(actor, form.word.trim())).await
}

pub(crate) async fn drill(
    sent: Sent,
    From(from): From,
    ChangeForm(change, form): ChangeForm<may::Administer, WordForm>,
) -> Result<Response, Failure> {
    done(sent, change, Cost::Keys, move |api, actor| api.drill(from, actor, &form.word)).await
}

pub(crate) async fn seal(sent: Sent, ChangeForm(change, _): ChangeForm<may::Administer, WordForm>) -> Result<Response, Failure> {
    done(sent, change, Cost::Cheap, move |api, actor| api.seal(actor)).await
}

pub(crate) async fn stop(sent: Sent, ChangeForm(change, _): ChangeForm<may::Administer, WordForm>) -> Result<Response, Failure> {
    done(sent, change, Cost::Cheap, move |api, actor| api.stop_job(actor, None)).await
}

pub(crate) async fn remove(
    sent: Sent,
    ChangeForm(change, form): ChangeForm<may::Administer, WordForm>,
) -> Result<Response, Failure> {
    done(sent, change, Cost::Cheap, move |api, actor| api.remove_capsule(actor, &form.word)).await
}

#[derive(Deserialize)]
pub(crate) struct PlaceForm {
    #[serde(default)]
    subnet: String,
    #[serde(default)]
    seed: String,
    #[serde(default)]
    first: String,
    #[serde(default)]
    last: String,
    #[serde(default)]
    router: String,
    /// The button that was pressed.
    #[serde(default)]
    what: String,
}

pub(crate) async fn place(
    sent: Sent,
    ChangeForm(change, form): ChangeForm<may::Administer, PlaceForm>,
) -> Result<Response, Failure> {
    let word = |text: &str| text.trim().to_owned();
    let place = (form.what != "reset").then(|| PlaceView {
        subnet: word(&form.subnet),
        seed: word(&form.seed),
        first: word(&form.first),
        last: word(&form.last),
        router: word(&form.router),
    });
    done(sent, change, Cost::Cheap, move |api, actor| api.set_place(actor, place.as_ref())).await
}
