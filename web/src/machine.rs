//! The machine's side: boot scripts, boot files, the darksite, chunks and the agent's messages.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
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
use crate::handover::Wanted;
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
        // What shim asks for behind itself: it joins its own folder, with the slash, and "/grubx64.efi".
        .route("/boot//{name}", get(boot_file::<A>))
        .route("/grub/grub.cfg", get(grub_first::<A>))
        .route("/grub/x86_64-efi/{name}", get(grub_list))
        .route("/darksite", get(async || Redirect::permanent("/darksite/current/")))
        .route("/darksite/", get(async || Redirect::permanent("/darksite/current/")))
        .route("/darksite/{*path}", get(darksite::<A>))
        .route("/v2", get(registry::base).fallback(registry::refuse))
        .route("/v2/", get(registry::base).fallback(registry::refuse))
        .route("/v2/_catalog", get(registry::catalog::<A>).fallback(registry::refuse))
        .route("/v2/{*path}", get(registry::get::<A>).fallback(registry::refuse))
        .route("/chunks/{digest}", get(chunk::<A>))
        .route("/media/{name}", get(medium::<A>))
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

/// What the signed GRUB reads first where the firmware booted it by HTTP: it looks below the server's root.
async fn grub_first<A: SeedApi>(State(app): State<App<A>>, From(from): From) -> Result<Response, Failure> {
    let query = BootQuery { format: Some("grub-first".to_owned()), ..BootQuery::default() };
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

/// Lists of GRUB's modules, of which the signed image needs none. They must be there: after a 404, GRUB 2.12's driver for
/// the firmware's HTTP reads no further answer ("unsupported uefi http status code 0x0").
async fn grub_list(Named(name): Named<String>) -> Result<Response, Failure> {
    if !["command.lst", "fs.lst", "crypto.lst", "terminal.lst"].contains(&name.as_str()) {
        return Err(Failure::not_found());
    }
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], "\n").into_response())
}

async fn boot_file<A: SeedApi>(
    State(app): State<App<A>>,
    From(from): From,
    Named(name): Named<String>,
    wanted: Wanted,
) -> Result<Response, Failure> {
    let path = app.call(move |api| Ok(api.boot_file(from, &name))).await?.ok_or_else(Failure::not_found)?;
    files::one(path, None, &wanted).await
}

async fn darksite<A: SeedApi>(State(app): State<App<A>>, wanted: Wanted, uri: Uri) -> Result<Response, Failure> {
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
        return files::below(root, path, uri.path(), &wanted).await;
    }
    let id = match first {
        "current" => None,
        id => Some(id.parse::<Digest>().map_err(|_| Failure::not_found())?),
    };
    if rest == "proof.json" {
        let path = app.call(move |api| Ok(api.proof_path(id))).await?;
        let path =
            path.ok_or_else(|| Failure::not_found().with_hint("nobody has proven this snapshot; seedd darksite prove does"))?;
        return files::one(path, None, &wanted).await;
    }
    let path = SafePath::parse(rest).ok_or_else(Failure::not_found)?;
    let root = app.call(move |api| Ok(api.snapshot_dir(id))).await?;
    let root =
        root.ok_or_else(|| Failure::not_found().with_hint("no such snapshot is published here; seedd darksite build makes one"))?;
    files::below(root, path, uri.path(), &wanted).await
}

async fn chunk<A: SeedApi>(State(app): State<App<A>>, Named(digest): Named<Digest>, wanted: Wanted) -> Result<Response, Failure> {
    let path = app.call(move |api| Ok(api.chunk_path(digest))).await?.ok_or_else(Failure::not_found)?;
    files::one(path, Some(digest.to_string()), &wanted).await
}

async fn manifest<A: SeedApi>(State(app): State<App<A>>, Named(id): Named<Digest>, wanted: Wanted) -> Result<Response, Failure> {
    let path = app.call(move |api| Ok(api.manifest_path(id))).await?.ok_or_else(Failure::not_found)?;
    // Named by the artifact, not by its own bytes: signing again with a new site key changes it.
    files::one(path, None, &wanted).await
}

/// The seed's own medium, for the virtual drive of a machine's controller.
async fn medium<A: SeedApi>(State(app): State<App<A>>, Named(name): Named<String>, wanted: Wanted) -> Result<Response, Failure> {
    let path = app.call(move |api| Ok(api.medium_path(&name))).await?.ok_or_else(Failure::not_found)?;
    files::one(path, None, &wanted).await
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
