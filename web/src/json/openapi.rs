//! `/api/v1/openapi.json`: the description of the JSON API (OpenAPI 3.1).

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;

use crate::auth::Session;

/// Made from the routes and the types by a test (`operator/openapi_tests.rs`), which also fails if it is stale.
pub(crate) const OPENAPI: &str = include_str!("../../openapi.json");

pub(crate) async fn document(_: Session) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], OPENAPI)
}
