//! `/api/v1/plan`, approvals by it, the join window, and what an operator says about a machine.

use axum::extract::State;
use cluster_seed::ids::{EnrollmentId, Mac};
use serde::{Deserialize, Serialize};

use super::Answer;
use crate::api::{CodeLeads, EnrollmentView, PlanCheck, PlanHow, PlanText, PlanView, Say, WindowView};
use crate::auth::{Change, Session, may};
use crate::call::App;
use crate::error::Failure;
use crate::extract::{Named, OperatorJson};
use crate::safe_json::SafeJson;

pub(crate) async fn view(State(app): State<App>, _: Session) -> Answer<PlanView> {
    Ok(SafeJson(app.call(|api| api.plan()).await?))
}

pub(crate) async fn set(
    State(app): State<App>,
    change: Change<may::Approve>,
    OperatorJson(PlanText { text }): OperatorJson<PlanText>,
) -> Answer<PlanView> {
    Ok(SafeJson(app.call(move |api| api.keep_plan(change.actor(), &text, PlanHow::Set)).await?))
}

pub(crate) async fn add(
    State(app): State<App>,
    change: Change<may::Approve>,
    OperatorJson(PlanText { text }): OperatorJson<PlanText>,
) -> Answer<PlanView> {
    Ok(SafeJson(app.call(move |api| api.keep_plan(change.actor(), &text, PlanHow::Add)).await?))
}

/// A dry run: nothing is kept.
pub(crate) async fn check(
    State(app): State<App>,
    _: Change<may::Approve>,
    OperatorJson(PlanText { text }): OperatorJson<PlanText>,
) -> Answer<PlanCheck> {
    Ok(SafeJson(app.call(move |api| api.check_plan(&text)).await?))
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Removed {
    removed: u32,
}

pub(crate) async fn clear(State(app): State<App>, change: Change<may::Approve>) -> Answer<Removed> {
    let removed = app.call(move |api| api.drop_plan(change.actor(), None)).await?;
    Ok(SafeJson(Removed { removed }))
}

pub(crate) async fn remove(State(app): State<App>, change: Change<may::Approve>, Named(name): Named<String>) -> Answer<Removed> {
    let removed = app.call(move |api| api.drop_plan(change.actor(), Some(&name))).await?;
    Ok(SafeJson(Removed { removed }))
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
    code: String,
}

/// Approves a planned machine by its code alone; any other is refused with the reason.
pub(crate) async fn approve(
    State(app): State<App>,
    change: Change<may::Approve>,
    OperatorJson(Code { code }): OperatorJson<Code>,
) -> Answer<EnrollmentView> {
    match app.call(move |api| api.lead(change.actor(), &code)).await? {
        CodeLeads::Approved(view) => Ok(SafeJson(*view)),
        CodeLeads::Form { why, .. } => {
            let status = axum::http::StatusCode::CONFLICT;
            let failure = match why {
                Some(refused) => Failure::new(status, refused.why).with_hint(refused.hint),
                None => Failure::new(status, "the plan does not name this machine")
                    .with_hint("approve it with POST /api/v1/approve, or add it to the plan"),
            };
            Err(failure)
        }
    }
}

pub(crate) async fn click(
    State(app): State<App>,
    change: Change<may::Approve>,
    Named(id): Named<EnrollmentId>,
) -> Answer<EnrollmentView> {
    Ok(SafeJson(app.call(move |api| api.click(change.actor(), id)).await?))
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Open {
    seconds: u64,
}

pub(crate) async fn open(
    State(app): State<App>,
    change: Change<may::Approve>,
    OperatorJson(Open { seconds }): OperatorJson<Open>,
) -> Answer<WindowView> {
    Ok(SafeJson(app.call(move |api| api.set_window(change.actor(), Some(seconds))).await?))
}

pub(crate) async fn close(State(app): State<App>, change: Change<may::Approve>) -> Answer<WindowView> {
    Ok(SafeJson(app.call(move |api| api.set_window(change.actor(), None)).await?))
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Said {
    machine: i64,
}

pub(crate) async fn say(
    State(app): State<App>,
    change: Change<may::Approve>,
    Named(machine): Named<i64>,
    OperatorJson(say): OperatorJson<Say>,
) -> Answer<Said> {
    app.call(move |api| api.say_of(change.actor(), machine, say)).await?;
    Ok(SafeJson(Said { machine }))
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct AllowMachine {
    #[cfg_attr(test, schemars(with = "crate::schema::MacAddress"))]
    mac: Mac,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Allowed {
    #[cfg_attr(test, schemars(with = "crate::schema::MacAddress"))]
    allowed: Mac,
}

/// By its address: a machine that the seed does not know any more has no number.
pub(crate) async fn allow(
    State(app): State<App>,
    change: Change<may::Approve>,
    OperatorJson(AllowMachine { mac }): OperatorJson<AllowMachine>,
) -> Answer<Allowed> {
    app.call(move |api| api.allow_machine(change.actor(), mac)).await?;
    Ok(SafeJson(Allowed { allowed: mac }))
}
