//! The proofs that a request may change something.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::session::{NoPage, PageSession, Session};
use crate::api::Actor;
use crate::call::App;
use crate::error::Failure;
use crate::extract::{Fields, Posted, check_origin};

const CSRF_HEADER: &str = "x-csrf-token";

/// A request that may change something. Only the extractors of this file make one.
pub(crate) struct Change(Session);

impl Change {
    /// Who changes it.
    pub(crate) fn actor(&self) -> &Actor {
        &self.0.actor
    }

    /// The session itself, which a logout ends.
    pub(crate) fn token(&self) -> &str {
        &self.0.token
    }

    /// For the page that answers.
    pub(crate) fn session(&self) -> &Session {
        &self.0
    }
}

/// For JSON and uploads, with the CSRF token in the header `X-CSRF-Token`: 401 without a session, 403 without a proof.
/// Comes before the body, so nothing of a refused body is read.
impl FromRequestParts<App> for Change {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let session = Session::from_request_parts(parts, app).await?;
        check_origin(&parts.headers)?;
        if session.by_cookie {
            session.check(parts.headers.get(CSRF_HEADER).and_then(|v| v.to_str().ok()).unwrap_or(""))?;
        }
        Ok(Change(session))
    }
}

/// A form of one of our pages that changes something, with the CSRF token in the field `csrf`: redirects without a
/// session, 403 without a proof.
pub(crate) struct ChangeForm<T>(pub(crate) Change, pub(crate) T);

/// A form with its token.
#[derive(Deserialize)]
struct Signed<T> {
    #[serde(default)]
    csrf: String,
    #[serde(flatten)]
    form: T,
}

impl<T: DeserializeOwned> FromRequest<App> for ChangeForm<T> {
    type Rejection = NoPage;
    async fn from_request(request: Request, app: &App) -> Result<Self, NoPage> {
        let (mut parts, body) = request.into_parts();
        let PageSession(session) = PageSession::from_request_parts(&mut parts, app).await?;
        let Posted(Signed { csrf, form }) = Posted::<Signed<T>>::from_request(Request::from_parts(parts, body), app).await?;
        session.check(&csrf)?;
        Ok(ChangeForm(Change(session), form))
    }
}

/// Like [`ChangeForm`], for a form that may carry a file. The fields come without the token.
pub(crate) struct ChangeFields(pub(crate) Change, pub(crate) BTreeMap<String, String>);

impl FromRequest<App> for ChangeFields {
    type Rejection = NoPage;
    async fn from_request(request: Request, app: &App) -> Result<Self, NoPage> {
        let (mut parts, body) = request.into_parts();
        let PageSession(session) = PageSession::from_request_parts(&mut parts, app).await?;
        let Fields(mut fields) = Fields::from_request(Request::from_parts(parts, body), app).await?;
        session.check(&fields.remove("csrf").unwrap_or_default())?;
        Ok(ChangeFields(Change(session), fields))
    }
}
