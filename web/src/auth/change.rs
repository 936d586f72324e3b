//! The proofs that a request may change something.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use axum::Form;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::again;
use super::may::Permit;
use super::session::{NoPage, Session, on_page};
use crate::api::Actor;
use crate::call::App;
use crate::error::Failure;
use crate::extract::{Fields, check_origin, in_time};
use crate::headers::peer;
use crate::look::Look;

const CSRF_HEADER: &str = "x-csrf-token";

/// A request that may change what `P` names. Only the extractors of this file make one.
pub(crate) struct Change<P>(Session, PhantomData<fn() -> P>);

impl<P> Change<P> {
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

/// For JSON and uploads, with the CSRF token in the header `X-CSRF-Token`: 401 without a session, 403 without a proof, without the
/// permission, or if the password has to be typed again. Comes before the body, so nothing of a refused body is read.
impl<P: Permit> FromRequestParts<App> for Change<P> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let session = Session::of(app, parts).await?;
        check_origin(&parts.headers)?;
        if session.by_cookie {
            session.check(parts.headers.get(CSRF_HEADER).and_then(|v| v.to_str().ok()).unwrap_or(""))?;
        }
        session.must::<P>()?;
        if P::FRESH && !session.actor.fresh {
            return Err(again::problem(&session.actor));
        }
        Ok(Change(session, PhantomData))
    }
}

/// A form of one of our pages that changes what `P` names, with the CSRF token in the field `csrf`: redirects without a session, 403
/// without a proof or the permission. Where the password has to be typed again, the answer is a page that asks for it and then sends
/// the same form, so that nothing typed is lost.
pub(crate) struct ChangeForm<P, T>(pub(crate) Change<P>, pub(crate) T);

/// A form with its token.
#[derive(Deserialize)]
struct Signed<T> {
    #[serde(default)]
    csrf: String,
    /// Sent by the page that asks for the password.
    #[serde(default, rename = "again-password")]
    again: Option<String>,
    #[serde(flatten)]
    form: T,
}

impl<P: Permit, T: DeserializeOwned + Send> FromRequest<App> for ChangeForm<P, T> {
    type Rejection = NoPage;
    async fn from_request(request: Request, app: &App) -> Result<Self, NoPage> {
        let (parts, body) = request.into_parts();
        let mut session = on_page(app, &parts).await?;
        check_origin(&parts.headers)?;
        let (path, from) = (parts.uri.path().to_owned(), peer(&parts.extensions));
        let (head, look) = (parts.clone(), Look::of(&parts.headers));
        let bytes = in_time(Bytes::from_request(Request::from_parts(parts, body), app)).await?.map_err(Failure::from)?;
        let form = |head: Parts, bytes: Bytes| Request::from_parts(head, Body::from(bytes));
        let Form(Signed { csrf, again, form: typed }) =
            Form::<Signed<T>>::from_request(form(head.clone(), bytes.clone()), app).await.map_err(Failure::from)?;
        session.check(&csrf)?;
        session.must::<P>()?;
        if P::FRESH && !session.actor.fresh && !session.actor.is_session() {
            return Err(again::problem(&session.actor).into());
        }
        if P::FRESH && !session.actor.fresh {
            let refused = match again {
                Some(password) => session.prove(app, from, password).await,
                None => Err(None),
            };
            if let Err(refused) = refused {
                let Form(fields) =
                    Form::<Vec<(String, String)>>::from_request(form(head, bytes), app).await.map_err(Failure::from)?;
                return Err(NoPage::Answer(again::page(&path, look, &session.actor, fields, refused)?));
            }
        }
        Ok(ChangeForm(Change(session, PhantomData), typed))
    }
}

/// Like [`ChangeForm`], for a form that may carry a file. The fields come without the token. The password is not asked for again: where
/// it has to be, the form is refused.
pub(crate) struct ChangeFields<P>(pub(crate) Change<P>, pub(crate) BTreeMap<String, String>);

impl<P: Permit> FromRequest<App> for ChangeFields<P> {
    type Rejection = NoPage;
    async fn from_request(request: Request, app: &App) -> Result<Self, NoPage> {
        let (parts, body) = request.into_parts();
        let session = on_page(app, &parts).await?;
        check_origin(&parts.headers)?;
        session.must::<P>()?;
        if P::FRESH && !session.actor.fresh {
            return Err(again::problem(&session.actor).into());
        }
        let Fields(mut fields) = Fields::from_request(Request::from_parts(parts, body), app).await?;
        session.check(&fields.remove("csrf").unwrap_or_default())?;
        Ok(ChangeFields(Change(session, PhantomData), fields))
    }
}
