//! `/setup`, `/login`, `/unseal` and `/logout`.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::fields::Button;
use super::shell::{Refusal, Shell, overview, page};
use super::view::clean;
use crate::api::{Login, Origin, Setup};
use crate::auth::{ChangeForm, NoPage, PageSession, Session, cookie, find, forget_cookie, may, next_page};
use crate::call::App;
use crate::error::Failure;
use crate::extract::Posted;
use crate::headers::{From, RequestId};

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    shell: Shell,
    refusal: Option<Refusal>,
    code: String,
    user: String,
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    shell: Shell,
    refusal: Option<Refusal>,
    user: String,
    next: String,
}

#[derive(Template)]
#[template(path = "unseal.html")]
struct UnsealPage {
    shell: Shell,
    refusal: Option<Refusal>,
}

#[derive(Deserialize)]
pub(crate) struct SetupForm {
    code: String,
    user: String,
    password: String,
    password2: String,
}

#[derive(Deserialize)]
pub(crate) struct LoginForm {
    user: String,
    password: String,
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(crate) struct UnsealForm {
    passphrase: String,
}

#[derive(Deserialize, Default)]
pub(crate) struct Next {
    #[serde(default)]
    next: String,
}

fn enter(app: &App, token: &str, to: &str) -> Result<Response, Failure> {
    let cookie = cookie(token, app.options)?;
    Ok((AppendHeaders([(SET_COOKIE, cookie)]), Redirect::to(to)).into_response())
}

pub(crate) async fn setup_form(State(app): State<App>, id: RequestId) -> Result<Response, Failure> {
    let overview = overview(&app).await?;
    if !overview.setup_needed {
        return Ok(Redirect::to("/").into_response());
    }
    let shell = Shell::new("First administrator", &overview, &id, None).titled("admin-title");
    page(StatusCode::OK, &SetupPage { shell, refusal: None, code: String::new(), user: String::new() })
}

pub(crate) async fn setup(
    State(app): State<App>,
    origin: Origin,
    id: RequestId,
    Posted(form): Posted<SetupForm>,
) -> Result<Response, Failure> {
    let (code, user) = (clean(&form.code), clean(&form.user));
    let failure = if form.password == form.password2 {
        let setup = Setup { code: form.code.trim().to_owned(), user: form.user, password: form.password };
        match app.costly(move |api| api.setup(&origin, &setup)).await {
            Ok(token) => return enter(&app, &token, "/"),
            Err(failure) => failure,
        }
    } else {
        Failure::new(StatusCode::BAD_REQUEST, "the passwords do not match").with_hint("type the password in both fields")
    };
    let (status, refusal) = Refusal::of(failure)?;
    let shell = Shell::new("First administrator", &overview(&app).await?, &id, None).titled("admin-title");
    page(status, &SetupPage { shell, refusal: Some(refusal), code, user })
}

pub(crate) async fn login_form(
    State(app): State<App>,
    id: RequestId,
    headers: axum::http::HeaderMap,
    query: Result<Query<Next>, QueryRejection>,
) -> Result<Response, Failure> {
    let next = query.map(|q| q.0.next).unwrap_or_default();
    let overview = overview(&app).await?;
    if overview.setup_needed {
        return Ok(Redirect::to("/setup").into_response());
    }
    if find(&app, &headers).await?.is_some() {
        return Ok(Redirect::to(next_page(&next)).into_response());
    }
    let shell = Shell::new("Log in", &overview, &id, None).titled("log-in");
    page(StatusCode::OK, &LoginPage { shell, refusal: None, user: String::new(), next: next_page(&next).to_owned() })
}

pub(crate) async fn login(
    State(app): State<App>,
    origin: Origin,
    id: RequestId,
    Posted(form): Posted<LoginForm>,
) -> Result<Response, Failure> {
    let (user, next) = (clean(&form.user), next_page(&form.next).to_owned());
    let login = Login { user: form.user, password: form.password };
    match app.costly(move |api| api.login(&origin, &login)).await {
        Ok(token) => enter(&app, &token, &next),
        Err(mut failure) => {
            if failure.status == StatusCode::UNAUTHORIZED {
                failure.error = "wrong user name or password".to_owned();
            }
            let (status, refusal) = Refusal::of(failure)?;
            let shell = Shell::new("Log in", &overview(&app).await?, &id, None).titled("log-in");
            page(status, &LoginPage { shell, refusal: Some(refusal), user, next })
        }
    }
}

pub(crate) async fn logout(
    State(app): State<App>,
    ChangeForm(change, Button {}): ChangeForm<may::Account, Button>,
) -> Result<Response, Failure> {
    app.call(move |api| api.logout(change.actor(), change.token())).await?;
    Ok((AppendHeaders([(SET_COOKIE, forget_cookie(app.options))]), Redirect::to("/login")).into_response())
}

async fn unseal_page(
    app: &App,
    id: &RequestId,
    session: &Session,
    refused: Option<(StatusCode, Refusal)>,
) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    if !overview.sealed {
        return Ok(Redirect::to("/").into_response());
    }
    let (status, refusal) = refused.map_or((StatusCode::OK, None), |(status, refusal)| (status, Some(refusal)));
    page(status, &UnsealPage { shell: Shell::new("Unseal", &overview, id, Some(session)).titled("unseal"), refusal })
}

pub(crate) async fn unseal_form(
    State(app): State<App>,
    PageSession(session): PageSession,
    id: RequestId,
) -> Result<Response, NoPage> {
    Ok(unseal_page(&app, &id, &session, None).await?)
}

pub(crate) async fn unseal(
    State(app): State<App>,
    From(from): From,
    id: RequestId,
    ChangeForm(change, form): ChangeForm<may::Administer, UnsealForm>,
) -> Result<Response, Failure> {
    let actor = change.actor().clone();
    match app.costly(move |api| api.unseal(from, &actor, &form.passphrase)).await {
        Ok(()) => Ok(Redirect::to("/").into_response()),
        Err(failure) => unseal_page(&app, &id, change.session(), Some(Refusal::of(failure)?)).await,
    }
}
