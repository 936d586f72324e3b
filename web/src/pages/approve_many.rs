//! `/machines/approve`: one form for many machines. Codes are typed one after the other, without the mouse: what goes through
//! leaves the form, what is refused stays with its reason.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Query as UrlQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use cluster_seed::fleet::DEFAULT_PATTERN;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::pairing::PairingCode;

use super::decision::{Choice, disk_choices, role_choices};
use super::fields::{Fields, field};
use super::shell::{Refusal, Shell, overview, page};
use super::view::{Moment, bytes, clean, clean_or};
use crate::api::{ApiError, Approve, Candidate, Overview};
use crate::auth::{Change, ChangeForm, PageSession, Session, may};
use crate::call::App;
use crate::error::Failure;
use crate::headers::RequestId;
use crate::words::Lang;

/// Most machines of one form.
const MAX_ROWS: usize = 50;

/// A machine of the form.
struct Row {
    id: i64,
    enrollment: String,
    title: String,
    model: String,
    memory: String,
    serial: String,
    place: String,
    since: Moment,
    /// How the code on its console begins.
    number: String,
    code: String,
    name: String,
    roles: Vec<Choice>,
    disks: Vec<Choice>,
    in_place: bool,
    refusal: Option<Refusal>,
    /// The cursor is in its field of the code.
    focus: bool,
}

/// A machine that left the form.
struct Passed {
    id: i64,
    text: String,
}

#[derive(Template)]
#[template(path = "approve_many.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    rows: Vec<Row>,
    passed: Vec<Passed>,
    pattern: String,
    code: String,
    roles: Vec<Choice>,
    /// The cursor is in the field for the next code.
    focus: bool,
    /// More machines wait than the form has room for.
    more: u32,
    /// Machines that were set aside.
    aside: u32,
}

/// What came of the form.
#[derive(Default)]
struct Came {
    passed: Vec<Passed>,
    refused: BTreeMap<i64, Refusal>,
    /// Names that were given to machines of this form: the seed knows of them only once the machines have confirmed.
    names: Vec<String>,
    /// About the whole form.
    refusal: Option<Refusal>,
    status: Option<StatusCode>,
}

pub(crate) async fn show(
    State(app): State<App>,
    PageSession(session): PageSession,
    id: RequestId,
    values: Result<UrlQuery<BTreeMap<String, String>>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failure> {
    let UrlQuery(values) = values?;
    let ids = values.get("ids").map_or("", String::as_str).split(',').filter_map(|id| id.parse().ok());
    let ids: Vec<i64> = ids.take(MAX_ROWS).collect();
    // All ids could be wrong: then the page says so, and does not show others.
    let none = ids.is_empty() && values.contains_key("ids");
    let candidates = if none { Vec::new() } else { app.call(move |api| api.candidates(&ids)).await? };
    render(&app, &session, &id, candidates, Fields::new(), Came::default()).await
}

pub(crate) async fn approve(
    State(app): State<App>,
    request: RequestId,
    ChangeForm(change, mut fields): ChangeForm<may::Approve, Fields>,
) -> Result<Response, Failure> {
    let ids: Vec<i64> = fields.keys().filter_map(|k| k.strip_prefix("enrollment-")?.parse().ok()).take(MAX_ROWS).collect();
    let asked = ids.clone();
    let before = if ids.is_empty() { Vec::new() } else { app.call(move |api| api.candidates(&asked)).await? };
    let mut result = Came::default();
    if field(&fields, "do") == "fill" {
        if let Err(failure) = fill(&app, &before, &mut fields).await {
            let (status, refusal) = Refusal::of(failure)?;
            (result.status, result.refusal) = (Some(status), Some(refusal));
        }
    } else {
        if let Err(refusal) = place_code(&before, &mut fields) {
            result.refusal = Some(refusal);
            result.status = Some(StatusCode::BAD_REQUEST);
        }
        for candidate in &before {
            approve_one(&app, &change, candidate, &fields, &mut result).await?;
        }
        let coded = |id: &i64| !field(&fields, &format!("code-{id}")).is_empty();
        if result.passed.is_empty() && result.refusal.is_none() && !ids.iter().any(coded) {
            result.refusal = Some(Refusal {
                error: "no code was typed".to_owned(),
                hint: Some("each machine shows its code on its console".to_owned()),
            });
            result.status = Some(StatusCode::BAD_REQUEST);
        }
    }
    for id in ids.iter().filter(|id| before.iter().all(|c| c.machine != **id)) {
        result.passed.push(Passed { id: *id, text: request.look().lang.with("many-gone", &[("n", id.unsigned_abs().into())]) });
    }
    let left: Vec<i64> = ids.into_iter().filter(|id| !result.passed.iter().any(|p| p.id == *id)).collect();
    let candidates = if left.is_empty() { Vec::new() } else { app.call(move |api| api.candidates(&left)).await? };
    render(&app, change.session(), &request, candidates, fields, result).await
}

/// Gives the code of the field at the top to the row of the machine that shows it: its number says which.
fn place_code(candidates: &[Candidate], fields: &mut Fields) -> Result<(), Refusal> {
    let typed = field(fields, "code").to_owned();
    if typed.is_empty() {
        return Ok(());
    }
    let bad = |error: String, hint: &str| Refusal { error: clean(&error), hint: Some(hint.to_owned()) };
    let code: PairingCode =
        typed.parse().map_err(|e: cluster_seed::pairing::CodeError| bad(e.to_string(), "it is on the machine's console"))?;
    let mine = |c: &&Candidate| c.waiting.enrollment.number == Some(code.number.get());
    let Some(found) = candidates.iter().find(mine) else {
        let error = format!("no machine of this list shows a code that begins with {}", code.number);
        return Err(bad(error, "check the code on the machine's console; it changes after every attempt"));
    };
    fields.insert(format!("code-{}", found.machine), typed);
    fields.remove("code");
    Ok(())
}

/// Names by the pattern, and one role, for every row.
async fn fill(app: &App, candidates: &[Candidate], fields: &mut Fields) -> Result<(), Failure> {
    let (pattern, role) = (field(fields, "pattern").to_owned(), field(fields, "role").to_owned());
    let asked = candidates.to_vec();
    let names = app.call(move |api| api.suggest_names(&pattern, &asked)).await?;
    for (candidate, name) in candidates.iter().zip(names) {
        fields.insert(format!("name-{}", candidate.machine), name);
        if !role.is_empty() {
            fields.insert(format!("role-{}", candidate.machine), role.clone());
        }
    }
    Ok(())
}

/// One row whose code was typed.
async fn approve_one(
    app: &App,
    change: &Change<may::Approve>,
    candidate: &Candidate,
    fields: &Fields,
    result: &mut Came,
) -> Result<(), Failure> {
    let id = candidate.machine;
    let value = |name: &str| field(fields, &format!("{name}-{id}")).to_owned();
    let code = value("code");
    if code.is_empty() {
        return Ok(());
    }
    let approve = Approve { code, role: value("role"), hostname: value("name"), disk: value("disk"), replace: false };
    let missing = [("host name", &approve.hostname), ("role", &approve.role), ("disk", &approve.disk)];
    let missing = missing.iter().find(|(_, v)| v.is_empty()).map(|(what, _)| *what);
    let text = format!("{}: {}, {}", approve.hostname, approve.role, approve.disk);
    let enrollment: Option<EnrollmentId> = value("enrollment").parse().ok();
    let name = approve.hostname.to_ascii_lowercase();
    let done = match (missing, enrollment) {
        (None, _) if result.names.contains(&name) => {
            Err(Failure::from(ApiError::conflict("another row has this host name", "type another one")))
        }
        (Some(what), _) => Err(Failure::from(ApiError::bad(format!("the {what} is missing"), "fill in the row"))),
        (None, None) => Err(Failure::not_found()),
        (None, Some(enrollment)) => {
            let actor = change.actor().clone();
            app.call(move |api| api.approve(&actor, enrollment, &approve)).await.map(|_| ())
        }
    };
    match done {
        Ok(()) => {
            result.names.push(name);
            result.passed.push(Passed { id, text: clean(&text) });
        }
        Err(failure) => {
            let (status, refusal) = Refusal::of(failure)?;
            result.status = result.status.or(Some(status));
            result.refused.insert(id, refusal);
        }
    }
    Ok(())
}

fn row(lang: Lang, candidate: Candidate, overview: &Overview, fields: &Fields, suggested: &str, refusal: Option<Refusal>) -> Row {
    let id = candidate.machine;
    let typed = |name: &str| fields.get(&format!("{name}-{id}")).map(|v| v.trim());
    let Candidate { title, place, waiting, .. } = candidate;
    let facts = &waiting.facts;
    Row {
        id,
        enrollment: waiting.enrollment.id.to_string(),
        title: clean(&title),
        model: clean_or(format!("{} {}", facts.vendor, facts.product).trim(), &lang.t("unknown-model")),
        memory: bytes(facts.memory_mib.saturating_mul(1 << 20)),
        serial: clean_or(&facts.serial, &lang.t("unknown")),
        place: clean(&place),
        since: Moment::of(lang, overview.clock, waiting.enrollment.since),
        number: waiting.enrollment.number.map(|n| n.to_string()).unwrap_or_default(),
        code: clean(typed("code").unwrap_or_default()),
        name: clean(typed("name").unwrap_or(suggested)),
        roles: role_choices(lang, overview, typed("role").unwrap_or_default()),
        disks: disk_choices(lang, Some(&waiting), typed("disk").unwrap_or_default()),
        in_place: facts.root_disk.is_some(),
        focus: false,
        refusal,
    }
}

async fn render(
    app: &App,
    session: &Session,
    id: &RequestId,
    mut candidates: Vec<Candidate>,
    fields: Fields,
    mut result: Came,
) -> Result<Response, Failure> {
    candidates.truncate(MAX_ROWS);
    let overview = overview(app).await?;
    let shell = Shell::new("Approve machines", &overview, id, Some(session)).titled("many-title");
    let lang = shell.lang;
    let pattern = fields.get("pattern").map_or(DEFAULT_PATTERN, |p| p.trim()).to_owned();
    let (asked, wanted) = (candidates.clone(), pattern.clone());
    let names = match app.call(move |api| api.suggest_names(&wanted, &asked)).await {
        Ok(names) => names,
        Err(failure) => {
            // The names can be typed; what was typed before is kept.
            let (status, refusal) = Refusal::of(failure)?;
            result.status = result.status.or(Some(status));
            result.refusal = result.refusal.or(Some(refusal));
            vec![String::new(); candidates.len()]
        }
    };
    let shown = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
    let mut rows: Vec<Row> = candidates
        .into_iter()
        .zip(names)
        .map(|(c, name)| {
            let refusal = result.refused.remove(&c.machine);
            row(lang, c, &overview, &fields, &name, refusal)
        })
        .collect();
    // Where the next key goes: to what was refused, else to the next code.
    let refused = rows.iter_mut().find(|r| r.refusal.is_some() && result.refusal.is_none());
    let focus = refused.is_none();
    if let Some(row) = refused {
        row.focus = true;
    }
    let template = Page {
        shell,
        refusal: result.refusal,
        more: overview.waiting.saturating_sub(shown),
        aside: overview.aside,
        passed: result.passed,
        pattern: clean(&pattern),
        code: clean(field(&fields, "code")),
        roles: role_choices(lang, &overview, field(&fields, "role")),
        rows,
        focus,
    };
    page(result.status.unwrap_or(StatusCode::OK), &template)
}
