//! `/api/v1/site` and `/api/v1/capsules`, and capsules as files.

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest as _, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;

use super::Answer;
use crate::api::{CapsuleFile, ExportWish, ImportWish, JobView, PlaceView, SiteView};
use crate::auth::{Change, Session, SessionFor, may};
use crate::call::App;
use crate::error::Failure;
use crate::extract::{Named, OperatorJson};
use crate::files;
use crate::headers::From;
use crate::limits::{MAX_CAPSULE, PIECE_TIME};
use crate::safe_json::SafeJson;

/// Longest name of a capsule, in bytes.
const MAX_NAME: usize = 100;

/// The file name of a capsule: letters, digits, dots, dashes and underscores, starting with a letter or a digit.
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

pub(crate) async fn site(State(app): State<App>, _: Session) -> Answer<SiteView> {
    Ok(SafeJson(app.call(|api| api.site()).await?))
}

pub(crate) async fn export(
    State(app): State<App>,
    change: Change<may::Administer>,
    From(from): From,
    OperatorJson(wish): OperatorJson<ExportWish>,
) -> Answer<JobView> {
    Ok(SafeJson(app.costly(move |api| api.export(from, change.actor(), &wish)).await?))
}

pub(crate) async fn import(
    State(app): State<App>,
    change: Change<may::Administer>,
    From(from): From,
    OperatorJson(wish): OperatorJson<ImportWish>,
) -> Answer<JobView> {
    Ok(SafeJson(app.costly(move |api| api.import(from, change.actor(), &wish)).await?))
}

pub(crate) async fn promote(
    State(app): State<App>,
    change: Change<may::Fresh<may::Administer>>,
    OperatorJson(Promote { name }): OperatorJson<Promote>,
) -> Answer<impl Serialize> {
    let epoch = app.call(move |api| api.promote(change.actor(), &name)).await?;
    Ok(SafeJson(json!({ "epoch": epoch })))
}

pub(crate) async fn drill(
    State(app): State<App>,
    change: Change<may::Administer>,
    From(from): From,
    OperatorJson(Drill { passphrase }): OperatorJson<Drill>,
) -> Answer<JobView> {
    Ok(SafeJson(app.costly(move |api| api.drill(from, change.actor(), &passphrase)).await?))
}

pub(crate) async fn stop(State(app): State<App>, change: Change<may::Administer>) -> Answer<JobView> {
    Ok(SafeJson(app.call(move |api| api.stop_job(change.actor(), None)).await?))
}

pub(crate) async fn set_place(
    State(app): State<App>,
    change: Change<may::Administer>,
    OperatorJson(place): OperatorJson<PlaceView>,
) -> Answer<PlaceView> {
    Ok(SafeJson(app.call(move |api| api.set_place(change.actor(), Some(&place))).await?))
}

pub(crate) async fn reset_place(State(app): State<App>, change: Change<may::Administer>) -> Answer<PlaceView> {
    Ok(SafeJson(app.call(move |api| api.set_place(change.actor(), None)).await?))
}

/// Downloads a complete capsule or a part of one.
pub(crate) async fn capsule(
    State(app): State<App>,
    SessionFor(session, _): SessionFor<may::Administer>,
    Named(name): Named<CapsuleName>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let (actor, asked) = (session.actor().clone(), name.clone());
    let path = app.call(move |api| api.capsule_path(&actor, asked.as_str())).await?.ok_or_else(Failure::not_found)?;
    files::download(path, name.as_str(), &method, &headers).await
}

/// How much of a capsule has been uploaded.
pub(crate) async fn uploaded(State(app): State<App>, _: Session, Named(name): Named<CapsuleName>) -> Answer<CapsuleFile> {
    let site = app.call(|api| api.site()).await?;
    let file = site.capsules.into_iter().find(|f| f.name == name.as_str()).ok_or_else(Failure::not_found)?;
    Ok(SafeJson(file))
}

/// Appends a piece of at most [`crate::limits::MAX_PIECE`] bytes to a capsule.
pub(crate) async fn put_capsule(
    State(app): State<App>,
    change: Change<may::Administer>,
    Named(name): Named<CapsuleName>,
    piece: Result<Query<Piece>, QueryRejection>,
    request: Request,
) -> Answer<impl Serialize> {
    let Query(Piece { at, total }) = piece?;
    if total > MAX_CAPSULE || at > total {
        return Err(Failure::new(StatusCode::BAD_REQUEST, "the piece is outside the file"));
    }
    let late = || Failure::new(StatusCode::REQUEST_TIMEOUT, "the piece did not arrive in time");
    let bytes = timeout(PIECE_TIME, Bytes::from_request(request, &())).await.map_err(|_| late())??;
    let size = app.call(move |api| api.put_capsule(change.actor(), name.as_str(), at, total, &bytes)).await?;
    Ok(SafeJson(json!({ "size": size })))
}

pub(crate) async fn remove_capsule(
    State(app): State<App>,
    change: Change<may::Administer>,
    Named(name): Named<CapsuleName>,
) -> Answer<impl Serialize> {
    app.call(move |api| api.remove_capsule(change.actor(), name.as_str())).await?;
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
