//! The header `Idempotency-Key` of requests that create or start something (draft-ietf-httpapi-idempotency-key-header): a
//! repeated request gets the answer of the first one and changes nothing.

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cluster_seed::ids::Digest;
use tokio::time::timeout;

use crate::auth::find;
use crate::call::App;
use crate::error::Failure;
use crate::limits::{BODY_TIME, MAX_COUNTERSIGN, MAX_FORM, MAX_PLAN, MAX_SETTINGS};
use crate::replay::{Kept, Known, MAX_ANSWER};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// In an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest key, in characters.
const MAX_KEY: usize = 255;
/// Requests whose answers are secrets or that have no session; their header is ignored.
pub(crate) const WITHOUT: [&str; 11] = [
    "/api/v1/setup",
    "/api/v1/login",
    "/api/v1/login/again",
    "/api/v1/login/passkey",
    "/api/v1/login/passkey/begin",
    "/api/v1/logout",
    "/api/v1/unseal",
    "/api/v1/about/support",
    "/api/v1/api-tokens",
    "/api/v1/join-tokens",
    "/api/v1/passkeys/begin",
];

pub(crate) async fn once(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let concerned = request.method() == Method::POST && path.starts_with("/api/v1/") && !WITHOUT.contains(&path);
    match request.headers().get(KEY).filter(|_| concerned).map(|v| v.to_str().unwrap_or_default().to_owned()) {
        None => next.run(request).await,
        Some(key) => keyed(app, key, request, next).await.unwrap_or_else(IntoResponse::into_response),
    }
}

/// The most that the route takes, in bytes: the same as without a key.
fn largest(path: &str) -> usize {
    match path {
        "/api/v1/countersign" => MAX_COUNTERSIGN,
        "/api/v1/plan" | "/api/v1/plan/check" => MAX_PLAN,
        "/api/v1/settings/check" => MAX_SETTINGS,
        _ => MAX_FORM,
    }
}

async fn keyed(app: App, key: String, request: Request, next: Next) -> Result<Response, Failure> {
    if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Failure::new(StatusCode::BAD_REQUEST, "invalid Idempotency-Key")
            .with_hint(format!("1 to {MAX_KEY} printable characters, for example a UUID")));
    }
    // Without a session the route refuses the request itself.
    let Some(session) = find(&app, request.headers()).await? else { return Ok(next.run(request).await) };
    let (parts, body) = request.into_parts();
    let late = |_| Failure::new(StatusCode::REQUEST_TIMEOUT, "the request body did not arrive in time");
    let large = |_| Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large for an Idempotency-Key");
    let most = largest(parts.uri.path());
    let body = timeout(BODY_TIME, to_bytes(body, most)).await.map_err(late)?.map_err(large)?;
    let words = [parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), &body].map(Digest::of);
    let request_digest = Digest::of(words.map(|d| d.to_string()).join("\n").as_bytes());
    let id = (session.user().to_owned(), key);
    let turn = match app.replay.begin(id, request_digest, host::clock::steady()) {
        Known::New(turn) => turn,
        Known::Answered(kept) => return Ok(again(kept)),
        Known::Running => {
            return Err(Failure::new(StatusCode::CONFLICT, "a request with this Idempotency-Key is being carried out"));
        }
        Known::Other => {
            return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "this Idempotency-Key was used for another request")
                .with_hint("use a new key for each request, and the same one only to repeat it"));
        }
    };
    let request = Request::from_parts(parts, Body::from(body));
    // On a task of its own: a client that goes away must find the answer when it repeats the request.
    let carried = tokio::spawn(async move {
        let response = next.run(request).await;
        let short = response.body().size_hint().exact().is_some_and(|n| n <= MAX_ANSWER);
        if !response.status().is_success() || !short {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, MAX_ANSWER as usize).await.map_err(|e| Failure::internal(format!("reading an answer: {e}")))?;
        turn.keep(Kept { status: parts.status.as_u16(), body: body.clone() });
        Ok(Response::from_parts(parts, Body::from(body)))
    });
    carried.await.map_err(|e| Failure::internal(format!("carrying out a request: {e}")))?
}

fn again(kept: Kept) -> Response {
    let mut response = Body::from(kept.body).into_response();
    *response.status_mut() = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
