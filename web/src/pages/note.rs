//! `/machines/<id>/note`: the place and the labels of a machine.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use cluster_seed::fleet::Label;
use serde::Deserialize;

use super::decision::ApproveForm;
use super::machine;
use super::shell::Refusal;
use crate::api::ApiError;
use crate::auth::{ChangeForm, may};
use crate::call::App;
use crate::error::Failure;
use crate::extract::Named;
use crate::headers::RequestId;

#[derive(Deserialize)]
pub(crate) struct NoteForm {
    #[serde(default)]
    place: String,
    /// All labels, separated by commas.
    #[serde(default)]
    labels: String,
}

pub(crate) async fn save(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, form): ChangeForm<may::Approve, NoteForm>,
) -> Result<Response, Failure> {
    let actor = change.actor().clone();
    let (place, labels) = (form.place.clone(), form.labels.clone());
    let done = app.call(move |api| {
        let wanted = Label::list(&labels).map_err(|e| ApiError::bad(e.to_string(), "separate labels by commas"))?;
        api.set_note(&actor, id, &place, &wanted)
    });
    match done.await {
        Ok(()) => Ok(Redirect::to(&format!("/machines/{id}")).into_response()),
        Err(failure) => {
            let (status, refusal) = Refusal::of(failure)?;
            let said = machine::Said {
                status,
                noted: Some((refusal, form.place, form.labels)),
                refusal: None,
                form: ApproveForm::default(),
            };
            machine::render(&app, change.session(), &request, id, said).await
        }
    }
}
