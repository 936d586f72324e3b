//! The operator's side: pages, JSON and the live feed.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};

use crate::api::SeedApi;
use crate::auth::{Session, bearer};
use crate::call::App;
use crate::error::Failure;
use crate::extract::Named;
use crate::headers::{From, Side, envelope};
use crate::limits::{MAX_FORM, MAX_PIECE};
use crate::{json, json_power, pages, site_json, sse};

#[derive(Debug, Clone, Copy, Default)]
pub struct OperatorOptions {
    /// The listener speaks TLS: the session cookie is kept off plain HTTP.
    pub secure_cookies: bool,
}

/// Everything for people. Belongs behind TLS, or on a loopback address at the end of somebody's tunnel.
pub fn operator_router<A: SeedApi>(api: Arc<A>, options: OperatorOptions) -> Router {
    Router::new()
        .route("/", get(pages::overview::show::<A>))
        .route("/setup", get(pages::login::setup_form::<A>).post(pages::login::setup::<A>))
        .route("/login", get(pages::login::login_form::<A>).post(pages::login::login::<A>))
        .route("/logout", post(pages::login::logout::<A>))
        .route("/unseal", get(pages::login::unseal_form::<A>).post(pages::login::unseal::<A>))
        .route("/machines/{id}", get(pages::machine::show::<A>))
        .route("/machines/{id}/approve", post(pages::machine::approve::<A>))
        .route("/machines/{id}/deny", post(pages::machine::deny::<A>))
        .route("/machines/{id}/revoke", post(pages::machine::revoke::<A>))
        .route("/machines/{id}/packets.pcapng", get(packets::<A>))
        .route("/machines/{id}/power", get(pages::power::show::<A>).post(pages::power::act::<A>))
        .route("/machines/{id}/controller", post(pages::power::keep::<A>))
        .route("/machines/{id}/controller/forget", post(pages::power::forget::<A>))
        .route("/metrics", get(metrics::<A>))
        .route("/packages", get(pages::packages::show::<A>))
        .route("/clock", get(pages::clock::show::<A>).post(pages::clock::set::<A>))
        .merge(site_routes())
        .route("/events", get(sse::events::<A>))
        .route("/static/{name}", get(asset))
        .route("/ca.pem", get(ca_certificate::<A>))
        .route("/api/v1/setup", post(json::setup::<A>))
        .route("/api/v1/login", post(json::login::<A>))
        .route("/api/v1/logout", post(json::logout::<A>))
        .route("/api/v1/unseal", post(json::unseal::<A>))
        .route("/api/v1/status", get(json::status::<A>))
        .route("/api/v1/clock", get(json::clock::<A>).post(json::set_clock::<A>))
        .route("/api/v1/snapshots", get(json::snapshots::<A>))
        .route("/api/v1/machines", get(json::machines::<A>))
        .route("/api/v1/machines/{id}", get(json::machine::<A>))
        .route("/api/v1/machines/{id}/packets.pcapng", get(packets::<A>))
        .route("/api/v1/machines/{id}/power", get(json_power::view::<A>).post(json_power::act::<A>))
        .route("/api/v1/machines/{id}/controller", put(json_power::keep::<A>).delete(json_power::forget::<A>))
        .route("/api/v1/enrollments/{id}/approve", post(json::approve::<A>))
        .route("/api/v1/enrollments/{id}/deny", post(json::deny::<A>))
        .route("/api/v1/enrollments/{id}/revoke", post(json::revoke::<A>))
        .route("/api/v1/events", get(json::events::<A>))
        .fallback(async || Failure::not_found())
        .method_not_allowed_fallback(async || Failure::new(StatusCode::METHOD_NOT_ALLOWED, "this cannot be done here"))
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(axum::middleware::from_fn_with_state(Side::Operator, envelope))
        .with_state(App::new(api, options))
}

/// The site as a whole. Pieces of a capsule are larger than any form.
fn site_routes<A: SeedApi>() -> Router<App<A>> {
    let capsule = get(site_json::uploaded::<A>).put(site_json::put_capsule::<A>).delete(site_json::remove_capsule::<A>);
    Router::new()
        .route("/site", get(pages::site::show::<A>))
        .route("/site/export", post(pages::site::export::<A>))
        .route("/site/import", post(pages::site::import::<A>))
        .route("/site/promote", post(pages::site::promote::<A>))
        .route("/site/place", post(pages::site::place::<A>))
        .route("/site/drill", post(pages::site::drill::<A>))
        .route("/site/stop", post(pages::site::stop::<A>))
        .route("/site/remove", post(pages::site::remove::<A>))
        .route("/capsules/{name}", get(site_json::capsule::<A>))
        .route("/api/v1/site", get(site_json::site::<A>))
        .route("/api/v1/site/export", post(site_json::export::<A>))
        .route("/api/v1/site/import", post(site_json::import::<A>))
        .route("/api/v1/site/promote", post(site_json::promote::<A>))
        .route("/api/v1/site/place", put(site_json::set_place::<A>).delete(site_json::reset_place::<A>))
        .route("/api/v1/site/drill", post(site_json::drill::<A>))
        .route("/api/v1/site/stop", post(site_json::stop::<A>))
        .route("/api/v1/capsules/{name}", capsule.layer(DefaultBodyLimit::max(MAX_PIECE)))
}

/// For browsers and programs of operators, who compare its fingerprint with the console before they trust it.
async fn ca_certificate<A: SeedApi>(State(app): State<App<A>>) -> Result<Response, Failure> {
    let pem = app.call(|api| api.ca_certificate()).await?;
    let pem = pem.ok_or_else(|| Failure::not_found().with_hint("the site gets its CA when it is unsealed"))?;
    let headers =
        [(CONTENT_TYPE, "application/x-x509-ca-cert"), (CONTENT_DISPOSITION, "attachment; filename=\"kubedos-ca.pem\"")];
    Ok((headers, pem).into_response())
}

/// The machine's last packets, for Wireshark.
async fn packets<A: SeedApi>(State(app): State<App<A>>, _: Session, Named(id): Named<i64>) -> Result<Response, Failure> {
    let bytes = app.call(move |api| api.packets(id)).await?;
    let name = format!("attachment; filename=\"machine-{id}.pcapng\"");
    Ok(([(CONTENT_TYPE, "application/vnd.tcpdump.pcap".to_owned()), (CONTENT_DISPOSITION, name)], bytes).into_response())
}

/// Prometheus' text format, version 0.0.4. Who may read it, the daemon decides by address or bearer token: a scraper
/// has no session.
async fn metrics<A: SeedApi>(State(app): State<App<A>>, From(from): From, headers: HeaderMap) -> Result<Response, Failure> {
    let token = bearer(&headers);
    let text = app.call(move |api| api.metrics(from, token.as_deref())).await?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// Style and script travel inside the program; pages ask for them with its version, so they may be kept for a while.
pub(crate) async fn asset(Named(name): Named<String>) -> Result<Response, Failure> {
    let (kind, text) = match name.as_str() {
        "app.css" => ("text/css; charset=utf-8", include_str!("../static/app.css")),
        "app.js" => ("text/javascript; charset=utf-8", include_str!("../static/app.js")),
        "upload.js" => ("text/javascript; charset=utf-8", include_str!("../static/upload.js")),
        "icon.svg" => ("image/svg+xml", include_str!("../static/icon.svg")),
        _ => return Err(Failure::not_found()),
    };
    Ok(([(CONTENT_TYPE, kind), (CACHE_CONTROL, "private, max-age=300")], text).into_response())
}
