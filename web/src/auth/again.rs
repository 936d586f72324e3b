//! The password, typed again before an act that cannot be undone.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::api::Actor;
use crate::error::Failure;
use crate::look::Look;
use crate::text::clean;
use crate::words::Lang;

/// The field for the password on the page that asks for it.
const FIELD: &str = "again-password";

/// Asks for the password and sends the form that was refused once more, with the same fields.
#[derive(Template)]
#[template(path = "again.html")]
struct Page<'a> {
    /// Where the form goes.
    path: &'a str,
    look: Look,
    user: String,
    refused: Option<(String, Option<String>)>,
    fields: Vec<(String, String)>,
}

impl Page<'_> {
    /// Why the password is asked for, as HTML.
    fn why(&self) -> String {
        self.look.lang.html("again-why", &[("x", (&self.user).into())])
    }

    /// The attribute of what the daemon says, in English.
    fn english(&self) -> &'static str {
        if self.look.lang == Lang::En { "" } else { " lang=\"en\"" }
    }
}

/// The answer to a form: 403, with a page that asks for the password. `refused` says why the one that was typed did not do.
pub(super) fn page(
    path: &str,
    look: Look,
    actor: &Actor,
    fields: Vec<(String, String)>,
    refused: Option<Failure>,
) -> Result<Response, Failure> {
    if let Some(failure) = refused.as_ref().filter(|f| f.internal.is_some()) {
        return Err(failure.clone());
    }
    let status = refused.as_ref().map_or(StatusCode::FORBIDDEN, |f| f.status);
    let refused = refused.map(|f| (clean(&f.error), f.hint.as_deref().map(clean)));
    let fields = fields.into_iter().filter(|(name, _)| name != FIELD).collect();
    let page = Page { path, look, user: clean(&actor.user), refused, fields };
    let html = page.render().map_err(|e| Failure::internal(format!("writing a page: {e}")))?;
    Ok((status, Html(html)).into_response())
}

/// The answer to a program.
pub(super) fn problem(actor: &Actor) -> Failure {
    if actor.is_session() {
        return Failure::forbidden("this needs your password again")
            .with_hint("POST /api/v1/login/again with {\"password\": …}, or log in again; it counts for five minutes");
    }
    Failure::forbidden("an API token cannot do this").with_hint("log in with a password: POST /api/v1/login, or use the pages")
}
