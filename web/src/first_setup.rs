//! The one page of a seed that has no site yet: it makes the site and its first administrator. The only proof asked for
//! is a one-time code from the machine's console; the daemon behind [`FirstSetup::make`] checks it and slows down
//! guessing.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::api::ApiError;
use crate::auth::cookie;
use crate::error::Failure;
use crate::extract::Posted;
use crate::headers::{From, RequestId, Side, envelope};
use crate::limits::MAX_FORM;
use crate::operator::{OperatorOptions, asset};
use crate::pages::first_setup::{Kept, form_page};

/// What stands on the page.
#[derive(Debug, Clone, Default)]
pub struct FirstView {
    pub version: String,
    /// Proposed name of the site.
    pub site: String,
    pub interfaces: Vec<FirstInterface>,
    /// In plain words.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub struct FirstInterface {
    pub name: String,
    pub mac: String,
    /// Has a link.
    pub up: bool,
    /// With prefix length.
    pub addresses: Vec<String>,
    /// Proposed for netboot.
    pub chosen: bool,
}

/// What was typed. No `Debug`: it holds secrets.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstSite {
    /// From the console.
    pub code: String,
    pub site: String,
    /// Of the site's keys.
    pub passphrase: String,
    pub passphrase2: String,
    /// The first administrator.
    pub user: String,
    pub password: String,
    pub password2: String,
    /// Interface that machines netboot on.
    pub iface: String,
}

type Look = dyn Fn() -> Result<FirstView, ApiError> + Send + Sync;
type Make = dyn Fn(IpAddr, &FirstSite) -> Result<String, ApiError> + Send + Sync;

/// The daemon's side. Both calls may block.
#[derive(Clone)]
pub struct FirstSetup {
    pub look: Arc<Look>,
    /// Makes everything, or nothing; the administrator's session token. It may end the listener that the request came
    /// by: the answer still goes out.
    pub make: Arc<Make>,
}

#[derive(Clone)]
pub(crate) struct Daemon {
    setup: FirstSetup,
    options: OperatorOptions,
    /// One site is made at a time.
    turn: Arc<Semaphore>,
}

impl Daemon {
    async fn look(&self) -> Result<FirstView, Failure> {
        let look = self.setup.look.clone();
        blocking(move || look()).await
    }

    async fn make(&self, from: IpAddr, form: FirstSite) -> Result<String, Failure> {
        let permit = self.turn.clone().try_acquire_owned();
        let permit = permit.map_err(|_| ApiError::Unavailable { why: "somebody else's try is being looked at".to_owned() })?;
        let make = self.setup.make.clone();
        blocking(move || {
            // Held by the thread: a browser that hangs up does not free the place early.
            let _permit = permit;
            make(from, &form)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T, ApiError> + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(f).await;
    done.map_err(|e| Failure::internal(format!("a call into the daemon broke off: {e}")))?.map_err(Failure::from)
}

/// The page at `/setup`, its style, and nothing else.
pub fn first_setup_router(setup: FirstSetup, options: OperatorOptions) -> Router {
    let elsewhere = || get(async || Redirect::to("/setup"));
    Router::new()
        .route("/", elsewhere())
        .route("/login", elsewhere())
        .route("/setup", get(show).post(make))
        .route("/static/{name}", get(asset))
        .fallback(async || Failure::not_found().with_hint("this seed is not set up yet: /setup is its only page"))
        .method_not_allowed_fallback(async || Failure::new(StatusCode::METHOD_NOT_ALLOWED, "this cannot be done here"))
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(axum::middleware::from_fn_with_state(Side::Operator, envelope))
        .with_state(Daemon { setup, options, turn: Arc::new(Semaphore::new(1)) })
}

async fn show(State(daemon): State<Daemon>, id: RequestId) -> Result<Response, Failure> {
    form_page(&daemon.look().await?, &id, StatusCode::OK, None, Kept::default())
}

async fn make(
    State(daemon): State<Daemon>,
    From(from): From,
    id: RequestId,
    Posted(form): Posted<FirstSite>,
) -> Result<Response, Failure> {
    let kept = Kept { code: form.code.clone(), site: form.site.clone(), user: form.user.clone(), iface: form.iface.clone() };
    let differ = |what: &str| {
        Failure::new(StatusCode::BAD_REQUEST, format!("the two {what} are not the same"))
            .with_hint("type it once more in both fields")
    };
    let result = match &form {
        f if f.passphrase != f.passphrase2 => Err(differ("passphrases")),
        f if f.password != f.password2 => Err(differ("passwords")),
        _ => daemon.make(from, form).await,
    };
    match result {
        Ok(token) => {
            let cookie = cookie(&token, daemon.options)?;
            Ok((AppendHeaders([(SET_COOKIE, cookie)]), Redirect::to("/")).into_response())
        }
        Err(failure) => form_page(&daemon.look().await?, &id, failure.status, Some(failure), kept),
    }
}

#[cfg(test)]
#[path = "first_setup_tests.rs"]
mod tests;
