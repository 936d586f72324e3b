//! The operators' router: pages, JSON and the live feed.

mod desk;
mod sse;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};

use crate::api::OperatorApi;
use crate::auth::{Session, bearer};
use crate::call::{App, OperatorOptions};
use crate::error::Failure;
use crate::extract::Named;
use crate::files;
use crate::files::handover::Wanted;
use crate::headers::{From, Side, envelope};
use crate::idempotency::once;
use crate::limits::{MAX_COUNTERSIGN, MAX_FORM, MAX_PIECE, MAX_PLAN};
use crate::{json, pages};

/// Everything for people. Belongs behind TLS, or on a loopback address at the end of an SSH tunnel.
pub fn operator_router(api: Arc<dyn OperatorApi>, options: OperatorOptions) -> Router {
    let app = App::new(api, options);
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .fallback(async || Failure::not_found())
        .method_not_allowed_fallback(async || Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"))
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(axum::middleware::from_fn_with_state(app.clone(), once))
        .layer(axum::middleware::from_fn_with_state(Side::Operator, envelope))
        .with_state(app)
}

type Route = (&'static str, MethodRouter<App>);

/// Every route. The router is made of these and nothing else, and the test of all routes (`routes_tests.rs`) walks through
/// them: one that it does not know fails it.
fn routes() -> Vec<Route> {
    [
        page_routes().as_slice(),
        &machines_routes(),
        &site_page_routes(),
        &json_routes(),
        &site_json_routes(),
        &image_routes(),
        &converge_routes(),
        &people_routes(),
        &inventory_routes(),
        &plan_routes(),
        &countersign_routes(),
        &desk::routes(),
    ]
    .concat()
}

fn page_routes() -> Vec<Route> {
    vec![
        ("/", get(pages::overview::show)),
        ("/setup", get(pages::login::setup_form).post(pages::login::setup)),
        ("/login", get(pages::login::login_form).post(pages::login::login)),
        ("/logout", post(pages::login::logout)),
        ("/unseal", get(pages::login::unseal_form).post(pages::login::unseal)),
        ("/machines/{id}", get(pages::machine::show)),
        ("/approve", get(pages::code::start).post(pages::code::find)),
        ("/machines/{id}/approve", post(pages::machine::approve)),
        ("/machines/{id}/deny", post(pages::machine::deny)),
        ("/machines/{id}/deny-address", post(pages::machine::deny_address)),
        ("/machines/{id}/packets.pcapng", get(packets)),
        ("/machines/{id}/power", get(pages::power::show).post(pages::power::act)),
        ("/machines/{id}/controller", post(pages::power::save)),
        ("/machines/{id}/controller/forget", post(pages::power::forget)),
        ("/machines/{id}/controller/certificate", post(pages::power::certificate)),
        ("/machines/{id}/controller/trust", post(pages::power::trust)),
        ("/medium/{name}", get(medium)),
        ("/packages", get(pages::packages::show)),
        ("/look", get(pages::look::show).post(pages::look::save)),
        ("/clock", get(pages::clock::show).post(pages::clock::set)),
        ("/events", get(sse::events)),
        ("/static/{name}", get(pages::assets::get)),
        ("/ca.pem", get(ca_certificate)),
        ("/metrics", get(metrics)),
    ]
}

/// The list of machines, what is done to many, and what needs a confirmation.
fn machines_routes() -> Vec<Route> {
    vec![
        ("/machines", get(pages::machines::show)),
        ("/machines/sheet", get(pages::sheet::show)),
        ("/machines/by/{name}", get(pages::sheet::by)),
        ("/machines/act", post(pages::bulk::act)),
        ("/machines/approve", get(pages::approve_many::show).post(pages::approve_many::approve)),
        ("/machines/{id}/note", post(pages::note::save)),
        ("/api/v1/machines/{id}/note", put(json::machine::note)),
        ("/machines/{id}/revoke", get(pages::confirm::ask_revoke).post(pages::confirm::revoke)),
        ("/machines/{id}/forget", get(pages::confirm::ask_forget).post(pages::confirm::forget)),
    ]
}

fn site_page_routes() -> Vec<Route> {
    vec![
        ("/site", get(pages::site::show)),
        ("/site/export", post(pages::site::export)),
        ("/site/import", post(pages::site::import)),
        ("/site/promote", post(pages::site::promote)),
        ("/site/place", post(pages::site::place)),
        ("/site/drill", post(pages::site::drill)),
        ("/site/stop", post(pages::site::stop)),
        ("/site/seal", post(pages::site::seal)),
        ("/site/remove", post(pages::site::remove)),
        ("/capsules/{name}", get(json::site::capsule)),
    ]
}

fn converge_routes() -> Vec<Route> {
    vec![
        ("/platform", get(pages::converge::show)),
        ("/platform/act", post(pages::converge::act)),
        ("/charts", get(pages::charts::show)),
        ("/api/v1/charts", get(json::charts::view)),
        ("/mesh", get(pages::mesh::show)),
        ("/api/v1/mesh", get(json::mesh::view)),
        ("/api/v1/converge", get(json::converge::view).post(json::converge::act)),
    ]
}

fn inventory_routes() -> Vec<Route> {
    vec![
        ("/api/v1/nodes", get(json::inventory::nodes)),
        ("/api/v1/enrollments", get(json::inventory::enrollments)),
        ("/api/v1/planes", get(json::inventory::planes)),
        ("/planes", get(pages::planes::show)),
        ("/planes/rotate", post(pages::planes::rotate)),
        ("/api/v1/rotations", get(json::rotation::list).post(json::rotation::begin)),
        ("/api/v1/ssh", get(json::inventory::ssh)),
        ("/api/v1/events/last", get(json::inventory::last_events)),
        ("/api/v1/webhooks", get(json::webhooks::list)),
        ("/api/v1/webhooks/dead", get(json::webhooks::dead)),
        ("/api/v1/webhooks/test", post(json::webhooks::test)),
    ]
}

fn image_routes() -> Vec<Route> {
    vec![
        ("/images", get(pages::images::show)),
        ("/images/build", post(pages::images::build)),
        ("/images/verify", post(pages::images::verify)),
        ("/images/stop", post(pages::images::stop)),
        ("/outputs/{name}", get(json::outputs::file)),
        ("/api/v1/outputs", get(json::outputs::list).post(json::outputs::build)),
        ("/api/v1/outputs/{name}/verify", post(json::outputs::verify)),
    ]
}

fn plan_routes() -> Vec<Route> {
    // A plan is larger than any form.
    let large = DefaultBodyLimit::max(MAX_PLAN);
    vec![
        ("/plan", get(pages::plan::show).merge(post(pages::plan::change).layer(large))),
        ("/plan/remove", post(pages::plan::remove)),
        ("/plan/window", post(pages::plan::window)),
        ("/plan/click", post(pages::plan::click)),
        ("/machines/{id}/say", post(pages::plan::say)),
        (
            "/api/v1/plan",
            get(json::plan::view).delete(json::plan::clear).merge(put(json::plan::set).post(json::plan::add).layer(large)),
        ),
        ("/api/v1/plan/check", post(json::plan::check).layer(large)),
        ("/api/v1/plan/rows/{name}", delete(json::plan::remove)),
        ("/api/v1/approve-planned", post(json::plan::approve)),
        ("/api/v1/enrollments/{id}/approve-planned", post(json::plan::click)),
        ("/api/v1/enrollment-window", put(json::plan::open).delete(json::plan::close)),
        ("/api/v1/machines/{id}/say", post(json::plan::say)),
        ("/api/v1/allow", post(json::plan::allow)),
        ("/join-tokens", get(pages::join_tokens::show)),
        ("/join-tokens/agree", post(pages::join_tokens::agree)),
        ("/api/v1/join-tokens", get(json::join_tokens::list).post(json::join_tokens::create)),
        ("/api/v1/join-tokens/{token}", delete(json::join_tokens::revoke)),
        ("/api/v1/join-tokens/{token}/agree", post(json::join_tokens::agree)),
    ]
}

fn countersign_routes() -> Vec<Route> {
    let large = DefaultBodyLimit::max(MAX_COUNTERSIGN);
    vec![
        ("/countersign", get(pages::countersign::show).merge(post(pages::countersign::take).layer(large))),
        ("/countersign/request.json", get(pages::countersign::request)),
        ("/api/v1/countersign", get(json::countersign::view).merge(post(json::countersign::take).layer(large))),
        ("/api/v1/countersign/request", get(json::countersign::request)),
    ]
}

fn json_routes() -> Vec<Route> {
    vec![
        ("/api/v1/setup", post(json::setup)),
        ("/api/v1/login", post(json::login)),
        ("/api/v1/logout", post(json::logout)),
        ("/api/v1/unseal", post(json::unseal)),
        ("/api/v1/seal", post(json::seal)),
        ("/api/v1/status", get(json::status)),
        ("/api/v1/clock", get(json::clock).post(json::set_clock)),
        ("/api/v1/snapshots", get(json::snapshots)),
        ("/api/v1/events", get(json::events)),
        ("/api/v1/machines", get(json::machine::list)),
        ("/api/v1/machines/{id}", get(json::machine::show).delete(json::machine::forget)),
        ("/api/v1/machines/{id}/packets.pcapng", get(packets)),
        ("/api/v1/machines/{id}/power", get(json::power::view).post(json::power::act)),
        ("/api/v1/machines/{id}/controller", put(json::power::save).delete(json::power::forget)),
        ("/api/v1/machines/{id}/controller/certificate", post(json::power::certificate).put(json::power::trust)),
        ("/api/v1/approve", post(json::machine::approve_code)),
        ("/api/v1/enrollments/{id}/approve", post(json::machine::approve)),
        ("/api/v1/enrollments/{id}/deny", post(json::machine::deny)),
        ("/api/v1/deny-address", post(json::machine::deny_address)),
        ("/api/v1/enrollments/{id}/revoke", post(json::machine::revoke)),
    ]
}

fn site_json_routes() -> Vec<Route> {
    // Pieces of a capsule are larger than any form.
    let piece = put(json::site::put_capsule).layer(DefaultBodyLimit::max(MAX_PIECE));
    vec![
        ("/api/v1/site", get(json::site::site)),
        ("/api/v1/site/export", post(json::site::export)),
        ("/api/v1/site/import", post(json::site::import)),
        ("/api/v1/site/promote", post(json::site::promote)),
        ("/api/v1/site/place", put(json::site::set_place).delete(json::site::reset_place)),
        ("/api/v1/site/drill", post(json::site::drill)),
        ("/api/v1/site/stop", post(json::site::stop)),
        ("/api/v1/capsules/{name}", get(json::site::uploaded).delete(json::site::remove_capsule).merge(piece)),
    ]
}

fn people_routes() -> Vec<Route> {
    use pages::people::forms;
    vec![
        ("/people", get(pages::people::show)),
        ("/people/password", post(forms::password)),
        ("/people/sessions/end", post(forms::end_session)),
        ("/people/tokens/create", post(forms::create_token)),
        ("/people/tokens/revoke", post(forms::revoke_token)),
        ("/people/passkeys/create", post(forms::create_passkey)),
        ("/people/passkeys/remove", post(forms::remove_passkey)),
        ("/people/users/add", post(forms::add_user)),
        ("/people/users/set", post(forms::set_user)),
        ("/people/users/remove", post(forms::remove_user)),
        ("/machines/{id}/agree", post(pages::agree::agree)),
        ("/api/v1/me", get(json::people::me)),
        ("/api/v1/me/password", post(json::people::change_password)),
        ("/api/v1/login/again", post(json::people::again)),
        ("/api/v1/users", get(json::people::users).post(json::people::add_user)),
        ("/api/v1/users/{name}", put(json::people::set_user).delete(json::people::remove_user)),
        ("/api/v1/users/{name}/password", put(json::people::reset_password)),
        ("/api/v1/sessions", get(json::people::sessions).delete(json::people::end_sessions)),
        ("/api/v1/sessions/{name}", delete(json::people::end_session)),
        ("/api/v1/api-tokens", get(json::people::tokens).post(json::people::create_token)),
        ("/api/v1/api-tokens/{token}", delete(json::people::revoke_token)),
        ("/api/v1/passkeys", post(json::passkeys::finish)),
        ("/api/v1/passkeys/begin", post(json::passkeys::begin)),
        ("/api/v1/passkeys/{name}", delete(json::passkeys::remove)),
        ("/api/v1/login/passkey", post(json::passkeys::login)),
        ("/api/v1/login/passkey/begin", post(json::passkeys::begin_login)),
        ("/api/v1/enrollments/{id}/agree", post(json::people::agree)),
    ]
}

/// The seed's medium, as machines get it by HTTP: some management controllers take images by https only.
async fn medium(State(app): State<App>, Named(name): Named<String>, wanted: Wanted) -> Result<Response, Failure> {
    let path = app.call(move |api| Ok(api.medium_path(&name))).await?.ok_or_else(Failure::not_found)?;
    files::one(path, None, &wanted).await
}

/// For browsers and programs of operators, who compare its fingerprint with the console before they trust it.
async fn ca_certificate(State(app): State<App>) -> Result<Response, Failure> {
    let pem = app.call(|api| api.ca_certificate()).await?;
    let pem = pem.ok_or_else(|| Failure::not_found().with_hint("the CA is created when the site is first unsealed"))?;
    let headers =
        [(CONTENT_TYPE, "application/x-x509-ca-cert"), (CONTENT_DISPOSITION, "attachment; filename=\"kubedos-ca.pem\"")];
    Ok((headers, pem).into_response())
}

/// The machine's last packets, for Wireshark.
async fn packets(State(app): State<App>, session: Session, Named(id): Named<i64>) -> Result<Response, Failure> {
    let actor = session.actor().clone();
    let bytes = app.call(move |api| api.packets(&actor, id)).await?;
    let name = format!("attachment; filename=\"machine-{id}.pcapng\"");
    Ok(([(CONTENT_TYPE, "application/vnd.tcpdump.pcap".to_owned()), (CONTENT_DISPOSITION, name)], bytes).into_response())
}

/// Prometheus' text format, version 0.0.4. A scraper has no session: the daemon decides by address or bearer token who
/// may read it.
async fn metrics(State(app): State<App>, From(from): From, headers: HeaderMap) -> Result<Response, Failure> {
    let token = bearer(&headers);
    let text = app.call(move |api| api.metrics(from, token.as_deref())).await?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

#[cfg(test)]
mod converge_tests;
#[cfg(test)]
mod countersign_rows;
#[cfg(test)]
mod countersign_tests;
#[cfg(test)]
mod desk_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod image_tests;
#[cfg(test)]
mod join_token_tests;
#[cfg(test)]
mod looks_tests;
#[cfg(test)]
mod machines_tests;
#[cfg(test)]
mod openapi_tests;
#[cfg(test)]
mod people_tests;
#[cfg(test)]
mod plan_rows;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod planes_tests;
#[cfg(test)]
mod rights_tests;
#[cfg(test)]
mod routes_table;
#[cfg(test)]
pub(crate) mod routes_tests;
#[cfg(test)]
mod site_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod warning_tests;
