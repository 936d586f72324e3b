//! `/approve`: a pairing code approves a planned machine, or leads to the form of the machine that shows it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use cluster_seed::ids::EnrollmentId;
use serde::Deserialize;

use super::decision::ApproveForm;
use super::shell::Refusal;
use super::typed::{CodeField, MAX_TYPED};
use super::view::clean;
use super::{machine, overview};
use crate::api::CodeLeads;
use crate::auth::{ChangeForm, PageSession, may};
use crate::call::App;
use crate::error::Failure;
use crate::headers::RequestId;

#[derive(Deserialize)]
pub(crate) struct CodeForm {
    #[serde(default)]
    code: String,
    /// Enrollments whose codes were typed before, the newest first, with commas.
    #[serde(default)]
    typed: String,
}

fn ids(typed: &str) -> Vec<EnrollmentId> {
    typed.split(',').filter_map(|id| id.trim().parse().ok()).take(MAX_TYPED).collect()
}

/// Whoever reloads the page, or goes back to it after logging in.
pub(crate) async fn start(_: PageSession) -> Redirect {
    Redirect::to("/")
}

/// Approves the planned machine and empties the field for the next code. For others, shows the approval form with the code filled
/// in: in the answer to the form, since a code does not belong into an address that is logged and remembered.
pub(crate) async fn find(
    State(app): State<App>,
    request: RequestId,
    ChangeForm(change, form): ChangeForm<may::Approve, CodeForm>,
) -> Result<Response, Failure> {
    let (code, mut typed) = (form.code.trim().to_owned(), ids(&form.typed));
    let (actor, sent) = (change.actor().clone(), code.clone());
    match app.call(move |api| api.lead(&actor, &sent)).await {
        Ok(CodeLeads::Approved(view)) => {
            typed.retain(|id| *id != view.id);
            typed.insert(0, view.id);
            typed.truncate(MAX_TYPED);
            let field = CodeField { typed, ..CodeField::default() };
            overview::render(&app, change.session(), &request, StatusCode::OK, field).await
        }
        Ok(CodeLeads::Form { machine, enrollment, why }) => {
            let status = if why.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
            let refusal = why.map(|r| Refusal { error: clean(&r.why), hint: Some(clean(&r.hint)).filter(|h| !h.is_empty()) });
            let form = ApproveForm { enrollment: enrollment.to_string(), code, ..ApproveForm::default() };
            let said = machine::Said { status, refusal, form, ..Default::default() };
            let page = machine::render(&app, change.session(), &request, machine, said).await?;
            Ok(page.into_response())
        }
        Err(failure) => {
            let (status, refusal) = Refusal::of(failure)?;
            let field = CodeField { refusal: Some(refusal), code, typed };
            overview::render(&app, change.session(), &request, status, field).await
        }
    }
}
