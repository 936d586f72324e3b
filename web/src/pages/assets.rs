//! `/static/<name>`: style, scripts and icon.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::error::Failure;
use crate::extract::Named;

/// The files are compiled into the program. Pages request them with its version, so browsers may cache them for a while.
pub(crate) async fn get(Named(name): Named<String>) -> Result<Response, Failure> {
    let (kind, text) = match name.as_str() {
        "app.css" => ("text/css; charset=utf-8", include_str!("../../static/app.css")),
        "app.js" => ("text/javascript; charset=utf-8", include_str!("../../static/app.js")),
        "upload.js" => ("text/javascript; charset=utf-8", include_str!("../../static/upload.js")),
        "passkey.js" => ("text/javascript; charset=utf-8", include_str!("../../static/passkey.js")),
        "icon.svg" => ("image/svg+xml", include_str!("../../static/icon.svg")),
        _ => return Err(Failure::not_found()),
    };
    Ok(([(CONTENT_TYPE, kind), (CACHE_CONTROL, "private, max-age=300")], text).into_response())
}
