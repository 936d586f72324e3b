//! `/approve`: a pairing code leads to the machine that shows it.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::decision::ApproveForm;
use super::shell::Refusal;
use super::{machine, overview};
use crate::auth::{ChangeForm, PageSession, may};
use crate::call::App;
use crate::error::Failure;
use crate::headers::RequestId;

#[derive(Deserialize)]
pub(crate) struct CodeForm {
    #[serde(default)]
    code: String,
}

/// Whoever reloads the page, or goes back to it after logging in.
pub(crate) async fn start(_: PageSession) -> Redirect {
    Redirect::to("/")
}

/// Shows the approval form of the machine, with the code filled in: in the answer to the form, since a code does not belong
/// into an address that is logged and remembered.
pub(crate) async fn find(
    State(app): State<App>,
    request: RequestId,
    ChangeForm(change, form): ChangeForm<may::Approve, CodeForm>,
) -> Result<Response, Failure> {
    let code = form.code.trim().to_owned();
    let typed = code.clone();
    match app.call(move |api| api.find_code(&typed)).await {
        Ok((id, enrollment)) => {
            let form = ApproveForm { enrollment: enrollment.to_string(), code, ..ApproveForm::default() };
            let page =
                machine::render(&app, change.session(), &request, id, machine::Said { form, ..Default::default() }).await?;
            Ok(page.into_response())
        }
        Err(failure) => {
            let (status, refusal) = Refusal::of(failure)?;
            overview::render(&app, change.session(), &request, status, Some((refusal, code))).await
        }
    }
}
