//! The second person's yes to a machine.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use cluster_seed::ids::EnrollmentId;
use serde::Deserialize;

use super::machine::{self, Said};
use super::shell::Refusal;
use crate::auth::{ChangeForm, may};
use crate::call::App;
use crate::error::Failure;
use crate::extract::Named;
use crate::headers::RequestId;

#[derive(Deserialize)]
pub(crate) struct AgreeForm {
    #[serde(default)]
    enrollment: String,
    /// Names what was shown.
    #[serde(default)]
    decision: String,
}

pub(crate) async fn agree(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, form): ChangeForm<may::Approve, AgreeForm>,
) -> Result<Response, Failure> {
    let enrollment: EnrollmentId = form.enrollment.parse().map_err(|_| Failure::not_found())?;
    let actor = change.actor().clone();
    match app.call(move |api| api.agree(&actor, enrollment, &form.decision)).await {
        Ok(_) => Ok(Redirect::to(&format!("/machines/{id}")).into_response()),
        Err(failure) => {
            let (status, refusal) = Refusal::of(failure)?;
            let said = Said { status, refusal: Some(refusal), ..Said::default() };
            machine::render(&app, change.session(), &request, id, said).await
        }
    }
}
