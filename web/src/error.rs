//! The answer to a failed request: a status, a short message and a hint. The log has the details under the request's id.

use std::sync::Arc;

use axum::extract::rejection::{BytesRejection, FormRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};

use crate::api::ApiError;

/// A failed request. `internal` is for the log only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub status: StatusCode,
    pub error: String,
    pub hint: Option<String>,
    pub internal: Option<String>,
    /// Seconds until another attempt makes sense.
    pub retry_after: Option<u64>,
}

impl Failure {
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Failure { status, error: error.into(), hint: None, internal: None, retry_after: None }
    }

    pub fn not_found() -> Self {
        Failure::new(StatusCode::NOT_FOUND, "no such page or file")
    }

    pub fn forbidden(error: &str) -> Self {
        Failure::new(StatusCode::FORBIDDEN, error)
    }

    pub fn internal(text: impl Into<String>) -> Self {
        Failure { internal: Some(text.into()), ..Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error") }
    }

    /// True if the same request may succeed later by itself: the seed is sealed, starting or busy.
    pub fn is_retryable(&self) -> bool {
        matches!(self.status.as_u16(), 408 | 423 | 429 | 503)
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let text = error.to_string();
        match error {
            ApiError::BadRequest { hint, .. } => Failure { hint, ..Failure::new(StatusCode::BAD_REQUEST, text) },
            ApiError::Unauthorized => Failure::new(StatusCode::UNAUTHORIZED, text),
            ApiError::Forbidden { .. } => Failure::new(StatusCode::FORBIDDEN, text),
            ApiError::NotFound { .. } => Failure::new(StatusCode::NOT_FOUND, text),
            ApiError::Conflict { hint, .. } => Failure { hint, ..Failure::new(StatusCode::CONFLICT, text) },
            ApiError::Sealed => Failure::new(StatusCode::LOCKED, text)
                .with_hint("unseal it with the site's passphrase, at /unseal or with seedd unseal"),
            ApiError::TooMany { seconds } => {
                Failure { retry_after: Some(seconds), ..Failure::new(StatusCode::TOO_MANY_REQUESTS, text) }
            }
            ApiError::Unavailable { .. } => {
                Failure { retry_after: Some(5), ..Failure::new(StatusCode::SERVICE_UNAVAILABLE, text) }
            }
            ApiError::Internal(chain) => Failure::internal(chain),
        }
    }
}

macro_rules! from_rejection {
    ($($rejection:ty),+) => {$(
        impl From<$rejection> for Failure {
            fn from(rejection: $rejection) -> Self {
                Failure::new(rejection.status(), rejection.body_text())
            }
        }
    )+};
}
from_rejection!(BytesRejection, FormRejection, QueryRejection);

impl From<PathRejection> for Failure {
    fn from(_: PathRejection) -> Self {
        Failure::not_found()
    }
}

/// Left in a response for [`crate::headers`], which adds a body once the request's id and the format (page or JSON) are
/// known.
#[derive(Clone)]
pub(crate) struct Failed(pub(crate) Arc<Failure>);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(Failed(Arc::new(self)));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_status_and_only_internal_hides_its_text() {
        let why = || "because".to_owned();
        for (error, status) in [
            (ApiError::BadRequest { why: why(), hint: None }, 400),
            (ApiError::Unauthorized, 401),
            (ApiError::Forbidden { why: why() }, 403),
            (ApiError::NotFound { what: "machine" }, 404),
            (ApiError::Conflict { why: why(), hint: Some(why()) }, 409),
            (ApiError::Sealed, 423),
            (ApiError::TooMany { seconds: 9 }, 429),
            (ApiError::Unavailable { why: why() }, 503),
            (ApiError::Internal("SQL: disk I/O error at seed.db".into()), 500),
        ] {
            let said = error.to_string();
            let failure = Failure::from(error);
            assert_eq!(failure.status.as_u16(), status);
            assert_eq!(failure.error == said, status != 500, "{said}");
            assert_eq!(failure.internal.is_some(), status == 500);
        }
        assert_eq!(Failure::from(ApiError::TooMany { seconds: 9 }).into_response().headers()[RETRY_AFTER], "9");
    }
}
