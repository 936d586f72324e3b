//! The session of a request.

use std::marker::PhantomData;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Redirect, Response};
use subtle::ConstantTimeEq as _;

use super::may::{Permit, Read};
use super::next::next_page;
use super::token::{bearer, csrf, token};
use crate::api::{Actor, ApiError, EventPart, OperatorApi};
use crate::call::App;
use crate::error::Failure;

/// What a browser's script sends with a request that no person made (Fetch Metadata, `Sec-Fetch-Dest`).
const BY_SCRIPT: &str = "empty";

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

    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The token, with which one's own session is known from others.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The session of a request for JSON: 401 without one.
    pub(super) async fn of(app: &App, parts: &Parts) -> Result<Session, Failure> {
        let found = found(app, &parts.headers, &parts.method).await?;
        found.ok_or_else(|| ApiError::Unauthorized.into())
    }

    /// 403 without the permission.
    pub(super) fn must<P: Permit>(&self) -> Result<(), Failure> {
        self.actor.must(P::NEEDS)?;
        Ok(())
    }

    /// Types the password again. `None` as the error: the session ended.
    pub(super) async fn prove(&mut self, app: &App, from: IpAddr, password: String) -> Result<(), Option<Failure>> {
        let (actor, token) = (self.actor.clone(), self.token.clone());
        app.costly(move |api| api.authenticate_again(from, &actor, &token, &password)).await.map_err(Some)?;
        self.actor.fresh = true;
        Ok(())
    }

    /// Events after `after`, as long as the session lasts.
    pub(crate) async fn events(&self, app: &App, after: i64, limit: u32) -> Result<EventPart, Failure> {
        self.while_valid(app, move |api, actor| api.events(actor, after, limit)).await
    }

    /// Runs `work` if the session has not ended in the meantime, with the rights of its user at that time; for answers that take
    /// long.
    pub(crate) async fn while_valid<T: Send + 'static>(
        &self,
        app: &App,
        work: impl FnOnce(&dyn OperatorApi, &Actor) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, Failure> {
        let token = self.token.clone();
        app.call(move |api| match api.session(&token, false)? {
            Some(actor) => work(api, &actor),
            None => Err(ApiError::Unauthorized),
        })
        .await
    }
}

/// The session of a request, if it has a valid one. Its use is counted where the request is handled.
pub(crate) async fn find(app: &App, headers: &HeaderMap) -> Result<Option<Session>, Failure> {
    session_of(app, headers, false).await
}

/// What a page's script fetches to keep the page current does not keep a session from being idle.
async fn found(app: &App, headers: &HeaderMap, method: &Method) -> Result<Option<Session>, Failure> {
    let by_script = bearer(headers).is_none() && headers.get("sec-fetch-dest").is_some_and(|v| v == BY_SCRIPT);
    session_of(app, headers, !by_script || ![Method::GET, Method::HEAD].contains(method)).await
}

async fn session_of(app: &App, headers: &HeaderMap, used: bool) -> Result<Option<Session>, Failure> {
    let Some((token, by_cookie)) = token(headers, app.options) else { return Ok(None) };
    let sent = token.clone();
    let actor = app.call(move |api| api.session(&sent, used)).await?;
    Ok(actor.map(|actor| Session { actor, token, by_cookie }))
}

/// For JSON that everybody with the permission to read may see: 401 without a session, 403 without the permission.
impl FromRequestParts<App> for Session {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let session = Session::of(app, parts).await?;
        session.must::<Read>()?;
        Ok(session)
    }
}

/// The same for JSON that needs another permission.
pub(crate) struct SessionFor<P>(pub(crate) Session, pub(crate) PhantomData<fn() -> P>);

impl<P: Permit> FromRequestParts<App> for SessionFor<P> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let session = Session::of(app, parts).await?;
        session.must::<P>()?;
        Ok(SessionFor(session, PhantomData))
    }
}

/// For pages that everybody with the permission to read may see: redirects to /setup or /login without a session, 403 without the
/// permission.
pub(crate) struct PageSession(pub(crate) Session);

/// The same for a page that needs another permission.
pub(crate) struct PageFor<P>(pub(crate) Session, pub(crate) PhantomData<fn() -> P>);

impl<P: Permit> FromRequestParts<App> for PageFor<P> {
    type Rejection = NoPage;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, NoPage> {
        let session = on_page(app, parts).await?;
        session.must::<P>()?;
        Ok(PageFor(session, PhantomData))
    }
}

/// Why a page is not shown.
pub(crate) enum NoPage {
    Elsewhere(String),
    Failure(Failure),
    /// A page of its own.
    Answer(Response),
}

impl IntoResponse for NoPage {
    fn into_response(self) -> Response {
        match self {
            NoPage::Elsewhere(to) => Redirect::to(&to).into_response(),
            NoPage::Failure(failure) => failure.into_response(),
            NoPage::Answer(page) => page,
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
        let session = on_page(app, parts).await?;
        session.must::<Read>()?;
        Ok(PageSession(session))
    }
}

/// The session of a request for a page, whatever it may do.
pub(super) async fn on_page(app: &App, parts: &Parts) -> Result<Session, NoPage> {
    if let Some(session) = found(app, &parts.headers, &parts.method).await? {
        return Ok(session);
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
