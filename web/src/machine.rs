//! The machine's side: boot scripts, boot files, the darksite, chunks and the agent's messages.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use cluster_seed::agent::{
    Claim, ClaimReply, Hello, HelloReply, MAX_BODY, Report, ReportReply, Reveal, RevealReply, StatusReply,
};
use cluster_seed::epoch::{EpochProof, EpochReply};
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::Sealed;

use crate::api::{BootQuery, SeedApi};
use crate::call::App;
use crate::error::Failure;
use crate::extract::{AgentJson, Named};
use crate::files;
use crate::headers::{From, Side, envelope};
use crate::operator::OperatorOptions;
use crate::registry;
use crate::safe_json::SafeJson;
use crate::safe_path::SafePath;

type Answer<T> = Result<SafeJson<T>, Failure>;

/// Everything a machine asks for, over plain HTTP on the netboot segment. No page, no session, nothing of the operator.
pub fn machine_router<A: SeedApi>(api: Arc<A>) -> Router {
    Router::new()
        .route("/boot/ipxe", get(boot_script::<A>))
        .route("/boot/preseed.cfg", get(preseed::<A>))
        .route("/boot/{name}", get(boot_file::<A>))
        .route("/darksite", get(async || Redirect::permanent("/darksite/current/")))
        .route("/darksite/", get(async || Redirect::permanent("/darksite/current/")))
        .route("/darksite/{*path}", get(darksite::<A>))
        .route("/v2", get(registry::base).fallback(registry::refuse))
        .route("/v2/", get(registry::base).fallback(registry::refuse))
        .route("/v2/_catalog", get(registry::catalog::<A>).fallback(registry::refuse))
        .route("/v2/{*path}", get(registry::get::<A>).fallback(registry::refuse))
        .route("/chunks/{digest}", get(chunk::<A>))
        .route("/artifacts/{id}/manifest.json", get(manifest::<A>))
        .route("/api/v1/agent/hello", post(hello::<A>))
        .route("/api/v1/agent/{enrollment}/reveal", post(reveal::<A>))
        .route("/api/v1/agent/{enrollment}/status", get(status::<A>))
        .route("/api/v1/agent/{enrollment}/claim", post(claim::<A>))
        .route("/api/v1/agent/{enrollment}/report", post(report::<A>))
        .route("/api/v1/peers", get(peers::<A>))
        .route("/api/v1/epoch", get(epoch::<A>).post(hear_epoch::<A>))
        .fallback(async || Failure::not_found())
        .method_not_allowed_fallback(async || Failure::new(StatusCode::METHOD_NOT_ALLOWED, "this cannot be done here"))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state(Side::Machine, envelope))
        .with_state(App::new(api, OperatorOptions::default()))
}

async fn boot_script<A: SeedApi>(
    State(app): State<App<A>>,
    From(from): From,
    query: Result<Query<BootQuery>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(query) = query?;
    let script = app.call(move |api| api.boot_script(from, &query)).await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")], script).into_response())
}

async fn preseed<A: SeedApi>(
    State(app): State<App<A>>,
    query: Result<Query<BootQuery>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(query) = query?;
    let text = app.call(move |api| api.preseed(&query)).await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")], text).into_response())
}

async fn boot_file<A: SeedApi>(
    State(app): State<App<A>>,
    Named(name): Named<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let path = app.call(move |api| Ok(api.boot_file(&name))).await?.ok_or_else(Failure::not_found)?;
    files::one(path, None, &method, &headers).await
}

async fn darksite<A: SeedApi>(
    State(app): State<App<A>>,
    method: Method,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Failure> {
    // The path as it was sent: it is decoded once, by SafePath.
    let raw = uri.path().strip_prefix("/darksite/").ok_or_else(Failure::not_found)?;
    let Some((first, rest)) = raw.split_once('/') else {
        return Ok(Redirect::permanent(&format!("{}/", uri.path())).into_response());
    };
    if first == "extras" {
        let path = SafePath::parse(rest).ok_or_else(Failure::not_found)?;
        let root = app.call(move |api| Ok(api.extras_dir())).await?;
        let root =
            root.ok_or_else(|| Failure::not_found().with_hint("there are no extras; seedd darksite extras fetch gets them"))?;
        return files::below(root, path, uri.path(), &method, &headers).await;
    }
    let id = match first {
        "current" => None,
        id => Some(id.parse::<Digest>().map_err(|_| Failure::not_found())?),
    };
    if rest == "proof.json" {
        let path = app.call(move |api| Ok(api.proof_path(id))).await?;
        let path =
            path.ok_or_else(|| Failure::not_found().with_hint("nobody has proven this snapshot; seedd darksite prove does"))?;
        return files::one(path, None, &method, &headers).await;
    }
    let path = SafePath::parse(rest).ok_or_else(Failure::not_found)?;
    let root = app.call(move |api| Ok(api.snapshot_dir(id))).await?;
    let root =
        root.ok_or_else(|| Failure::not_found().with_hint("no such snapshot is published here; seedd darksite build makes one"))?;
    files::below(root, path, uri.path(), &method, &headers).await
}

async fn chunk<A: SeedApi>(
    State(app): State<App<A>>,
    Named(digest): Named<Digest>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let path = app.call(move |api| Ok(api.chunk_path(digest))).await?.ok_or_else(Failure::not_found)?;
    files::one(path, Some(digest.to_string()), &method, &headers).await
}

async fn manifest<A: SeedApi>(
    State(app): State<App<A>>,
    Named(id): Named<Digest>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let path = app.call(move |api| Ok(api.manifest_path(id))).await?.ok_or_else(Failure::not_found)?;
    // Named by the artifact, not by its own bytes: signing again with a new site key changes it.
    files::one(path, None, &method, &headers).await
}

async fn hello<A: SeedApi>(
    State(app): State<App<A>>,
    From(from): From,
    AgentJson(hello): AgentJson<Hello>,
) -> Answer<HelloReply> {
    Ok(SafeJson(app.call(move |api| api.hello(from, hello)).await?))
}

async fn reveal<A: SeedApi>(
    State(app): State<App<A>>,
    From(from): From,
    Named(id): Named<EnrollmentId>,
    AgentJson(reveal): AgentJson<Reveal>,
) -> Answer<RevealReply> {
    Ok(SafeJson(app.call(move |api| api.reveal(from, id, reveal)).await?))
}

async fn status<A: SeedApi>(State(app): State<App<A>>, Named(id): Named<EnrollmentId>) -> Answer<StatusReply> {
    Ok(SafeJson(app.call(move |api| api.enrollment_status(id)).await?))
}

async fn claim<A: SeedApi>(
    State(app): State<App<A>>,
    From(from): From,
    Named(id): Named<EnrollmentId>,
    AgentJson(claim): AgentJson<Sealed<Claim>>,
) -> Answer<ClaimReply> {
    Ok(SafeJson(app.call(move |api| api.claim(from, id, &claim)).await?))
}

async fn report<A: SeedApi>(
    State(app): State<App<A>>,
    From(from): From,
    Named(id): Named<EnrollmentId>,
    AgentJson(report): AgentJson<Sealed<Report>>,
) -> Answer<ReportReply> {
    Ok(SafeJson(app.call(move |api| api.report(from, id, &report)).await?))
}

async fn peers<A: SeedApi>(State(app): State<App<A>>) -> Answer<Sealed<PeersFile>> {
    Ok(SafeJson(app.call(|api| api.peers()).await?))
}

async fn epoch<A: SeedApi>(State(app): State<App<A>>) -> Answer<Sealed<EpochProof>> {
    Ok(SafeJson(app.call(|api| api.epoch()).await?))
}

async fn hear_epoch<A: SeedApi>(
    State(app): State<App<A>>,
    From(from): From,
    AgentJson(proof): AgentJson<Sealed<EpochProof>>,
) -> Answer<EpochReply> {
    Ok(SafeJson(app.call(move |api| api.hear_epoch(from, &proof)).await?))
}
