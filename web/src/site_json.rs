//! The site as a whole over JSON, and capsules as files.

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest as _, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use crate::api::SeedApi;
use crate::auth::Session;
use crate::call::App;
use crate::error::Failure;
use crate::extract::{Named, OperatorJson, check_origin};
use crate::files;
use crate::headers::From;
use crate::limits::{MAX_CAPSULE, PIECE_TIME};
use crate::safe_json::SafeJson;
use crate::site_api::{ExportWish, ImportWish, JobView, PlaceView, SiteView};

/// Longest name of a capsule, in bytes.
const MAX_NAME: usize = 100;

/// The name of a capsule's file: letters, digits, dots, dashes and underscores, beginning with a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapsuleName(String);

impl std::str::FromStr for CapsuleName {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if first && plain && text.len() <= MAX_NAME { Ok(CapsuleName(text.to_owned())) } else { Err(()) }
    }
}

impl CapsuleName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Deserialize)]
pub(crate) struct Piece {
    at: u64,
    total: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promote {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drill {
    passphrase: String,
}

pub(crate) async fn site<A: SeedApi>(State(app): State<App<A>>, _: Session) -> Result<SafeJson<SiteView>, Failure> {
    Ok(SafeJson(app.call(|api| api.site()).await?))
}

pub(crate) async fn export<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    From(from): From,
    headers: HeaderMap,
    OperatorJson(wish): OperatorJson<ExportWish>,
) -> Result<SafeJson<JobView>, Failure> {
    session.check_header(&headers)?;
    Ok(SafeJson(app.costly(move |api| api.export(from, &session.actor, &wish)).await?))
}

pub(crate) async fn import<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    From(from): From,
    headers: HeaderMap,
    OperatorJson(wish): OperatorJson<ImportWish>,
) -> Result<SafeJson<JobView>, Failure> {
    session.check_header(&headers)?;
    Ok(SafeJson(app.costly(move |api| api.import(from, &session.actor, &wish)).await?))
}

pub(crate) async fn promote<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    headers: HeaderMap,
    OperatorJson(Promote { name }): OperatorJson<Promote>,
) -> Result<impl IntoResponse, Failure> {
    session.check_header(&headers)?;
    let epoch = app.call(move |api| api.promote(&session.actor, &name)).await?;
    Ok(SafeJson(json!({ "epoch": epoch })))
}

pub(crate) async fn drill<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    From(from): From,
    headers: HeaderMap,
    OperatorJson(Drill { passphrase }): OperatorJson<Drill>,
) -> Result<SafeJson<JobView>, Failure> {
    session.check_header(&headers)?;
    Ok(SafeJson(app.costly(move |api| api.drill(from, &session.actor, &passphrase)).await?))
}

pub(crate) async fn stop<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    headers: HeaderMap,
) -> Result<SafeJson<JobView>, Failure> {
    check_origin(&headers)?;
    session.check_header(&headers)?;
    Ok(SafeJson(app.call(move |api| api.stop_job(&session.actor)).await?))
}

pub(crate) async fn set_place<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    headers: HeaderMap,
    OperatorJson(place): OperatorJson<PlaceView>,
) -> Result<SafeJson<PlaceView>, Failure> {
    session.check_header(&headers)?;
    Ok(SafeJson(app.call(move |api| api.set_place(&session.actor, Some(&place))).await?))
}

pub(crate) async fn reset_place<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    headers: HeaderMap,
) -> Result<SafeJson<PlaceView>, Failure> {
    check_origin(&headers)?;
    session.check_header(&headers)?;
    Ok(SafeJson(app.call(move |api| api.set_place(&session.actor, None)).await?))
}

/// A whole capsule or a part of one, for saving.
pub(crate) async fn capsule<A: SeedApi>(
    State(app): State<App<A>>,
    _: Session,
    Named(name): Named<CapsuleName>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let asked = name.clone();
    let path = app.call(move |api| Ok(api.capsule_path(asked.as_str()))).await?.ok_or_else(Failure::not_found)?;
    files::download(path, name.as_str(), &method, &headers).await
}

/// How much of a file is here.
pub(crate) async fn uploaded<A: SeedApi>(
    State(app): State<App<A>>,
    _: Session,
    Named(name): Named<CapsuleName>,
) -> Result<impl IntoResponse, Failure> {
    let site = app.call(|api| api.site()).await?;
    let file = site.capsules.into_iter().find(|f| f.name == name.as_str()).ok_or_else(Failure::not_found)?;
    Ok(SafeJson(file))
}

/// A piece of a file: at most [`crate::limits::MAX_PIECE`] bytes, at the end of what is here.
pub(crate) async fn put_capsule<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    Named(name): Named<CapsuleName>,
    piece: Result<Query<Piece>, QueryRejection>,
    request: Request,
) -> Result<impl IntoResponse, Failure> {
    check_origin(request.headers())?;
    session.check_header(request.headers())?;
    let Query(Piece { at, total }) = piece?;
    if total > MAX_CAPSULE || at > total {
        return Err(Failure::new(StatusCode::BAD_REQUEST, "the piece does not lie in the file"));
    }
    let late = || Failure::new(StatusCode::REQUEST_TIMEOUT, "the piece did not arrive in time");
    let bytes = timeout(PIECE_TIME, Bytes::from_request(request, &())).await.map_err(|_| late())??;
    let size = app.call(move |api| api.put_capsule(&session.actor, name.as_str(), at, total, &bytes)).await?;
    Ok(SafeJson(json!({ "size": size })))
}

pub(crate) async fn remove_capsule<A: SeedApi>(
    State(app): State<App<A>>,
    session: Session,
    Named(name): Named<CapsuleName>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Failure> {
    check_origin(&headers)?;
    session.check_header(&headers)?;
    app.call(move |api| api.remove_capsule(&session.actor, name.as_str())).await?;
    Ok(SafeJson(json!({ "removed": true })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_capsules_are_plain() {
        for good in ["a", "site-a.capsule", "site-a.capsule.001", "A_1"] {
            assert_eq!(good.parse::<CapsuleName>().unwrap().as_str(), good);
        }
        let long = "a".repeat(MAX_NAME + 1);
        for bad in ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "a\0", "ä", "a\"b", &long] {
            assert!(bad.parse::<CapsuleName>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(MAX_NAME).parse::<CapsuleName>().is_ok());
    }
}
