//! The outermost layer of the routers: request id, log line, security headers, and the body of failed answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use askama::Template;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, USER_AGENT, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use cluster_seed::agent::ErrorReply;

use crate::api::Origin;
use crate::error::{Failed, Failure};
use crate::look::Look;
use crate::problem::Problem;
use crate::safe_json::SafeJson;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Which side a router serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Machine,
    Operator,
}

/// The random value of a request, and how its visitor wants pages. The first half of the value is the request's id in the log, the
/// second the nonce of its page's scripts.
#[derive(Clone)]
pub(crate) struct RequestId {
    random: String,
    look: Look,
}

impl RequestId {
    /// For `script-src 'nonce-…'`. Not the part used as the id, which is sent in a header.
    pub(crate) fn nonce(&self) -> &str {
        &self.random[16..]
    }

    pub(crate) fn look(&self) -> Look {
        self.look
    }

    fn id(&self) -> &str {
        &self.random[..16]
    }
}

/// The peer's address, if the listener knows it.
pub(crate) struct From(pub(crate) IpAddr);

pub(crate) fn peer(parts: &axum::http::Extensions) -> IpAddr {
    let ip = parts.get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    ip.to_canonical()
}

impl<S: Send + Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(From(peer(&parts.extensions)))
    }
}

/// Where a login comes from: the address, and what the browser says of itself.
impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let browser = parts.headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        Ok(Origin::new(peer(&parts.extensions), browser))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get::<RequestId>().cloned().ok_or_else(|| Failure::internal("the request has no id"))
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    status: u16,
    error: String,
    hint: Option<String>,
    id: &'a str,
    look: Look,
    /// The key of the title.
    title: &'static str,
}

/// What a status means to whoever sees the page.
fn title(status: u16) -> &'static str {
    match status {
        400 | 409 | 413 | 415 | 422 => "error-refused",
        401 => "error-unauthorized",
        403 => "error-forbidden",
        404 => "error-not-found",
        405 => "error-method",
        408 => "error-timeout",
        423 => "error-sealed",
        429 => "error-too-many",
        503 => "error-unavailable",
        _ => "error-internal",
    }
}

pub(crate) async fn envelope(State(side): State<Side>, mut request: Request, next: Next) -> Response {
    let id = match host::random::bytes::<24>() {
        Ok(random) => RequestId { random: hex::encode(random), look: Look::of(request.headers()) },
        Err(e) => {
            tracing::error!(error = %e, "no random numbers");
            return axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let from = peer(request.extensions());
    let method = request.method().clone();
    let path: String = request.uri().path().chars().take(200).collect();
    let wants_json = side == Side::Machine || path.starts_with("/api/");
    request.extensions_mut().insert(id.clone());

    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    if let Some(Failed(failure)) = response.extensions_mut().remove::<Failed>() {
        if let Some(chain) = &failure.internal {
            tracing::error!(request = id.id(), %from, %method, path, status, chain, "request failed");
        } else {
            tracing::debug!(request = id.id(), %from, %method, path, status, error = failure.error, "request refused");
        }
        response = with_body(&failure, response, &id, side, wants_json);
    } else {
        tracing::debug!(request = id.id(), %from, %method, path, status, "request");
    }
    secure(&mut response, side, &id);
    response
}

fn with_body(failure: &Failure, mut bare: Response, request: &RequestId, side: Side, wants_json: bool) -> Response {
    let id = request.id();
    let mut full = if wants_json && side == Side::Operator {
        Problem::of(failure, id).into_response()
    } else if wants_json {
        let (error, hint) = (failure.error.clone(), failure.hint.clone());
        let reply = ErrorReply { error, hint, request_id: Some(id.to_owned()), retryable: failure.is_retryable() };
        SafeJson(reply).into_response()
    } else {
        let show = crate::text::clean;
        let page = ErrorPage {
            status: failure.status.as_u16(),
            error: show(&failure.error),
            hint: failure.hint.as_deref().map(show),
            id,
            look: request.look(),
            title: title(failure.status.as_u16()),
        };
        page.render().map_or_else(|_| failure.error.clone().into_response(), |html| Html(html).into_response())
    };
    *full.status_mut() = bare.status();
    // From the bare response only what the failure set itself, and the Allow of a 405.
    bare.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
    for (name, value) in bare.headers() {
        full.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    full
}

fn secure(response: &mut Response, side: Side, id: &RequestId) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id.id()) {
        headers.insert(X_REQUEST_ID, value);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if side == Side::Machine {
        return;
    }
    // `same-origin`, not `no-referrer`: the latter makes browsers send `Origin: null` with our own forms.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{}'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
        id.nonce()
    );
    if let Ok(value) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, value);
    }
}
