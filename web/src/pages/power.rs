//! `/machines/<id>/power`: power actions, and the management controller that carries them out.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::confirm;
use super::fields::Button;
use super::shell::{Refusal, Shell, overview, page};
use super::view::{Line, clean};
use crate::api::{ApiError, BmcKind, IpmiPrivilege, PowerAction, PowerView, SetPower};
use crate::auth::{ChangeForm, NoPage, PageSession, Session, may};
use crate::call::App;
use crate::error::Failure;
use crate::extract::Named;
use crate::headers::RequestId;

#[derive(Deserialize)]
pub(crate) struct ActForm {
    action: PowerAction,
    /// The machine's name, typed on the page that asks for it.
    word: Option<String>,
}

/// No `Debug`: it holds a secret.
#[derive(Deserialize)]
pub(crate) struct ControllerForm {
    kind: BmcKind,
    #[serde(default)]
    address: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    /// For IPMI; empty for the usual one, as is the next.
    #[serde(default)]
    cipher_suite: String,
    #[serde(default)]
    privilege: String,
}

#[derive(Deserialize)]
pub(crate) struct TrustForm {
    #[serde(default)]
    fingerprint: String,
}

struct Controller {
    kind: &'static str,
    redfish: bool,
    tls: bool,
    address: String,
    user: String,
    pin: Option<String>,
    weakness: Option<String>,
    offered: Option<Offered>,
}

/// A certificate that waits for the operator.
struct Offered {
    fingerprint: String,
    weakness: Option<String>,
}

#[derive(Template)]
#[template(path = "power.html")]
struct Page {
    shell: Shell,
    line: Line,
    refusal: Option<Refusal>,
    /// Result of the last action.
    done: Option<String>,
    controller: Option<Controller>,
    medium: Option<String>,
}

/// What is shown above the forms.
#[derive(Default)]
struct Said {
    refused: Option<(StatusCode, Refusal)>,
    done: Option<String>,
}

impl Said {
    fn refused(failure: Failure) -> Result<Self, Failure> {
        Ok(Said { refused: Some(Refusal::of(failure)?), done: None })
    }
}

async fn render(app: &App, id: &RequestId, session: &Session, of: i64, said: Said) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let (detail, power) = app.call(move |api| Ok((api.machine(of)?, api.power(of)?))).await?;
    let line = Line::of(id.look().lang, &detail.row, overview.clock);
    let (status, refusal) = said.refused.map_or((StatusCode::OK, None), |(status, refusal)| (status, Some(refusal)));
    let controller = power.controller.map(|c| Controller {
        kind: if c.kind == BmcKind::Redfish { "Redfish" } else { "IPMI" },
        redfish: c.kind == BmcKind::Redfish,
        tls: c.tls,
        address: clean(&c.address),
        user: clean(&c.user),
        pin: c.pin.as_deref().map(clean),
        weakness: c.weakness.as_deref().map(clean),
        offered: c.offered.map(|o| Offered { fingerprint: clean(&o.fingerprint), weakness: o.weakness.as_deref().map(clean) }),
    });
    let mut shell = Shell::new("Power", &overview, id, Some(session));
    shell.title = shell.x("power-of", &line.name);
    let template = Page {
        shell,
        line,
        refusal,
        done: said.done.as_deref().map(clean),
        controller,
        medium: power.medium.as_deref().map(clean),
    };
    page(status, &template)
}

pub(crate) async fn show(
    State(app): State<App>,
    PageSession(session): PageSession,
    request: RequestId,
    Named(id): Named<i64>,
) -> Result<Response, NoPage> {
    Ok(render(&app, &request, &session, id, Said::default()).await?)
}

pub(crate) async fn act(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, form): ChangeForm<may::Power, ActForm>,
) -> Result<Response, Failure> {
    if let Some(act) = confirm::Act::of(form.action) {
        let detail = app.call(move |api| api.machine(id)).await?;
        let refused = match form.word.as_deref() {
            Some(word) if confirm::agrees(&detail, word) => None,
            Some(_) => Some(Some(confirm::mismatch(&detail))),
            None => Some(None),
        };
        if let Some(refused) = refused {
            let typed = confirm::Typed { refused, ..Default::default() };
            return confirm::render(&app, change.session(), &request, &detail, act, typed).await;
        }
    }
    let actor = change.actor().clone();
    let said = match app.call(move |api| api.act_power(&actor, id, form.action)).await {
        // Shown in this answer: the browser asks before a reload sends the action again.
        Ok(done) => Said { done: Some(done.text), refused: None },
        Err(failure) => Said::refused(failure)?,
    };
    render(&app, &request, change.session(), id, said).await
}

pub(crate) async fn save(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, form): ChangeForm<may::Power, ControllerForm>,
) -> Result<Response, Failure> {
    let (address, user) = (form.address.trim().to_owned(), form.user.trim().to_owned());
    // The form has both for every protocol; they count for IPMI.
    let ipmi = form.kind == BmcKind::Ipmi;
    let cipher_suite = if ipmi { number(&form.cipher_suite)? } else { None };
    let privilege = if ipmi { privilege(&form.privilege)? } else { None };
    let set = SetPower { kind: form.kind, address, user, password: form.password, cipher_suite, privilege };
    let actor = change.actor().clone();
    let saved = app.call(move |api| api.set_power(&actor, id, &set)).await;
    back(&app, &request, change.session(), id, saved).await
}

fn number(text: &str) -> Result<Option<u8>, Failure> {
    let bad = |_| Failure::from(ApiError::bad("the cipher suite is not a number", "3, 8, 12 or 17"));
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(bad) }
}

fn privilege(text: &str) -> Result<Option<IpmiPrivilege>, Failure> {
    Ok(match text {
        "" => None,
        "user" => Some(IpmiPrivilege::User),
        "operator" => Some(IpmiPrivilege::Operator),
        "administrator" => Some(IpmiPrivilege::Administrator),
        _ => return Err(ApiError::bad("this is not a privilege of IPMI", "user, operator or administrator").into()),
    })
}

/// The page again, or with what was refused.
async fn back(
    app: &App,
    request: &RequestId,
    session: &Session,
    id: i64,
    done: Result<PowerView, Failure>,
) -> Result<Response, Failure> {
    match done {
        Ok(_) => Ok(Redirect::to(&format!("/machines/{id}/power")).into_response()),
        Err(failure) => render(app, request, session, id, Said::refused(failure)?).await,
    }
}

/// Reads the controller's certificate, which the page then shows.
pub(crate) async fn certificate(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, Button {}): ChangeForm<may::Power, Button>,
) -> Result<Response, Failure> {
    let read = app.call(move |api| api.read_certificate(id)).await;
    back(&app, &request, change.session(), id, read).await
}

/// Confirms the certificate whose fingerprint the page showed.
pub(crate) async fn trust(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, form): ChangeForm<may::Power, TrustForm>,
) -> Result<Response, Failure> {
    let actor = change.actor().clone();
    let trusted = app.call(move |api| api.trust_certificate(&actor, id, &form.fingerprint)).await;
    back(&app, &request, change.session(), id, trusted).await
}

pub(crate) async fn forget(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, Button {}): ChangeForm<may::Power, Button>,
) -> Result<Response, Failure> {
    let actor = change.actor().clone();
    let forgotten = app.call(move |api| api.forget_power(&actor, id)).await;
    back(&app, &request, change.session(), id, forgotten).await
}
