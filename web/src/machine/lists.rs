//! Peer lists: reports of nodes, and answers. On the boot network and on the control plane.

use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use cluster_seed::agent::MAX_BODY;
use cluster_seed::epoch::{EpochProof, EpochReply};
use cluster_seed::held::{Held, HeldReply, MAX_LIST};
use cluster_seed::ids::EnrollmentId;
use cluster_seed::seal::Sealed;
use tokio::time::timeout;

use crate::api::{MachineApi, Via};
use crate::call::{Calls, Machines};
use crate::error::Failure;
use crate::extract::{AgentJson, Named};
use crate::headers::{From, Side, envelope};
use crate::limits::{BODY_TIME, MAX_CALLS};
use crate::safe_json::SafeJson;

pub(super) type Answer<T> = Result<SafeJson<T>, Failure>;

/// Routes for nodes on the control plane: the peer list, the site's epoch and convergence. Serve it on a socket that is bound to the
/// plane's interface.
pub fn member_router(api: Arc<dyn MachineApi>) -> Router {
    routes(Via::ControlPlane)
        .merge(super::converge::routes())
        .fallback(async || Failure::not_found())
        .method_not_allowed_fallback(async || Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state(Side::Machine, envelope))
        .with_state(Calls::new(api, MAX_CALLS))
}

pub(super) fn routes(via: Via) -> Router<Machines> {
    let peers = move |State(app): State<Machines>, From(from): From| async move {
        Ok::<_, Failure>(SafeJson(app.call(move |api| api.peers(from, via)).await?))
    };
    Router::new()
        .route("/api/v1/peers", get(peers))
        .route("/api/v1/agent/{enrollment}/held", post(held))
        .route("/api/v1/agent/{enrollment}/list", post(list))
        .route("/api/v1/epoch", get(epoch).post(hear_epoch))
}

async fn epoch(State(app): State<Machines>) -> Answer<Sealed<EpochProof>> {
    Ok(SafeJson(app.call(|api| api.epoch()).await?))
}

async fn hear_epoch(
    State(app): State<Machines>,
    From(from): From,
    AgentJson(proof): AgentJson<Sealed<EpochProof>>,
) -> Answer<EpochReply> {
    Ok(SafeJson(app.call(move |api| api.hear_epoch(from, &proof)).await?))
}

async fn held(
    State(app): State<Machines>,
    From(from): From,
    Named(id): Named<EnrollmentId>,
    AgentJson(held): AgentJson<Sealed<Held>>,
) -> Answer<HeldReply> {
    Ok(SafeJson(app.call(move |api| api.held(from, id, &held)).await?))
}

/// A list is larger than other messages, so the body is read only from a node that was asked for it.
async fn list(
    State(app): State<Machines>,
    From(from): From,
    Named(id): Named<EnrollmentId>,
    request: Request,
) -> Answer<HeldReply> {
    app.call(move |api| api.expects_list(id)).await?;
    let late = |_| Failure::new(StatusCode::REQUEST_TIMEOUT, "the request body did not arrive in time");
    let body = timeout(BODY_TIME, to_bytes(request.into_body(), MAX_LIST)).await.map_err(late)?;
    let body = body.map_err(|_| Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "the list is too large"))?;
    let list = serde_json::from_slice(&body).map_err(|_| Failure::new(StatusCode::BAD_REQUEST, "invalid request body"))?;
    Ok(SafeJson(app.call(move |api| api.take_list(from, id, &list)).await?))
}
