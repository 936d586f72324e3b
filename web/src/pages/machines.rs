//! `/machines`: all machines and nodes in one table, searched, sorted and paged by the address, and what is done to many of them.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Query as UrlQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use cluster_seed::fleet::{Query, Sort, Stage};

use super::shell::{Refusal, Shell, overview, page};
use super::view::{Line, Moment, Note, clean, stage_key};
use crate::api::{FleetRow, MachinePage};
use crate::auth::{PageSession, Session};
use crate::call::App;
use crate::error::Failure;
use crate::headers::RequestId;
use crate::text::in_address;
use crate::words::Lang;

/// How often a browser without JavaScript reloads the page, in seconds.
const REFRESH: u32 = 30;

/// A machine in the table.
struct Row {
    line: Line,
    stage: Stage,
    title: String,
    serial: String,
    /// On the control plane, or else on the boot network.
    address: String,
    note: Note,
    /// The state's word, where it says more than the stage.
    word: Option<String>,
    /// How the code on its console begins.
    number: Option<u16>,
    heard: Moment,
}

impl Row {
    fn of(lang: Lang, row: &FleetRow, now: u64) -> Self {
        let e = row.row.enrollment.as_ref();
        let line = Line::of(lang, &row.row, now);
        let plane = line.planes.first().map(|(_, address)| address.clone());
        let word = e.map(|_| line.state.word.clone()).filter(|word| *word != lang.t(stage_key(row.stage)));
        Row {
            title: clean(&row.title),
            serial: clean(&row.serial),
            address: plane.unwrap_or_else(|| line.ip.clone()),
            note: Note::of(&row.place, &row.labels),
            word: word.filter(|_| !matches!(row.stage, Stage::Waiting | Stage::Working)),
            number: e.and_then(|e| e.number),
            heard: Moment::of(lang, now, row.row.last_seen),
            stage: row.stage,
            line,
        }
    }

    /// The key of the name of its stage.
    fn key(&self) -> &'static str {
        stage_key(self.stage)
    }
}

/// A link that filters, sorts or pages.
struct Link {
    text: String,
    address: String,
    current: bool,
    /// The glyph of a stage, or the arrow of the sorted column.
    mark: &'static str,
    /// For a column: `ascending`, `descending` or `none`.
    direction: &'static str,
}

#[derive(Template)]
#[template(path = "machines.html")]
struct Page {
    shell: Shell,
    refusal: Option<Refusal>,
    /// The search as it was typed.
    text: String,
    stage: &'static str,
    sort: String,
    /// The page's own address, and its query alone.
    address: String,
    back: String,
    chips: Vec<Link>,
    columns: Vec<Link>,
    rows: Vec<Row>,
    total: u32,
    page: u32,
    pages: u32,
    previous: Option<String>,
    next: Option<String>,
    searched: bool,
    /// What was typed into the field of the labels.
    labels: String,
    /// Machines whose boxes are ticked.
    chosen: Vec<i64>,
}

/// The keys of the columns' names.
const COLUMNS: [(&str, Sort); 8] = [
    ("col-state", Sort::State),
    ("col-name", Sort::Name),
    ("col-role", Sort::Role),
    ("col-model", Sort::Model),
    ("col-serial", Sort::Serial),
    ("col-address", Sort::Address),
    ("col-place", Sort::Place),
    ("col-heard", Sort::Heard),
];

/// The query of an address, without `?`; empty for the list as it is.
fn written(text: &str, stage: &str, order: &str, page: u32) -> String {
    let number = page.to_string();
    let parts = [
        ("q", text, !text.is_empty()),
        ("state", stage, !stage.is_empty()),
        ("sort", order, order != "state"),
        ("page", number.as_str(), page > 1),
    ];
    let shown = parts.iter().filter(|(_, _, shown)| *shown);
    shown.map(|(name, value, _)| format!("{name}={}", in_address(value))).collect::<Vec<_>>().join("&")
}

fn to(query: &str) -> String {
    if query.is_empty() { "/machines".to_owned() } else { format!("/machines?{query}") }
}

/// The address of the list that a query asks for.
pub(super) fn address(query: &Query) -> String {
    to(&written(&query.text, query.stage.map_or("", Stage::as_str), &query.order(), query.page + 1))
}

/// The query of an address.
pub(crate) fn asked(values: &BTreeMap<String, String>) -> Query {
    let value = |name: &str| values.get(name).map_or("", String::as_str);
    Query::read(value("q"), value("state"), value("sort"), value("page"))
}

/// What a query that came back with a form asks for.
pub(super) fn asked_text(query: &str) -> Query {
    let uri = format!("/machines?{query}").parse::<axum::http::Uri>();
    let values = uri.ok().and_then(|uri| UrlQuery::<BTreeMap<String, String>>::try_from_uri(&uri).ok());
    asked(&values.map(|UrlQuery(values)| values).unwrap_or_default())
}

fn chips(lang: Lang, query: &Query, found: &MachinePage) -> Vec<Link> {
    let order = query.order();
    let all: u32 = found.counts.values().sum();
    let chip = |text: String, stage: &str, current, mark| Link {
        text,
        address: to(&written(&query.text, stage, &order, 1)),
        current,
        mark,
        direction: "none",
    };
    let stages = Stage::ALL.iter().filter_map(|stage| {
        let current = query.stage == Some(*stage);
        let count = found.counts.get(stage).copied().unwrap_or_default();
        (count > 0 || current)
            .then(|| chip(format!("{} {count}", lang.t(stage_key(*stage))), stage.as_str(), current, stage.glyph()))
    });
    std::iter::once(chip(format!("{} {all}", lang.t("machines-all")), "", query.stage.is_none(), "")).chain(stages).collect()
}

fn columns(lang: Lang, query: &Query) -> Vec<Link> {
    let stage = query.stage.map_or("", Stage::as_str);
    let column = |(key, sort): &(&str, Sort)| {
        let current = query.sort == *sort;
        let descending = current && !query.descending;
        let order = format!("{}{sort}", if descending { "-" } else { "" });
        let (mark, direction) = match (current, query.descending) {
            (false, _) => ("", "none"),
            (true, false) => ("\u{25b4}", "ascending"),
            (true, true) => ("\u{25be}", "descending"),
        };
        let address = to(&written(&query.text, stage, &order, 1));
        Link { text: lang.t(key), address, current, mark, direction }
    };
    COLUMNS.iter().map(column).collect()
}

pub(crate) async fn show(
    State(app): State<App>,
    PageSession(session): PageSession,
    id: RequestId,
    values: Result<UrlQuery<BTreeMap<String, String>>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failure> {
    let UrlQuery(values) = values?;
    let said = Said { query: asked(&values), ..Said::default() };
    render(&app, &session, &id, said).await
}

/// What the page shows beside the list.
#[derive(Default)]
pub(super) struct Said {
    pub(super) query: Query,
    pub(super) refusal: Option<(StatusCode, Refusal)>,
    pub(super) labels: String,
    pub(super) chosen: Vec<i64>,
}

pub(super) async fn render(app: &App, session: &Session, id: &RequestId, said: Said) -> Result<Response, Failure> {
    let Said { query, refusal, labels, chosen } = said;
    let overview = overview(app).await?;
    let newest = *app.newest().borrow();
    let asked = query.clone();
    let found = app.call(move |api| api.machine_page(&asked)).await?;
    let now = overview.clock;
    let mut shell = Shell::new("Machines", &overview, id, Some(session)).titled("machines-title");
    let lang = shell.lang;
    let (status, refusal) = refusal.map_or((StatusCode::OK, None), |(status, r)| (status, Some(r)));
    // A reload would lose what is ticked.
    shell.refresh = (refusal.is_none() && !found.counts.contains_key(&Stage::Waiting)).then_some(REFRESH);
    shell.event = newest;
    let stage = query.stage.map_or("", Stage::as_str);
    let order = query.order();
    let at = |page: u32| to(&written(&query.text, stage, &order, page));
    let back = written(&query.text, stage, &order, found.page);
    let template = Page {
        refusal,
        text: clean(&query.text),
        stage,
        sort: order.clone(),
        address: to(&back),
        back,
        chips: chips(lang, &query, &found),
        columns: columns(lang, &query),
        rows: found.machines.iter().map(|row| Row::of(lang, row, now)).collect(),
        total: found.total,
        page: found.page,
        pages: found.pages,
        previous: (found.page > 1).then(|| at((found.page - 1).min(found.pages))),
        next: (found.page < found.pages).then(|| at(found.page + 1)),
        searched: !query.terms.is_empty() || query.stage.is_some(),
        labels: clean(&labels),
        chosen,
        shell,
    };
    page(status, &template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_what_it_asks_for() {
        for query in ["", "q=serial%3ASN1%20%22a%20b%22&state=silent&sort=-heard&page=3", "sort=name", "page=2"] {
            let asked = asked_text(query);
            let stage = asked.stage.map_or("", Stage::as_str);
            assert_eq!(written(&asked.text, stage, &asked.order(), asked.page + 1), query);
        }
        for odd in ["q=%ff", "page=x&state=<b>", "a b", "q=1&q=2", "%"] {
            assert_eq!(asked_text(odd).page, 0, "{odd}");
        }
    }
}
