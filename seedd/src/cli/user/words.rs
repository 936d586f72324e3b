//! What the commands about users and their tokens share.

use anyhow::anyhow;
use site::hint;
use web::api::ApiError;

use crate::remote::Refused;

/// The actor in the event log.
pub(super) const ACTOR: &str = "command line";

/// An error of a use case, for the terminal.
pub(super) fn plain(error: ApiError) -> anyhow::Error {
    match error {
        ApiError::BadRequest { why, hint: Some(text) } | ApiError::Conflict { why, hint: Some(text) } => {
            hint::with(anyhow!(why), in_terminal(&text))
        }
        other => anyhow!(other.to_string()),
    }
}

/// The same for what a running seed refused.
pub(super) fn refused(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Refused>() {
        Ok(refused) => Refused { hint: refused.hint.as_deref().map(in_terminal), ..refused }.into(),
        Err(other) => other,
    }
}

fn in_terminal(hint: &str) -> String {
    hint.replace("names are listed on the page People", "`seedd user list` lists them")
}
