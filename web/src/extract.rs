//! Request bodies with their limits, names from the path, and the check that no other site sent a request.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Form, FromRequest, Multipart, Path, Request};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::error::Failure;
use crate::limits::{BODY_TIME, MAX_FIELDS};

/// A form sent by one of our pages. By itself it proves no session: see [`crate::auth::ChangeForm`].
pub(crate) struct Posted<T>(pub(crate) T);

/// The fields of a form that may carry a file: `multipart/form-data`, or as any other form. By itself it proves no session.
pub(crate) struct Fields(pub(crate) BTreeMap<String, String>);

/// A JSON body of an operator, with the content type that a foreign page cannot send without a preflight request.
pub(crate) struct OperatorJson<T>(pub(crate) T);

/// A JSON body of an agent. Any content type: its authority lies in the signatures inside.
pub(crate) struct AgentJson<T>(pub(crate) T);

/// Refuses a request that a browser sends on behalf of another site. Clients other than browsers send none of these
/// headers.
///
/// `Sec-Fetch-Site` decides if it is present (browsers send it to https and loopback only), otherwise `Origin`, which has
/// to name the host that the request was sent to.
pub(crate) fn check_origin(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    let own = match (text("sec-fetch-site"), text(ORIGIN.as_str())) {
        (Some(site), _) => site == "same-origin" || site == "none",
        (None, Some(origin)) => {
            let authority = origin.split_once("://").map(|(_, rest)| rest);
            authority.is_some() && authority == text(HOST.as_str())
        }
        (None, None) => true,
    };
    if own { Ok(()) } else { Err(Failure::forbidden("this request was sent by another site")) }
}

pub(crate) async fn in_time<T>(read: impl Future<Output = T>) -> Result<T, Failure> {
    let late = || Failure::new(StatusCode::REQUEST_TIMEOUT, "the request body did not arrive in time");
    timeout(BODY_TIME, read).await.map_err(|_| late())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|e| Failure::new(StatusCode::BAD_REQUEST, "invalid request body").with_hint(cut(&e)))
}

/// The parser's message, without the long values it may quote.
fn cut(error: &serde_json::Error) -> String {
    error.to_string().chars().take(200).collect()
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Posted<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        check_origin(request.headers())?;
        let Form(form) = in_time(Form::<T>::from_request(request, state)).await??;
        Ok(Posted(form))
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        if !kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data") {
            let Posted(fields) = Posted::from_request(request, state).await?;
            return Ok(Fields(fields));
        }
        check_origin(request.headers())?;
        in_time(parts(request, state)).await?.map(Fields)
    }
}

async fn parts<S: Send + Sync>(request: Request, state: &S) -> Result<BTreeMap<String, String>, Failure> {
    let bad = |status: StatusCode, text: String| Failure::new(status, text);
    let mut form = Multipart::from_request(request, state).await.map_err(|e| bad(e.status(), e.body_text()))?;
    let mut fields = BTreeMap::new();
    while let Some(field) = form.next_field().await.map_err(|e| bad(e.status(), e.body_text()))? {
        let Some(name) = field.name().map(str::to_owned) else { continue };
        if fields.len() >= MAX_FIELDS {
            return Err(bad(StatusCode::BAD_REQUEST, "the form has too many fields".to_owned()));
        }
        let bytes = field.bytes().await.map_err(|e| bad(e.status(), e.body_text()))?;
        let text = String::from_utf8(bytes.to_vec());
        let text = text.map_err(|_| {
            bad(StatusCode::BAD_REQUEST, "the file is not text".to_owned()).with_hint("save it as CSV or YAML in UTF-8")
        })?;
        fields.insert(name, text);
    }
    Ok(fields)
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OperatorJson<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        check_origin(request.headers())?;
        let kind = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        if !kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json") {
            let failure = Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the request body is not JSON");
            return Err(failure.with_hint("send Content-Type: application/json"));
        }
        let body = in_time(Bytes::from_request(request, state)).await??;
        Ok(OperatorJson(parse(&body)?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for AgentJson<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body = in_time(Bytes::from_request(request, state)).await??;
        Ok(AgentJson(parse(&body)?))
    }
}

/// One name from the path; a name that does not parse is not found.
pub(crate) struct Named<T>(pub(crate) T);

impl<S: Send + Sync, T: std::str::FromStr> axum::extract::FromRequestParts<S> for Named<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Failure> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await?;
        text.parse().map(Named).map_err(|_| Failure::not_found())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_and_programs_may_post() {
        for (headers, ok) in [
            (vec![], true),
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "none")], true),
            (vec![("sec-fetch-site", "same-site")], false),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "cross-site"), ("origin", "http://seed:8080"), ("host", "seed:8080")], false),
            (vec![("origin", "http://seed:8080"), ("host", "seed:8080")], true),
            (vec![("origin", "http://seed:8081"), ("host", "seed:8080")], false),
            (vec![("origin", "http://evil"), ("host", "seed:8080")], false),
            (vec![("origin", "null"), ("host", "seed:8080")], false),
            (vec![("origin", "null")], false),
            (vec![("origin", "")], false),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(n, v)| (axum::http::HeaderName::from_static(n), axum::http::HeaderValue::from_static(v)))
                .collect();
            assert_eq!(check_origin(&map).is_ok(), ok, "{headers:?}");
        }
    }
}
