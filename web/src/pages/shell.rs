//! The frame of every page, and how one is rendered.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use cluster_seed::people::{Permission, Permissions};

use crate::api::Overview;
use crate::auth::Session;
use crate::call::App;
use crate::error::Failure;
use crate::headers::RequestId;
use crate::text::clean;

/// The frame of every page.
pub(crate) struct Shell {
    pub(crate) title: String,
    pub(crate) site: String,
    pub(crate) version: String,
    pub(crate) nonce: String,
    /// Who is logged in, and the token for the forms.
    pub(crate) user: Option<User>,
    pub(crate) sealed: bool,
    /// Shown above the page: what an operator should act on; before login only the lasting ones.
    pub(crate) warnings: Vec<String>,
    /// Seconds after which a browser without JavaScript reloads the page.
    pub(crate) refresh: Option<u32>,
    /// The newest event on the page; the live feed starts after it.
    pub(crate) event: i64,
    /// Machines that wait for approval, for the title.
    pub(crate) waiting: u32,
    /// The chapter of the documentation that explains the page, with its anchor.
    pub(crate) chapter: &'static str,
}

/// The chapter for a page, by its title. Pages of machines have their names as titles.
fn chapter(title: &str) -> &'static str {
    match title {
        "Audit log" => "audit",
        "Countersigning" => "countersigning",
        "People" => "people",
        "Mesh" => "platform/flow",
        "Planes" => "planes",
        "Jobs" => "audit#jobs",
        "DHCP" => "netboot#dhcp-modes",
        "Settings" => "cluster-yaml",
        "Platform" => "converge",
        "Charts" => "platform/monitoring",
        "Packages" => "darksite",
        "Images" => "foundry",
        "Site" => "second-site",
        "Home" | "Clock" => "running-a-seed",
        "About" => "troubleshooting",
        event if event.starts_with("Event ") => "audit",
        // Machines, the plan, approval.
        _ => "joining",
    }
}

pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) csrf: String,
    pub(crate) rights: &'static str,
    may: Permissions,
}

impl Shell {
    pub(super) fn new(title: &str, overview: &Overview, id: &RequestId, session: Option<&Session>) -> Self {
        let shown = if session.is_some() { &overview.warnings } else { &overview.lasting };
        Shell {
            title: title.to_owned(),
            site: clean(&overview.site),
            version: clean(&overview.version),
            nonce: id.nonce().to_owned(),
            user: session.map(|s| User {
                name: clean(s.user()),
                csrf: s.csrf(),
                rights: s.actor().rights.as_str(),
                may: s.actor().may,
            }),
            sealed: overview.sealed && !overview.setup_needed,
            warnings: shown.iter().map(|w| clean(w)).collect(),
            refresh: None,
            event: 0,
            waiting: session.map_or(0, |_| overview.waiting),
            chapter: chapter(title),
        }
    }

    fn may(&self, permission: Permission) -> bool {
        self.user.as_ref().is_some_and(|u| u.may.contain(permission))
    }

    /// The name, as it is shown, is that of whoever is logged in.
    pub(crate) fn is_user(&self, name: &str) -> bool {
        self.user.as_ref().is_some_and(|u| u.name == name)
    }

    // Forms that would be refused are not shown.
    pub(crate) fn may_approve(&self) -> bool {
        self.may(Permission::Approve)
    }

    pub(crate) fn may_audit(&self) -> bool {
        self.may(Permission::Audit)
    }

    pub(crate) fn may_power(&self) -> bool {
        self.may(Permission::Power)
    }

    pub(crate) fn may_converge(&self) -> bool {
        self.may(Permission::Converge)
    }

    pub(crate) fn may_build(&self) -> bool {
        self.may(Permission::Build)
    }

    pub(crate) fn may_administer(&self) -> bool {
        self.may(Permission::Administer)
    }

    /// The token for the forms; empty on pages before login, whose forms need none.
    pub(crate) fn csrf(&self) -> &str {
        self.user.as_ref().map_or("", |u| &u.csrf)
    }
}

/// Why a form was refused: shown above the form, which keeps what was typed.
pub(crate) struct Refusal {
    pub(crate) error: String,
    pub(crate) hint: Option<String>,
}

impl Refusal {
    /// A failure that the operator can do something about; the others become error pages.
    pub(super) fn of(failure: Failure) -> Result<(StatusCode, Self), Failure> {
        if failure.status.is_server_error() && failure.status != StatusCode::SERVICE_UNAVAILABLE {
            return Err(failure);
        }
        let refusal = Refusal { error: clean(&failure.error), hint: failure.hint.as_deref().map(clean) };
        Ok((failure.status, refusal))
    }
}

pub(super) async fn overview(app: &App) -> Result<Overview, Failure> {
    app.call(|api| api.overview()).await
}

pub(super) fn page(status: StatusCode, template: &impl Template) -> Result<Response, Failure> {
    let html = template.render().map_err(|e| Failure::internal(format!("writing a page: {e}")))?;
    Ok((status, Html(html)).into_response())
}
