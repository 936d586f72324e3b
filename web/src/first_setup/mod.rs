//! The only page of a seed that has no site yet: it creates the site and its first administrator. The only proof it
//! requires is a set-up code from the machine's console; the daemon behind [`FirstSetup::make`] checks it and throttles
//! guesses.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::routing::get;
use tokio::sync::Semaphore;

use crate::api::{ApiError, FirstSetup, FirstSite, FirstView};
use crate::auth::cookie;
use crate::call::OperatorOptions;
use crate::error::Failure;
use crate::extract::Posted;
use crate::headers::{From, RequestId, Side, envelope};
use crate::limits::MAX_FORM;
use crate::pages::first_setup::{Kept, form_page};
use crate::pages::{assets, look};

#[derive(Clone)]
pub(crate) struct Daemon {
    setup: FirstSetup,
    options: OperatorOptions,
    /// One form is processed at a time.
    turn: Arc<Semaphore>,
}

impl Daemon {
    async fn look(&self) -> Result<FirstView, Failure> {
        let look = self.setup.look.clone();
        blocking(move || look()).await
    }

    async fn make(&self, from: IpAddr, form: FirstSite) -> Result<String, Failure> {
        let permit = self.turn.clone().try_acquire_owned();
        let permit = permit.map_err(|_| ApiError::unavailable("another set-up form is being processed"))?;
        let make = self.setup.make.clone();
        blocking(move || {
            // The thread has the permit: a browser that disconnects does not free it early.
            let _permit = permit;
            make(from, &form)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T, ApiError> + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(f).await;
    done.map_err(|e| Failure::internal(format!("a call into the daemon crashed: {e}")))?.map_err(Failure::from)
}

/// The page at `/setup`, its style and language, and nothing else. A seed that has no site has no session either, so the form is
/// protected by the check of its origin and by the code.
pub fn first_setup_router(setup: FirstSetup, options: OperatorOptions) -> Router {
    let elsewhere = || get(async || Redirect::to("/setup"));
    Router::new()
        .route("/", elsewhere())
        .route("/login", elsewhere())
        .route("/setup", get(show).post(make))
        .route("/look", get(look::show_bare).post(look::save))
        .route("/static/{name}", get(assets::get))
        .fallback(async || Failure::not_found().with_hint("this seed is not set up yet; go to /setup"))
        .method_not_allowed_fallback(async || Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"))
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
        Failure::new(StatusCode::BAD_REQUEST, format!("the {what}s do not match"))
            .with_hint(format!("type the {what} in both fields"))
    };
    let result = match &form {
        f if f.passphrase != f.passphrase2 => Err(differ("passphrase")),
        f if f.password != f.password2 => Err(differ("password")),
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
mod tests;
