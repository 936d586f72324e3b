//! `/machines/<id>/power`: what its management controller is asked to do, and how the seed reaches that.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::view::{Line, clean};
use super::{Refusal, Shell, overview, page};
use crate::api::{BmcKind, PowerAction, SeedApi, SetPower};
use crate::auth::{NoPage, PageSession, Session};
use crate::call::App;
use crate::error::Failure;
use crate::extract::{Named, Posted};
use crate::headers::RequestId;

#[derive(Deserialize)]
pub(crate) struct ActForm {
    #[serde(default)]
    csrf: String,
    action: PowerAction,
}

/// No `Debug`: it holds a secret.
#[derive(Deserialize)]
pub(crate) struct ControllerForm {
    #[serde(default)]
    csrf: String,
    kind: BmcKind,
    #[serde(default)]
    address: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
}

#[derive(Deserialize)]
pub(crate) struct ForgetForm {
    #[serde(default)]
    csrf: String,
}

struct Controller {
    kind: &'static str,
    redfish: bool,
    address: String,
    user: String,
    pin: Option<String>,
}

#[derive(Template)]
#[template(path = "power.html")]
struct Page {
    shell: Shell,
    line: Line,
    refusal: Option<Refusal>,
    /// What the last action did.
    done: Option<String>,
    controller: Option<Controller>,
    medium: Option<String>,
}

/// What stands above the forms.
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

async fn render<A: SeedApi>(app: &App<A>, id: &RequestId, session: &Session, of: i64, said: Said) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let (detail, power) = app.call(move |api| Ok((api.machine(of)?, api.power(of)?))).await?;
    let line = Line::of(&detail.row, overview.clock);
    let (status, refusal) = said.refused.map_or((StatusCode::OK, None), |(status, refusal)| (status, Some(refusal)));
    let controller = power.controller.map(|c| Controller {
        kind: if c.kind == BmcKind::Redfish { "Redfish" } else { "IPMI" },
        redfish: c.kind == BmcKind::Redfish,
        address: clean(&c.address),
        user: clean(&c.user),
        pin: c.pin.as_deref().map(clean),
    });
    let template = Page {
        shell: Shell::new(&format!("Power of {}", line.name), &overview, id, Some(session)),
        line,
        refusal,
        done: said.done.as_deref().map(clean),
        controller,
        medium: power.medium.as_deref().map(clean),
    };
    page(status, &template)
}

pub(crate) async fn show<A: SeedApi>(
    State(app): State<App<A>>,
    PageSession(session): PageSession,
    request: RequestId,
    Named(id): Named<i64>,
) -> Result<Response, NoPage> {
    Ok(render(&app, &request, &session, id, Said::default()).await?)
}

pub(crate) async fn act<A: SeedApi>(
    State(app): State<App<A>>,
    PageSession(session): PageSession,
    request: RequestId,
    Named(id): Named<i64>,
    Posted(form): Posted<ActForm>,
) -> Result<Response, Failure> {
    session.check_field(&form.csrf)?;
    let actor = session.actor.clone();
    let said = match app.call(move |api| api.act_power(&actor, id, form.action)).await {
        // Shown by this answer: a reload asks before it sends the action again.
        Ok(done) => Said { done: Some(done.text), refused: None },
        Err(failure) => Said::refused(failure)?,
    };
    render(&app, &request, &session, id, said).await
}

pub(crate) async fn keep<A: SeedApi>(
    State(app): State<App<A>>,
    PageSession(session): PageSession,
    request: RequestId,
    Named(id): Named<i64>,
    Posted(form): Posted<ControllerForm>,
) -> Result<Response, Failure> {
    session.check_field(&form.csrf)?;
    let (address, user) = (form.address.trim().to_owned(), form.user.trim().to_owned());
    let set = SetPower { kind: form.kind, address, user, password: form.password };
    let actor = session.actor.clone();
    match app.call(move |api| api.set_power(&actor, id, &set)).await {
        Ok(_) => Ok(Redirect::to(&format!("/machines/{id}/power")).into_response()),
        Err(failure) => render(&app, &request, &session, id, Said::refused(failure)?).await,
    }
}

pub(crate) async fn forget<A: SeedApi>(
    State(app): State<App<A>>,
    PageSession(session): PageSession,
    request: RequestId,
    Named(id): Named<i64>,
    Posted(form): Posted<ForgetForm>,
) -> Result<Response, Failure> {
    session.check_field(&form.csrf)?;
    let actor = session.actor.clone();
    match app.call(move |api| api.forget_power(&actor, id)).await {
        Ok(_) => Ok(Redirect::to(&format!("/machines/{id}/power")).into_response()),
        Err(failure) => render(&app, &request, &session, id, Said::refused(failure)?).await,
    }
}
