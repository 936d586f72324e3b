//! `/api/v1/machines` and the decisions about their enrollments.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use cluster_seed::fleet::Label;
use cluster_seed::ids::EnrollmentId;
use serde::{Deserialize, Serialize};

use super::{Answer, list_of};
use crate::api::{ApiError, Approve, EnrollmentView, FleetRow, MachineDetail};
use crate::auth::{Change, Session, may};
use crate::call::App;
use crate::error::Failure;
use crate::extract::{Named, OperatorJson};
use crate::pages::machines::asked;
use crate::safe_json::SafeJson;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    #[serde(default)]
    reason: String,
}

/// Parameters of the list; without any, the machines that were seen last are returned in the shape of version 0.1.
const PARAMETERS: [&str; 4] = ["q", "state", "sort", "page"];

pub(crate) async fn list(
    State(app): State<App>,
    _: Session,
    values: Result<Query<BTreeMap<String, String>>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(values) = values?;
    if PARAMETERS.iter().any(|name| values.contains_key(*name)) {
        let query = asked(&values);
        return Ok(SafeJson(app.call(move |api| api.machine_page(&query)).await?).into_response());
    }
    let machines = app.call(|api| api.machines()).await?;
    Ok(SafeJson(list_of("machines", machines)).into_response())
}

pub(crate) async fn show(State(app): State<App>, _: Session, Named(id): Named<i64>) -> Answer<MachineDetail> {
    Ok(SafeJson(app.call(move |api| api.machine(id)).await?))
}

pub(crate) async fn approve(
    State(app): State<App>,
    change: Change<may::Approve>,
    Named(id): Named<EnrollmentId>,
    OperatorJson(approve): OperatorJson<Approve>,
) -> Answer<EnrollmentView> {
    Ok(SafeJson(app.call(move |api| api.approve(change.actor(), id, &approve)).await?))
}

pub(crate) async fn approve_code(
    State(app): State<App>,
    change: Change<may::Approve>,
    OperatorJson(approve): OperatorJson<Approve>,
) -> Answer<EnrollmentView> {
    Ok(SafeJson(app.call(move |api| api.approve_code(change.actor(), &approve)).await?))
}

pub(crate) async fn deny(
    State(app): State<App>,
    change: Change<may::Approve>,
    Named(id): Named<EnrollmentId>,
    OperatorJson(why): OperatorJson<Why>,
) -> Answer<EnrollmentView> {
    Ok(SafeJson(app.call(move |api| api.deny(change.actor(), id, &why.reason)).await?))
}

pub(crate) async fn revoke(
    State(app): State<App>,
    change: Change<may::Fresh<may::Approve>>,
    Named(id): Named<EnrollmentId>,
    OperatorJson(why): OperatorJson<Why>,
) -> Answer<EnrollmentView> {
    Ok(SafeJson(app.call(move |api| api.revoke(change.actor(), id, &why.reason)).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Address {
    address: IpAddr,
}

#[derive(Serialize)]
pub(crate) struct Denied {
    denied: u32,
}

pub(crate) async fn deny_address(
    State(app): State<App>,
    change: Change<may::Approve>,
    OperatorJson(of): OperatorJson<Address>,
) -> Answer<Denied> {
    let denied = app.call(move |api| api.deny_address(change.actor(), of.address)).await?;
    Ok(SafeJson(Denied { denied }))
}

/// HTTP shape of `PUT /api/v1/machines/{id}/note`: what is left out is removed.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    #[serde(default)]
    place: String,
    #[serde(default)]
    labels: Vec<String>,
}

pub(crate) async fn note(
    State(app): State<App>,
    change: Change<may::Approve>,
    Named(id): Named<i64>,
    OperatorJson(note): OperatorJson<Note>,
) -> Answer<FleetRow> {
    let row = app.call(move |api| {
        let labels = note.labels.iter().map(|l| l.parse::<Label>()).collect::<Result<Vec<_>, _>>();
        let labels = labels.map_err(|e| ApiError::bad(e.to_string(), ""))?;
        api.set_note(change.actor(), id, &note.place, &labels)?;
        api.machines_of(&[id])?.pop().ok_or(ApiError::NotFound { what: "machine" })
    });
    Ok(SafeJson(row.await?))
}

#[derive(Serialize)]
pub(crate) struct Forgotten {
    forgotten: i64,
}

pub(crate) async fn forget(
    State(app): State<App>,
    change: Change<may::Fresh<may::Approve>>,
    Named(id): Named<i64>,
) -> Answer<Forgotten> {
    app.call(move |api| api.forget(change.actor(), id)).await?;
    Ok(SafeJson(Forgotten { forgotten: id }))
}
