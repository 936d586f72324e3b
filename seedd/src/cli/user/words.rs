//! What the commands about users and their tokens share.

use anyhow::anyhow;
use site::hint;
use web::api::ApiError;

/// The actor in the event log.
pub(super) const ACTOR: &str = "command line";

/// An error of a use case, for the terminal.
pub(super) fn plain(error: ApiError) -> anyhow::Error {
    match error {
        ApiError::BadRequest { why, hint: Some(text) } | ApiError::Conflict { why, hint: Some(text) } => {
            hint::with(anyhow!(why), text.replace("names are listed on the page People", "`seedd user list` lists them"))
        }
        other => anyhow!(other.to_string()),
    }
}
