//! The session of a request.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use subtle::ConstantTimeEq as _;

use super::next::next_page;
use super::token::{csrf, token};
use crate::api::{Actor, ApiError, EventView, OperatorApi};
use crate::call::App;
use crate::error::Failure;

/// A logged-in request, which may read. No `Debug`: it holds the token.
pub(crate) struct Session {
    pub(super) actor: Actor,
    pub(super) token: String,
    pub(super) by_cookie: bool,
}

impl Session {
    pub(crate) fn user(&self) -> &str {
        &self.actor.user
    }

    /// The token for the forms of this session's pages.
    pub(crate) fn csrf(&self) -> String {
        csrf(&self.token)
    }

    /// Whether `sent` is the token of this session's forms.
    pub(super) fn check(&self, sent: &str) -> Result<(), Failure> {
        if bool::from(csrf(&self.token).as_bytes().ct_eq(sent.as_bytes())) {
            return Ok(());
        }
        Err(Failure::forbidden("this form belongs to another session").with_hint("reload the page and try again"))
    }

    /// Events after `after`, as long as the session lasts.
    pub(crate) async fn events(&self, app: &App, after: i64, limit: u32) -> Result<Vec<EventView>, Failure> {
        self.while_valid(app, move |api| api.events(after, limit)).await
    }

    /// Runs `work` if the session has not ended in the meantime, for answers that take long.
    pub(crate) async fn while_valid<T: Send + 'static>(
        &self,
        app: &App,
        work: impl FnOnce(&dyn OperatorApi) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, Failure> {
        let token = self.token.clone();
        app.call(move |api| match api.session(&token)? {
            Some(_) => work(api),
            None => Err(ApiError::Unauthorized),
        })
        .await
    }
}

/// The session of a request, if it has a valid one.
pub(crate) async fn find(app: &App, headers: &HeaderMap) -> Result<Option<Session>, Failure> {
    let Some((token, by_cookie)) = token(headers, app.options) else { return Ok(None) };
    let sent = token.clone();
    let actor = app.call(move |api| api.session(&sent)).await?;
    Ok(actor.map(|actor| Session { actor, token, by_cookie }))
}

/// For JSON: 401 without a session.
impl FromRequestParts<App> for Session {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        find(app, &parts.headers).await?.ok_or_else(|| ApiError::Unauthorized.into())
    }
}

/// For pages: redirects to /setup or /login without a session.
pub(crate) struct PageSession(pub(crate) Session);

/// Why a page is not shown.
pub(crate) enum NoPage {
    Elsewhere(String),
    Failure(Failure),
}

impl IntoResponse for NoPage {
    fn into_response(self) -> Response {
        match self {
            NoPage::Elsewhere(to) => Redirect::to(&to).into_response(),
            NoPage::Failure(failure) => failure.into_response(),
        }
    }
}

impl From<Failure> for NoPage {
    fn from(failure: Failure) -> Self {
        NoPage::Failure(failure)
    }
}

impl FromRequestParts<App> for PageSession {
    type Rejection = NoPage;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, NoPage> {
        if let Some(session) = find(app, &parts.headers).await? {
            return Ok(PageSession(session));
        }
        let overview = app.call(|api| api.overview()).await?;
        // After the login a browser asks with GET, so only what was asked that way is worth coming back to.
        let back = if [Method::GET, Method::HEAD].contains(&parts.method) { parts.uri.path() } else { "/" };
        Err(NoPage::Elsewhere(match (overview.setup_needed, next_page(back)) {
            (true, _) => "/setup".to_owned(),
            (false, "/") => "/login".to_owned(),
            (false, next) => format!("/login?next={next}"),
        }))
    }
}
