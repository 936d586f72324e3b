//! The pages. They work without JavaScript; with it, marked regions are fetched again when an event arrives.

pub(crate) mod clock;
pub(crate) mod first_setup;
pub(crate) mod login;
pub(crate) mod machine;
pub(crate) mod overview;
pub(crate) mod packages;
pub(crate) mod power;
pub(crate) mod site;
pub(crate) mod view;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::api::{Overview, SeedApi};
use crate::auth::{Session, csrf};
use crate::call::App;
use crate::error::Failure;
use crate::headers::RequestId;

use view::clean;

/// What stands around every page.
pub(crate) struct Shell {
    pub(crate) title: String,
    pub(crate) site: String,
    pub(crate) version: String,
    pub(crate) nonce: String,
    /// Logged in: the name and the token of the forms.
    pub(crate) user: Option<User>,
    pub(crate) sealed: bool,
    /// On top of the page: what an operator should act on; for strangers only what lasts.
    pub(crate) warnings: Vec<String>,
    /// Seconds after which a browser without JavaScript loads the page again.
    pub(crate) refresh: Option<u32>,
    /// The newest event on the page; the live feed begins behind it.
    pub(crate) event: i64,
}

pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) csrf: String,
}

impl Shell {
    fn new(title: &str, overview: &Overview, id: &RequestId, session: Option<&Session>) -> Self {
        let shown = if session.is_some() { &overview.warnings } else { &overview.lasting };
        Shell {
            title: title.to_owned(),
            site: clean(&overview.site),
            version: clean(&overview.version),
            nonce: id.nonce().to_owned(),
            user: session.map(|s| User { name: clean(&s.actor.user), csrf: csrf(&s.token) }),
            sealed: overview.sealed && !overview.setup_needed,
            warnings: shown.iter().map(|w| clean(w)).collect(),
            refresh: None,
            event: 0,
        }
    }

    /// The token of the forms; empty on pages before login, whose forms need none.
    pub(crate) fn csrf(&self) -> &str {
        self.user.as_ref().map_or("", |u| &u.csrf)
    }
}

/// What a form says when it was refused: shown above it, with what was typed kept.
pub(crate) struct Refusal {
    pub(crate) error: String,
    pub(crate) hint: Option<String>,
}

impl Refusal {
    /// A failure the operator can do something about; the others become error pages.
    fn of(failure: Failure) -> Result<(StatusCode, Self), Failure> {
        if failure.status.is_server_error() && failure.status != StatusCode::SERVICE_UNAVAILABLE {
            return Err(failure);
        }
        let refusal = Refusal { error: clean(&failure.error), hint: failure.hint.as_deref().map(clean) };
        Ok((failure.status, refusal))
    }
}

async fn overview<A: SeedApi>(app: &App<A>) -> Result<Overview, Failure> {
    app.call(|api| api.overview()).await
}

fn page(status: StatusCode, template: &impl Template) -> Result<Response, Failure> {
    let html = template.render().map_err(|e| Failure::internal(format!("writing a page: {e}")))?;
    Ok((status, Html(html)).into_response())
}
