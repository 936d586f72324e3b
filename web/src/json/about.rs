//! `/api/v1/about`

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::Answer;
use crate::api::AboutView;
use crate::auth::{Change, Session, may};
use crate::call::App;
use crate::error::Failure;
use crate::safe_json::SafeJson;

pub(crate) async fn view(State(app): State<App>, _: Session) -> Answer<AboutView> {
    Ok(SafeJson(app.call(|api| api.about()).await?))
}

/// The support bundle, as a file.
pub(crate) async fn support(State(app): State<App>, change: Change<may::Administer>) -> Result<Response, Failure> {
    let bytes = app.costly(move |api| api.support_bundle(change.actor())).await?;
    Ok(bundle(bytes))
}

/// An age file, as a download.
pub(crate) fn bundle(bytes: Vec<u8>) -> Response {
    let headers =
        [(CONTENT_TYPE, "application/octet-stream"), (CONTENT_DISPOSITION, "attachment; filename=\"kubedos-support.age\"")];
    (headers, bytes).into_response()
}
