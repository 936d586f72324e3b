//! Acts that cannot be taken back have a page of their own: it says what is lost and asks for the machine's name.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use cluster_seed::ids::EnrollmentId;
use serde::Deserialize;

use super::shell::{Refusal, Shell, overview, page};
use super::view::clean;
use crate::api::{MachineDetail, PowerAction};
use crate::auth::{ChangeForm, PageSession, Session, may};
use crate::call::App;
use crate::error::Failure;
use crate::extract::Named;
use crate::headers::RequestId;
use crate::words::Lang;

#[derive(Deserialize)]
pub(crate) struct RevokeForm {
    #[serde(default)]
    enrollment: String,
    #[serde(default)]
    reason: String,
    /// The machine's name, typed.
    #[serde(default)]
    word: String,
}

#[derive(Deserialize)]
pub(crate) struct ForgetForm {
    #[serde(default)]
    word: String,
}

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Revoke,
    Forget,
    PowerOff,
    PowerCycle,
}

impl Act {
    /// The act of a power action that needs a confirmation.
    pub(super) fn of(action: PowerAction) -> Option<Self> {
        match action {
            PowerAction::Off => Some(Act::PowerOff),
            PowerAction::Cycle => Some(Act::PowerCycle),
            _ => None,
        }
    }

    /// The keys of title and button, and the last part of the form's path.
    fn texts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Act::Revoke => ("revoke-title", "revoke", "revoke"),
            Act::Forget => ("forget-title", "forget", "forget"),
            Act::PowerOff => ("power-off", "power-off", "power"),
            Act::PowerCycle => ("power-cycle", "power-cycle", "power"),
        }
    }

    fn lost(self, lang: Lang, detail: &MachineDetail) -> Vec<String> {
        let role = detail.row.enrollment.as_ref().and_then(|e| e.role.as_deref()).map(clean);
        let of_role = role.map(|role| lang.with("revoke-role", &[("x", (&role).into())]));
        match self {
            Act::Revoke => [Some(lang.t("revoke-keys")), of_role, Some(lang.t("revoke-disk"))].into_iter().flatten().collect(),
            Act::Forget => vec![lang.t("forget-lost"), lang.t("forget-returns")],
            Act::PowerOff => vec![lang.t("power-off-lost")],
            Act::PowerCycle => vec![lang.t("power-cycle-lost")],
        }
    }
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    id: i64,
    name: String,
    title: String,
    button: String,
    path: &'static str,
    lost: Vec<String>,
    /// What it means for a cluster that the node votes in.
    votes: Option<(String, bool)>,
    hidden: Vec<(&'static str, String)>,
    reason: Option<String>,
    word: String,
}

/// What has to be typed: the name without domain, or else the serial number, or else the MAC address.
fn word(detail: &MachineDetail) -> String {
    let hostname = detail.row.enrollment.as_ref().and_then(|e| e.hostname.as_deref());
    let label = hostname.and_then(|h| h.split('.').next());
    let serial = detail.facts.as_ref().map(|f| f.serial.as_str()).filter(|s| !s.trim().is_empty());
    label.or(serial).map_or_else(|| detail.row.mac.to_string(), |w| clean(w).trim().to_owned())
}

/// Whether the typed word is the machine's.
pub(super) fn agrees(detail: &MachineDetail, typed: &str) -> bool {
    let hostname = detail.row.enrollment.as_ref().and_then(|e| e.hostname.as_deref());
    let typed = typed.trim();
    typed.eq_ignore_ascii_case(&word(detail)) || hostname.is_some_and(|h| typed.eq_ignore_ascii_case(h))
}

/// The refusal of another word.
pub(super) fn mismatch(detail: &MachineDetail) -> (StatusCode, Refusal) {
    let hint = format!("type {}", word(detail));
    (StatusCode::BAD_REQUEST, Refusal { error: "the name does not match".to_owned(), hint: Some(hint) })
}

/// What the page of an act shows beside the machine.
#[derive(Default)]
pub(super) struct Typed {
    pub(super) refused: Option<(StatusCode, Refusal)>,
    pub(super) reason: String,
}

pub(super) async fn render(
    app: &App,
    session: &Session,
    request: &RequestId,
    detail: &MachineDetail,
    act: Act,
    typed: Typed,
) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let (title, button, path) = act.texts();
    let shell = Shell::new("Confirmation", &overview, request, Some(session)).titled(title);
    let lang = shell.lang;
    let (status, refusal) = typed.refused.map_or((StatusCode::OK, None), |(status, r)| (status, Some(r)));
    let member = detail.row.enrollment.as_ref().map(|e| e.id.to_string()).unwrap_or_default();
    let hidden = match act {
        Act::Revoke => vec![("enrollment", member)],
        Act::Forget => vec![],
        Act::PowerOff => vec![("action", "off".to_owned())],
        Act::PowerCycle => vec![("action", "cycle".to_owned())],
    };
    let votes = detail.voters.filter(|_| act != Act::Forget).map(|v| {
        let key = if v.majority { "votes-majority" } else { "votes-none" };
        (lang.with(key, &[("n", v.healthy.into()), ("x", (&v.all.to_string()).into())]), v.majority)
    });
    let template = Page {
        title: shell.title.clone(),
        button: lang.t(button),
        shell,
        refusal,
        id: detail.row.id,
        name: detail.row.enrollment.as_ref().and_then(|e| e.hostname.as_deref()).map_or_else(|| word(detail), clean),
        path,
        lost: act.lost(lang, detail),
        votes,
        hidden,
        reason: (act == Act::Revoke).then(|| clean(&typed.reason)),
        word: word(detail),
    };
    page(status, &template)
}

async fn detail_of(app: &App, id: i64) -> Result<MachineDetail, Failure> {
    app.call(move |api| api.machine(id)).await
}

fn is_member(detail: &MachineDetail) -> bool {
    detail.row.enrollment.as_ref().is_some_and(|e| e.state.is_member())
}

/// The page of an act that does not fit the machine's state leads back to the machine.
async fn ask(app: &App, session: &Session, request: &RequestId, id: i64, act: Act) -> Result<Response, Failure> {
    let detail = detail_of(app, id).await?;
    if is_member(&detail) != (act == Act::Revoke) {
        return Ok(Redirect::to(&format!("/machines/{id}")).into_response());
    }
    render(app, session, request, &detail, act, Typed::default()).await
}

pub(crate) async fn ask_revoke(
    State(app): State<App>,
    PageSession(session): PageSession,
    request: RequestId,
    Named(id): Named<i64>,
) -> Result<Response, Failure> {
    ask(&app, &session, &request, id, Act::Revoke).await
}

pub(crate) async fn ask_forget(
    State(app): State<App>,
    PageSession(session): PageSession,
    request: RequestId,
    Named(id): Named<i64>,
) -> Result<Response, Failure> {
    ask(&app, &session, &request, id, Act::Forget).await
}

pub(crate) async fn revoke(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, form): ChangeForm<may::Fresh<may::Approve>, RevokeForm>,
) -> Result<Response, Failure> {
    let enrollment: EnrollmentId = form.enrollment.parse().map_err(|_| Failure::not_found())?;
    let detail = detail_of(&app, id).await?;
    let reason = form.reason.trim().to_owned();
    let refused = if agrees(&detail, &form.word) {
        let (actor, why) = (change.actor().clone(), reason.clone());
        match app.call(move |api| api.revoke(&actor, enrollment, &why)).await {
            Ok(_) => return Ok(Redirect::to(&format!("/machines/{id}")).into_response()),
            Err(failure) => Refusal::of(failure)?,
        }
    } else {
        mismatch(&detail)
    };
    render(&app, change.session(), &request, &detail, Act::Revoke, Typed { refused: Some(refused), reason }).await
}

pub(crate) async fn forget(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, form): ChangeForm<may::Fresh<may::Approve>, ForgetForm>,
) -> Result<Response, Failure> {
    let detail = detail_of(&app, id).await?;
    let refused = if agrees(&detail, &form.word) {
        let actor = change.actor().clone();
        match app.call(move |api| api.forget(&actor, id)).await {
            Ok(()) => return Ok(Redirect::to("/machines").into_response()),
            Err(failure) => Refusal::of(failure)?,
        }
    } else {
        mismatch(&detail)
    };
    render(&app, change.session(), &request, &detail, Act::Forget, Typed { refused: Some(refused), ..Typed::default() }).await
}
