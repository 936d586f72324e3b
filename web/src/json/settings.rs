//! `/api/v1/settings`: cluster.yaml, with its digest as entity tag (RFC 9110, section 8.8.3).

use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Answer;
use crate::api::{SettingsCheck, SettingsText, SettingsView};
use crate::auth::{Change, Session, may};
use crate::call::App;
use crate::error::Failure;
use crate::extract::OperatorJson;
use crate::safe_json::SafeJson;

fn tagged(view: SettingsView) -> Response {
    let tag = format!("\"{}\"", view.tag);
    ([(ETAG, tag)], SafeJson(view)).into_response()
}

/// Whether an `If-Match` header names `tag` (RFC 9110, section 13.1.1). Weak tags never match.
fn matches(header: &str, tag: &str) -> bool {
    header.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix('"').and_then(|o| o.strip_suffix('"')) == Some(tag))
}

pub(crate) async fn show(State(app): State<App>, session: Session) -> Result<Response, Failure> {
    let actor = session.actor().clone();
    Ok(tagged(app.call(move |api| api.settings(&actor)).await?))
}

pub(crate) async fn check(
    State(app): State<App>,
    _: Change<may::Administer>,
    OperatorJson(SettingsText { text }): OperatorJson<SettingsText>,
) -> Answer<SettingsCheck> {
    Ok(SafeJson(app.call(move |api| api.check_settings(&text)).await?))
}

/// Replaces the file that `If-Match` names.
pub(crate) async fn apply(
    State(app): State<App>,
    change: Change<may::Fresh<may::Administer>>,
    headers: HeaderMap,
    OperatorJson(SettingsText { text }): OperatorJson<SettingsText>,
) -> Result<Response, Failure> {
    let header = headers.get(IF_MATCH).and_then(|v| v.to_str().ok()).ok_or_else(|| {
        Failure::new(StatusCode::PRECONDITION_REQUIRED, "the request has no If-Match header")
            .with_hint("send the ETag of the settings that the change is based on")
    })?;
    let actor = change.actor().clone();
    let tag = app.call(move |api| api.settings(&actor)).await?.tag;
    if !matches(header, &tag) {
        return Err(Failure::new(StatusCode::PRECONDITION_FAILED, "the settings were changed in the meantime")
            .with_hint("read them again and repeat the change"));
    }
    Ok(tagged(app.call(move |api| api.apply_settings(change.actor(), &text, &tag)).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_strong_tag_of_the_same_text_matches() {
        for (header, fits) in [
            ("\"ab\"", true),
            ("\"cd\", \"ab\"", true),
            ("*", true),
            ("W/\"ab\"", false),
            ("ab", false),
            ("\"a\"", false),
            ("", false),
        ] {
            assert_eq!(matches(header, "ab"), fits, "{header}");
        }
    }
}
