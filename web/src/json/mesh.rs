//! `/api/v1/mesh`

use axum::extract::State;

use super::Answer;
use crate::api::MeshView;
use crate::auth::Session;
use crate::call::App;
use crate::safe_json::SafeJson;

pub(crate) async fn view(State(app): State<App>, _: Session) -> Answer<MeshView> {
    Ok(SafeJson(app.call(move |api| api.mesh()).await?))
}
