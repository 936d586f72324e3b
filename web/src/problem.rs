//! Failed requests of the JSON API as problem details (RFC 9457).

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::Failure;
use crate::safe_json::SafeJson;

/// The chapter that explains the types.
const CHAPTER: &str = "/docs/api";

/// Statuses that the API answers with, and the anchor of each in the chapter.
pub(crate) const TYPES: [(u16, &str); 15] = [
    (400, "bad-request"),
    (401, "unauthorized"),
    (403, "forbidden"),
    (404, "not-found"),
    (405, "method-not-allowed"),
    (408, "request-timeout"),
    (409, "conflict"),
    (412, "precondition-failed"),
    (413, "content-too-large"),
    (415, "unsupported-media-type"),
    (422, "idempotency-key-reused"),
    (423, "sealed"),
    (428, "precondition-required"),
    (429, "too-many-attempts"),
    (503, "unavailable"),
];

/// HTTP shape of a failed request.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// Address of its explanation, relative to the seed.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The request's id in the log of the seed.
    request_id: String,
    /// The same as `detail`, for programs of version 0.1; it will be removed in the next version.
    error: String,
}

impl Problem {
    pub(crate) fn of(failure: &Failure, request_id: &str) -> Self {
        let status = failure.status.as_u16();
        let anchor = TYPES.iter().find(|(s, _)| *s == status).map(|(_, anchor)| *anchor);
        Problem {
            kind: anchor.map_or_else(|| "about:blank".to_owned(), |a| format!("{CHAPTER}#{a}")),
            title: title(failure.status),
            status,
            detail: failure.error.clone(),
            hint: failure.hint.clone(),
            request_id: request_id.to_owned(),
            error: failure.error.clone(),
        }
    }
}

fn title(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("Failed").to_owned()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = SafeJson(self).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_explained_in_the_documents() {
        let chapter = include_str!("../../docs/api.md");
        for (status, anchor) in TYPES {
            let heading = anchor.replace('-', " ");
            assert!(
                chapter.to_lowercase().contains(&format!("\n### {heading}\n")),
                "docs/api.md does not explain {status} {anchor}"
            );
        }
    }

    #[test]
    fn a_failure_keeps_the_old_fields() {
        let failure = Failure::new(StatusCode::LOCKED, "the seed is sealed").with_hint("unseal it");
        let json = serde_json::to_value(Problem::of(&failure, "abc")).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "/docs/api#sealed", "title": "Locked", "status": 423, "detail": "the seed is sealed", "hint": "unseal it",
                "requestId": "abc", "error": "the seed is sealed",
            })
        );
        let inner = Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error");
        assert_eq!(serde_json::to_value(Problem::of(&inner, "abc")).unwrap()["type"], "about:blank");
    }
}
