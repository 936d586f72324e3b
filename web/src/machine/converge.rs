//! Convergence: orders for nodes, the payload, and the targets of Prometheus. On the planes only.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cluster_seed::agent::MAX_BODY;
use cluster_seed::converge::orders::{Answer as Orders, Ask};
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::seal::Sealed;

use crate::api::{MachineApi, TargetGroup};
use crate::call::{Calls, Machines};
use crate::error::Failure;
use crate::extract::{AgentJson, Named};
use crate::files;
use crate::files::handover::Wanted;
use crate::headers::{From, Side, envelope};
use crate::limits::MAX_CALLS;
use crate::safe_json::SafeJson;

type Answer<T> = Result<SafeJson<T>, Failure>;

pub(super) fn routes() -> Router<Machines> {
    Router::new()
        .route("/api/v1/agent/{enrollment}/converge", post(converge))
        .route("/payload/{digest}", get(payload))
        .route("/api/v1/targets", get(targets))
}

/// What the seed serves on the metrics plane: its metrics, to nodes.
pub fn metrics_router(api: Arc<dyn MachineApi>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .fallback(async || Failure::not_found())
        .method_not_allowed_fallback(async || Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state(Side::Machine, envelope))
        .with_state(Calls::new(api, MAX_CALLS))
}

async fn converge(
    State(app): State<Machines>,
    From(from): From,
    Named(id): Named<EnrollmentId>,
    AgentJson(ask): AgentJson<Sealed<Ask>>,
) -> Answer<Orders> {
    Ok(SafeJson(app.call(move |api| api.converge(from, id, &ask)).await?))
}

async fn payload(State(app): State<Machines>, Named(digest): Named<Digest>, wanted: Wanted) -> Result<Response, Failure> {
    let path = app.call(move |api| Ok(api.payload_path(digest))).await?.ok_or_else(Failure::not_found)?;
    files::one(path, Some(digest.to_string()), &wanted).await
}

/// In the form of Prometheus' HTTP service discovery.
async fn targets(State(app): State<Machines>, From(from): From) -> Answer<Vec<TargetGroup>> {
    Ok(SafeJson(app.call(move |api| api.targets(from)).await?))
}

async fn metrics(State(app): State<Machines>, From(from): From) -> Result<Response, Failure> {
    let text = app.call(move |api| api.node_metrics(from)).await?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), (CACHE_CONTROL, "no-store")], text).into_response())
}
