//! The machines' router: boot scripts, boot files, the darksite, chunks, images and the agent's messages.

mod converge;
mod lists;
mod registry;

pub use converge::metrics_router;
pub use lists::member_router;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use cluster_seed::agent::{
    Claim, ClaimReply, Confirm, ConfirmReply, Hello, HelloReply, MAX_BODY, Mismatch, Report, ReportReply, Reveal, RevealReply,
    StatusReply, TellCode,
};
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::seal::Sealed;

use crate::api::{BootQuery, MachineApi, Via};
use crate::call::{Calls, Machines};
use crate::error::Failure;
use crate::extract::{AgentJson, Named};
use crate::files;
use crate::files::handover::Wanted;
use crate::files::safe_path::SafePath;
use crate::headers::{From, Side, envelope};
use crate::limits::MAX_CALLS;
use crate::safe_json::SafeJson;
use lists::Answer;

/// Everything for machines, over plain HTTP on the netboot segment. It has no page, no session, and no operator's call into
/// the daemon.
pub fn machine_router(api: Arc<dyn MachineApi>) -> Router {
    Router::new()
        .route("/boot/ipxe", get(boot_script))
        .route("/boot/preseed.cfg", get(preseed))
        .route("/boot/{name}", get(boot_file))
        // shim joins its own folder, including the slash, with "/grubx64.efi".
        .route("/boot//{name}", get(boot_file))
        .route("/grub/grub.cfg", get(grub_first))
        .route("/grub/x86_64-efi/{name}", get(grub_list))
        .route("/grub/arm64-efi/{name}", get(grub_list))
        .route("/darksite", get(async || Redirect::permanent("/darksite/current/")))
        .route("/darksite/", get(async || Redirect::permanent("/darksite/current/")))
        .route("/darksite/{*path}", get(darksite))
        .route("/v2", get(registry::base).fallback(registry::refuse))
        .route("/v2/", get(registry::base).fallback(registry::refuse))
        .route("/v2/_catalog", get(registry::catalog).fallback(registry::refuse))
        .route("/v2/{*path}", get(registry::get).fallback(registry::refuse))
        .route("/chunks/{digest}", get(chunk))
        .route("/media/{name}", get(medium))
        .route("/artifacts/{id}/manifest.json", get(manifest))
        .route("/api/v1/agent/hello", post(hello))
        .route("/api/v1/agent/{enrollment}/reveal", post(reveal))
        .route("/api/v1/agent/{enrollment}/status", get(status))
        .route("/api/v1/agent/{enrollment}/confirm", post(confirm))
        .route("/api/v1/agent/{enrollment}/mismatch", post(mismatch))
        .route("/api/v1/agent/{enrollment}/code", post(tell_code))
        .route("/api/v1/agent/{enrollment}/claim", post(claim))
        .route("/api/v1/agent/{enrollment}/report", post(report))
        .merge(lists::routes(Via::Underlay))
        .fallback(async || Failure::not_found())
        .method_not_allowed_fallback(async || Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state(Side::Machine, envelope))
        .with_state(Calls::new(api, MAX_CALLS))
}

async fn boot_script(
    State(app): State<Machines>,
    From(from): From,
    query: Result<Query<BootQuery>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(query) = query?;
    let script = app.call(move |api| api.boot_script(from, &query)).await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")], script).into_response())
}

/// The first file that the signed GRUB reads when the firmware booted it by HTTP: it looks below the server's root.
async fn grub_first(State(app): State<Machines>, From(from): From) -> Result<Response, Failure> {
    let query = BootQuery { format: Some("grub-first".to_owned()), ..BootQuery::default() };
    let script = app.call(move |api| api.boot_script(from, &query)).await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")], script).into_response())
}

async fn preseed(State(app): State<Machines>, query: Result<Query<BootQuery>, QueryRejection>) -> Result<Response, Failure> {
    let Query(query) = query?;
    let text = app.call(move |api| api.preseed(&query)).await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")], text).into_response())
}

/// Lists of GRUB's modules. The signed image needs none of them, but they must exist: after a 404, GRUB 2.12's driver for
/// the firmware's HTTP reads no further answer ("unsupported uefi http status code 0x0").
async fn grub_list(Named(name): Named<String>) -> Result<Response, Failure> {
    if !["command.lst", "fs.lst", "crypto.lst", "terminal.lst"].contains(&name.as_str()) {
        return Err(Failure::not_found());
    }
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], "\n").into_response())
}

async fn boot_file(
    State(app): State<Machines>,
    From(from): From,
    Named(name): Named<String>,
    wanted: Wanted,
) -> Result<Response, Failure> {
    let path = app.call(move |api| Ok(api.boot_file(from, &name))).await?.ok_or_else(Failure::not_found)?;
    files::one(path, None, &wanted).await
}

async fn darksite(State(app): State<Machines>, wanted: Wanted, uri: Uri) -> Result<Response, Failure> {
    // The path as it was sent: SafePath decodes it, once.
    let raw = uri.path().strip_prefix("/darksite/").ok_or_else(Failure::not_found)?;
    let Some((first, rest)) = raw.split_once('/') else {
        return Ok(Redirect::permanent(&format!("{}/", uri.path())).into_response());
    };
    if first == "extras" {
        let path = SafePath::parse(rest).ok_or_else(Failure::not_found)?;
        let root = app.call(move |api| Ok(api.extras_dir())).await?;
        let root = root
            .ok_or_else(|| Failure::not_found().with_hint("there are no extras; fetch them with seedd darksite extras fetch"))?;
        return files::below(root, path, uri.path(), &wanted).await;
    }
    let id = match first {
        "current" => None,
        id => Some(id.parse::<Digest>().map_err(|_| Failure::not_found())?),
    };
    if rest == "proof.json" {
        let path = app.call(move |api| Ok(api.proof_path(id))).await?;
        let path = path
            .ok_or_else(|| Failure::not_found().with_hint("this snapshot is not proven; prove it with seedd darksite prove"))?;
        return files::one(path, None, &wanted).await;
    }
    let path = SafePath::parse(rest).ok_or_else(Failure::not_found)?;
    let root = app.call(move |api| Ok(api.snapshot_dir(id))).await?;
    let root = root.ok_or_else(|| {
        Failure::not_found().with_hint("no such snapshot is published here; build one with seedd darksite build")
    })?;
    files::below(root, path, uri.path(), &wanted).await
}

async fn chunk(State(app): State<Machines>, Named(digest): Named<Digest>, wanted: Wanted) -> Result<Response, Failure> {
    let path = app.call(move |api| Ok(api.chunk_path(digest))).await?.ok_or_else(Failure::not_found)?;
    files::one(path, Some(digest.to_string()), &wanted).await
}

async fn manifest(State(app): State<Machines>, Named(id): Named<Digest>, wanted: Wanted) -> Result<Response, Failure> {
    let path = app.call(move |api| Ok(api.manifest_path(id))).await?.ok_or_else(Failure::not_found)?;
    // Named by the artifact, not by its own bytes: signing it again with a new site key changes it.
    files::one(path, None, &wanted).await
}

/// The seed's medium, for the virtual drive of a management controller.
async fn medium(State(app): State<Machines>, Named(name): Named<String>, wanted: Wanted) -> Result<Response, Failure> {
    let path = app.call(move |api| Ok(api.medium_path(&name))).await?.ok_or_else(Failure::not_found)?;
    files::one(path, None, &wanted).await
}

async fn hello(State(app): State<Machines>, From(from): From, AgentJson(hello): AgentJson<Hello>) -> Answer<HelloReply> {
    Ok(SafeJson(app.call(move |api| api.hello(from, hello)).await?))
}

async fn reveal(
    State(app): State<Machines>,
    From(from): From,
    Named(id): Named<EnrollmentId>,
    AgentJson(reveal): AgentJson<Reveal>,
) -> Answer<RevealReply> {
    Ok(SafeJson(app.call(move |api| api.reveal(from, id, reveal)).await?))
}

async fn status(State(app): State<Machines>, Named(id): Named<EnrollmentId>) -> Answer<StatusReply> {
    Ok(SafeJson(app.call(move |api| api.enrollment_status(id)).await?))
}

async fn confirm(
    State(app): State<Machines>,
    Named(id): Named<EnrollmentId>,
    AgentJson(confirm): AgentJson<Sealed<Confirm>>,
) -> Answer<ConfirmReply> {
    Ok(SafeJson(app.call(move |api| api.confirm(id, &confirm)).await?))
}

async fn mismatch(
    State(app): State<Machines>,
    Named(id): Named<EnrollmentId>,
    AgentJson(mismatch): AgentJson<Sealed<Mismatch>>,
) -> Answer<ConfirmReply> {
    Ok(SafeJson(app.call(move |api| api.mismatch(id, &mismatch)).await?))
}

async fn tell_code(
    State(app): State<Machines>,
    Named(id): Named<EnrollmentId>,
    AgentJson(told): AgentJson<Sealed<TellCode>>,
) -> Answer<ConfirmReply> {
    Ok(SafeJson(app.call(move |api| api.tell_code(id, &told)).await?))
}

async fn claim(
    State(app): State<Machines>,
    From(from): From,
    Named(id): Named<EnrollmentId>,
    AgentJson(claim): AgentJson<Sealed<Claim>>,
) -> Answer<ClaimReply> {
    Ok(SafeJson(app.call(move |api| api.claim(from, id, &claim)).await?))
}

async fn report(
    State(app): State<Machines>,
    From(from): From,
    Named(id): Named<EnrollmentId>,
    AgentJson(report): AgentJson<Sealed<Report>>,
) -> Answer<ReportReply> {
    Ok(SafeJson(app.call(move |api| api.report(from, id, &report)).await?))
}

#[cfg(test)]
mod tests;
