//! `/api/v1/converge`

use axum::extract::State;

use super::Answer;
use crate::api::{ConvergeAct, ConvergeView};
use crate::auth::{Change, Session, may};
use crate::call::App;
use crate::extract::OperatorJson;
use crate::limits::MAX_CONVERGE_NODES;
use crate::safe_json::SafeJson;

pub(crate) async fn view(State(app): State<App>, _: Session) -> Answer<ConvergeView> {
    Ok(SafeJson(app.call(|api| api.converge_view()).await?.shortened(MAX_CONVERGE_NODES)))
}

/// Answers with the view after the act.
pub(crate) async fn act(
    State(app): State<App>,
    change: Change<may::Converge>,
    OperatorJson(act): OperatorJson<ConvergeAct>,
) -> Answer<ConvergeView> {
    let view = app.call(move |api| api.act_on_converge(change.actor(), &act).and_then(|()| api.converge_view())).await?;
    Ok(SafeJson(view.shortened(MAX_CONVERGE_NODES)))
}
