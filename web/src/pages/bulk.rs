//! `/machines/act`: what is done to the machines that are ticked in the table. Everything fits one form and works without
//! JavaScript.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::fleet::Label;
use cluster_seed::people::Permission;
use futures_util::StreamExt as _;

use super::fields::{Fields, field};
use super::machines::{self, Said, asked_text};
use super::shell::{Refusal, Shell, overview, page};
use super::view::clean;
use crate::api::{ApiError, FleetRow, PowerAction};
use crate::auth::{Change, ChangeForm, may};
use crate::call::App;
use crate::error::Failure;
use crate::headers::RequestId;
use crate::limits::POWER_AT_ONCE;

/// Most machines of one form: two pages.
const MAX_MACHINES: usize = 100;

/// One machine and what came of it.
struct Outcome {
    id: i64,
    name: String,
    ok: bool,
    text: String,
}

#[derive(Template)]
#[template(path = "bulk_done.html")]
struct DonePage {
    shell: Shell,
    title: String,
    back: String,
    outcomes: Vec<Outcome>,
    failed: usize,
}

#[derive(Template)]
#[template(path = "bulk_confirm.html")]
struct ConfirmPage {
    shell: Shell,
    refusal: Option<Refusal>,
    title: String,
    /// What happens, and the word of the button.
    lost: String,
    button: String,
    act: &'static str,
    back: String,
    machines: Vec<(i64, String)>,
    /// The form asks for a reason.
    reason: Option<String>,
}

/// What is done only after a second page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grave {
    Deny,
    Off,
    Cycle,
}

impl Grave {
    /// The word of the form, and the keys of title, button, and what is lost.
    fn texts(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Grave::Deny => ("deny", "deny", "deny", "bulk-deny-lost"),
            Grave::Off => ("off", "power-off", "power-off", "bulk-off-lost"),
            Grave::Cycle => ("cycle", "power-cycle", "power-cycle", "bulk-cycle-lost"),
        }
    }
}

/// The machines that are ticked: fields named `m<id>`.
fn chosen(fields: &Fields) -> Vec<i64> {
    let ids = fields.keys().filter_map(|name| name.strip_prefix('m')?.parse().ok());
    ids.take(MAX_MACHINES).collect()
}

pub(crate) async fn act(
    State(app): State<App>,
    request: RequestId,
    ChangeForm(change, fields): ChangeForm<may::Approve, Fields>,
) -> Result<Response, Failure> {
    let ids = chosen(&fields);
    if ids.is_empty() {
        let failure = ApiError::bad("no machine is selected", "tick the boxes at the left of the table").into();
        return again(&app, &change, &request, &fields, failure).await;
    }
    match field(&fields, "act") {
        "approve" => {
            let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
            Ok(Redirect::to(&format!("/machines/approve?ids={}", ids.join(","))).into_response())
        }
        "label" => relabel(&app, &change, &request, &fields, ids, true).await,
        "unlabel" => relabel(&app, &change, &request, &fields, ids, false).await,
        "on" => power(&app, &change, &request, &fields, ids, PowerAction::On).await,
        "deny" => grave(&app, &change, &request, &fields, ids, Grave::Deny).await,
        "off" => grave(&app, &change, &request, &fields, ids, Grave::Off).await,
        "cycle" => grave(&app, &change, &request, &fields, ids, Grave::Cycle).await,
        _ => {
            let failure = ApiError::bad("no action is selected", "use one of the buttons below the table").into();
            again(&app, &change, &request, &fields, failure).await
        }
    }
}

/// The table again, with what was ticked and typed.
async fn again(
    app: &App,
    change: &Change<may::Approve>,
    request: &RequestId,
    fields: &Fields,
    failure: Failure,
) -> Result<Response, Failure> {
    let said = Said {
        query: asked_text(field(fields, "back")),
        refusal: Some(Refusal::of(failure)?),
        labels: field(fields, "labels").to_owned(),
        chosen: chosen(fields),
    };
    machines::render(app, change.session(), request, said).await
}

async fn relabel(
    app: &App,
    change: &Change<may::Approve>,
    request: &RequestId,
    fields: &Fields,
    ids: Vec<i64>,
    adds: bool,
) -> Result<Response, Failure> {
    let labels = match Label::list(field(fields, "labels")) {
        Ok(labels) if !labels.is_empty() => labels,
        Ok(_) => {
            return again(app, change, request, fields, ApiError::bad("no label was typed", "rack=r7, for example").into()).await;
        }
        Err(e) => {
            let failure = ApiError::bad(e.to_string(), "separate labels by commas").into();
            return again(app, change, request, fields, failure).await;
        }
    };
    let actor = change.actor().clone();
    let none: [Label; 0] = [];
    let done = app.call(move |api| {
        let (add, remove) = if adds { (&labels[..], &none[..]) } else { (&none[..], &labels[..]) };
        api.set_labels(&actor, &ids, add, remove)
    });
    match done.await {
        Ok(()) => {
            // Read and written again: what comes back with a form is not an address to be trusted.
            let query = asked_text(field(fields, "back"));
            Ok(Redirect::to(&machines::address(&query)).into_response())
        }
        Err(failure) => again(app, change, request, fields, failure).await,
    }
}

async fn rows(app: &App, ids: &[i64]) -> Result<Vec<FleetRow>, Failure> {
    let ids = ids.to_vec();
    app.call(move |api| api.machines_of(&ids)).await
}

async fn grave(
    app: &App,
    change: &Change<may::Approve>,
    request: &RequestId,
    fields: &Fields,
    ids: Vec<i64>,
    what: Grave,
) -> Result<Response, Failure> {
    let rows = rows(app, &ids).await?;
    let count = rows.len().to_string();
    // The first form has no such field.
    let refusal = match fields.get("count").map(|c| c.trim()) {
        Some(typed) if typed == count => None,
        Some(_) => {
            let hint = format!("type {count}, the number of machines in the list");
            Some(Some(Refusal { error: "the number does not match".to_owned(), hint: Some(hint) }))
        }
        None => Some(None),
    };
    let Some(refusal) = refusal else {
        return match what {
            Grave::Deny => deny(app, change, request, fields, rows).await,
            Grave::Off => power(app, change, request, fields, ids, PowerAction::Off).await,
            Grave::Cycle => power(app, change, request, fields, ids, PowerAction::Cycle).await,
        };
    };
    let overview = overview(app).await?;
    let (act, title, button, lost) = what.texts();
    let status = if refusal.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let shell = Shell::new("Confirmation", &overview, request, Some(change.session())).titled(title);
    let template = ConfirmPage {
        title: shell.title.clone(),
        lost: shell.t(lost),
        button: shell.t(button),
        shell,
        refusal,
        act,
        back: clean(field(fields, "back")),
        machines: rows.iter().map(|r| (r.row.id, clean(&r.title))).collect(),
        reason: (what == Grave::Deny).then(|| clean(field(fields, "reason"))),
    };
    page(status, &template)
}

async fn deny(
    app: &App,
    change: &Change<may::Approve>,
    request: &RequestId,
    fields: &Fields,
    rows: Vec<FleetRow>,
) -> Result<Response, Failure> {
    let (actor, reason) = (change.actor().clone(), field(fields, "reason").to_owned());
    let outcomes = app.call(move |api| {
        let one = |row: FleetRow| {
            let waits = row.row.enrollment.as_ref().filter(|e| e.state.is_open() && e.state != EnrollmentState::Confirming);
            let done = match waits {
                Some(e) => api.deny(&actor, e.id, &reason).map(|_| "denied".to_owned()),
                None => Err(ApiError::conflict("it is not waiting for approval", "")),
            };
            outcome(row, done)
        };
        Ok(rows.into_iter().map(one).collect::<Vec<_>>())
    });
    let outcomes = outcomes.await?;
    done(app, change, request, fields, "state-denied", outcomes).await
}

fn outcome(row: FleetRow, done: Result<String, ApiError>) -> Outcome {
    let (ok, text) = match done {
        Ok(text) => (true, clean(&text)),
        Err(e) => {
            // As on other pages, an internal error keeps its text for the log.
            let hint = e.hint().map(|h| format!("; {h}")).unwrap_or_default();
            (false, clean(&format!("{}{hint}", Failure::from(e).error)))
        }
    };
    Outcome { id: row.row.id, name: clean(&row.title), ok, text }
}

async fn power(
    app: &App,
    change: &Change<may::Approve>,
    request: &RequestId,
    fields: &Fields,
    ids: Vec<i64>,
    action: PowerAction,
) -> Result<Response, Failure> {
    change.actor().must(Permission::Power)?;
    let rows = rows(app, &ids).await?;
    let one = |row: FleetRow| {
        let (app, actor) = (app.clone(), change.actor().clone());
        async move {
            let id = row.row.id;
            let done = app.call(move |api| Ok(api.act_power(&actor, id, action).map(|done| done.text))).await;
            done.map(|done| outcome(row, done))
        }
    };
    let mut all = futures_util::stream::iter(rows.into_iter().map(one)).buffered(POWER_AT_ONCE);
    let mut outcomes = Vec::new();
    while let Some(done) = all.next().await {
        outcomes.push(done?);
    }
    let title = match action {
        PowerAction::Off => "power-off",
        PowerAction::Cycle => "power-cycle",
        _ => "bulk-on",
    };
    done(app, change, request, fields, title, outcomes).await
}

async fn done(
    app: &App,
    change: &Change<may::Approve>,
    request: &RequestId,
    fields: &Fields,
    title: &str,
    outcomes: Vec<Outcome>,
) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let shell = Shell::new("Results", &overview, request, Some(change.session())).titled(title);
    let template = DonePage {
        title: shell.title.clone(),
        shell,
        back: machines::address(&asked_text(field(fields, "back"))),
        failed: outcomes.iter().filter(|o| !o.ok).count(),
        outcomes,
    };
    page(StatusCode::OK, &template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticked_boxes_are_read_and_bounded() {
        let fields = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), "1".to_owned())).collect::<Fields>();
        assert_eq!(chosen(&fields(&["m7", "m12", "m", "mx", "m-", "act", "model"])), [12, 7]);
        let many: Vec<String> = (0..MAX_MACHINES + 1).map(|n| format!("m{n}")).collect();
        assert_eq!(chosen(&fields(&many.iter().map(String::as_str).collect::<Vec<_>>())).len(), MAX_MACHINES);
    }
}
