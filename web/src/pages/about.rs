//! `/about`: versions, licences of what this program is made from, and the support bundle.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::fields::Button;
use super::shell::{Refusal, Shell, overview, page};
use super::view::clean;
use crate::auth::{ChangeForm, NoPage, PageSession, Session, may};
use crate::call::App;
use crate::error::Failure;
use crate::headers::RequestId;
use crate::json::about::bundle;

/// Name, version and licence of each dependency, separated by tabs. The rules of `tests/tidy` compare it with `cargo metadata`.
const LICENCES: &str = include_str!("../../licences.tsv");

struct Dependency {
    name: &'static str,
    version: &'static str,
    licence: &'static str,
}

fn dependencies() -> Vec<Dependency> {
    let read = |line: &'static str| {
        let mut fields = line.split('\t');
        Some(Dependency { name: fields.next()?, version: fields.next()?, licence: fields.next()? })
    };
    LICENCES.lines().filter_map(read).collect()
}

#[derive(Template)]
#[template(path = "about.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    version: String,
    system: String,
    schema: i64,
    protocol: u32,
    recipient: String,
    fingerprint: Option<String>,
    dependencies: Vec<Dependency>,
}

async fn show_page(
    app: &App,
    id: &RequestId,
    session: &Session,
    refused: Option<(StatusCode, Refusal)>,
) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let about = app.call(|api| api.about()).await?;
    let (status, refusal) = refused.map_or((StatusCode::OK, None), |(status, refusal)| (status, Some(refusal)));
    let template = Page {
        shell: Shell::new("About", &overview, id, Some(session)).titled("foot-about"),
        refusal,
        version: clean(&about.version),
        system: clean(&about.system),
        schema: about.schema,
        protocol: about.protocol,
        recipient: clean(&about.recipient),
        fingerprint: overview.fingerprint.as_deref().map(clean),
        dependencies: dependencies(),
    };
    page(status, &template)
}

pub(crate) async fn show(State(app): State<App>, PageSession(session): PageSession, id: RequestId) -> Result<Response, NoPage> {
    Ok(show_page(&app, &id, &session, None).await?)
}

pub(crate) async fn support(
    State(app): State<App>,
    id: RequestId,
    ChangeForm(change, _): ChangeForm<may::Administer, Button>,
) -> Result<Response, Failure> {
    let actor = change.actor().clone();
    match app.costly(move |api| api.support_bundle(&actor)).await {
        Ok(bytes) => Ok(bundle(bytes)),
        Err(failure) => show_page(&app, &id, change.session(), Some(Refusal::of(failure)?)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_licences_is_read() {
        let all = dependencies();
        assert_eq!(all.len(), LICENCES.lines().count());
        assert!(all.len() > 100 && all.iter().all(|d| !d.name.is_empty() && !d.version.is_empty() && !d.licence.is_empty()));
    }
}
