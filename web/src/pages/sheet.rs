//! `/machines/sheet`: the bring-up sheet, a card for each machine that is planned or waits, to print and take to the rack; and
//! `/machines/by/<mark>`, where the code on a card leads.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Redirect, Response};
use cluster_seed::fleet::Query;
use cluster_seed::ids::Mac;
use serde::Deserialize;

use super::machines;
use super::qr::Qr;
use super::shell::{Shell, overview, page};
use super::view::clean;
use crate::api::{Candidate, PlanRowView, PlanView, RowState, UnplannedView};
use crate::auth::PageSession;
use crate::call::App;
use crate::error::Failure;
use crate::extract::Named;
use crate::headers::RequestId;
use crate::text::in_address;

/// Cards on a page: with their codes some 250 kB.
const PAGE: usize = 60;
/// Longest name of a host that is put into codes, in bytes.
const MAX_HOST: usize = 100;

/// A machine to bring up.
#[derive(Default)]
struct Card {
    machine: Option<i64>,
    /// Empty where the plan has none.
    name: String,
    serial: String,
    macs: Vec<String>,
    role: String,
    disk: String,
    place: String,
    model: String,
    /// How its code begins.
    number: String,
    waits: bool,
    /// Where its code leads, below the seed's address.
    leads: String,
    qr: Option<Qr>,
}

impl Card {
    fn planned(view: &PlanRowView) -> Self {
        let row = &view.row;
        let mac = row.mac.map(|m| m.to_string());
        let mark = row.mac.map_or_else(|| in_address(&row.serial), |m| plain(&m));
        Card {
            machine: view.machine,
            name: clean(&row.name),
            serial: clean(&row.serial),
            macs: mac.into_iter().collect(),
            role: clean(&row.role),
            disk: clean(&row.disk.to_string()),
            place: clean(&row.place),
            number: view.number.map(|n| n.to_string()).unwrap_or_default(),
            waits: view.state == RowState::Waiting,
            leads: view.machine.map_or_else(|| format!("/machines/by/{mark}"), |id| format!("/machines/{id}")),
            ..Card::default()
        }
    }

    fn other(view: &UnplannedView) -> Self {
        Card {
            machine: Some(view.machine),
            serial: clean(&view.serial),
            macs: vec![view.mac.to_string()],
            model: clean(&view.model),
            number: view.number.map(|n| n.to_string()).unwrap_or_default(),
            waits: true,
            leads: format!("/machines/{}", view.machine),
            ..Card::default()
        }
    }

    /// What the machine itself has reported, beside what the plan says.
    fn reported(&mut self, found: &Candidate) {
        let facts = &found.waiting.facts;
        let macs = std::iter::once(clean(&found.mac)).chain(facts.nics.iter().map(|n| n.mac.to_string()));
        for mac in macs {
            if !self.macs.contains(&mac) {
                self.macs.push(mac);
            }
        }
        let or = |own: &mut String, theirs: &str| {
            if own.is_empty() {
                *own = clean(theirs);
            }
        };
        or(&mut self.serial, &facts.serial);
        or(&mut self.place, &found.place);
        or(&mut self.model, format!("{} {}", facts.vendor, facts.product).trim());
    }
}

/// A MAC address without separators, which a path carries unchanged through the login.
fn plain(mac: &Mac) -> String {
    mac.to_string().replace(':', "")
}

#[derive(Template)]
#[template(path = "sheet.html")]
struct Page {
    shell: Shell,
    cards: Vec<Card>,
    all: usize,
    at: usize,
    last: usize,
    /// The seed's address in the codes, as the browser used it.
    address: String,
    /// No phone can reach it.
    only_here: bool,
}

#[derive(Deserialize)]
pub(crate) struct PageNumber {
    #[serde(default)]
    page: usize,
}

/// The seed as this browser reached it: a host and, if there is one, its port. `None` for what is not one.
fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(HOST)?.to_str().ok()?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    (!host.is_empty() && host.len() <= MAX_HOST && host.bytes().all(fits)).then_some(host)
}

/// Whether a host means the machine itself: the end of an SSH tunnel.
fn is_loopback(host: &str) -> bool {
    host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]")
}

/// Machines that wait come first, in the order of the plan; nodes are up already.
fn cards(plan: &PlanView) -> Vec<Card> {
    let rows = &plan.check.rows;
    let of = |state: RowState| rows.iter().filter(move |r| r.state == state).map(Card::planned);
    let others = plan.check.unplanned.iter().map(Card::other);
    of(RowState::Waiting).chain(others).chain(of(RowState::NotSeen)).collect()
}

pub(crate) async fn show(
    State(app): State<App>,
    PageSession(session): PageSession,
    id: RequestId,
    headers: HeaderMap,
    query: Result<UrlQuery<PageNumber>, QueryRejection>,
) -> Result<Response, Failure> {
    let UrlQuery(PageNumber { page: number }) = query?;
    let overview = overview(&app).await?;
    let scheme = if app.options.secure_cookies { "https" } else { "http" };
    let address = host(&headers).map(|host| format!("{scheme}://{host}")).unwrap_or_default();
    let plan = app.call(|api| api.plan()).await?;
    let mut cards = cards(&plan);
    let all = cards.len();
    let last = all.div_ceil(PAGE).max(1);
    let at = number.clamp(1, last);
    cards = cards.into_iter().skip((at - 1) * PAGE).take(PAGE).collect();
    let waiting: Vec<i64> = cards.iter().filter(|c| c.waits).filter_map(|c| c.machine).collect();
    // Without any, the daemon would choose some.
    if !waiting.is_empty() {
        let found = app.call(move |api| api.candidates(&waiting)).await?;
        for card in &mut cards {
            if let Some(candidate) = found.iter().find(|f| Some(f.machine) == card.machine) {
                card.reported(candidate);
            }
        }
    }
    for card in &mut cards {
        card.qr = Some(&address).filter(|a| !a.is_empty()).and_then(|a| Qr::new(&format!("{a}{}", card.leads)));
    }
    let only_here = host(&headers).is_none_or(is_loopback);
    let shell = Shell::new("Bring-up sheet", &overview, &id, Some(&session)).titled("sheet-title");
    page(StatusCode::OK, &Page { shell, cards, all, at, last, address, only_here })
}

/// From a card to the form of its machine, or to the search for it while nobody has seen it.
pub(crate) async fn by(State(app): State<App>, _: PageSession, Named(mark): Named<String>) -> Result<Redirect, Failure> {
    let query = Query::read(&search(&mark), "", "", "");
    let asked = query.clone();
    let found = app.call(move |api| api.machine_page(&asked)).await?;
    let is_it = |mac: &Mac, serial: &str| plain(mac).eq_ignore_ascii_case(&mark) || serial.eq_ignore_ascii_case(&mark);
    let mut exact = found.machines.iter().filter(|m| is_it(&m.row.mac, &m.serial));
    Ok(match (exact.next(), exact.next()) {
        (Some(one), None) => Redirect::to(&format!("/machines/{}", one.row.id)),
        _ => Redirect::to(&machines::address(&query)),
    })
}

/// The search for the machine with this MAC address, without separators, or this serial number.
fn search(mark: &str) -> String {
    if mark.len() == 12 && mark.bytes().all(|b| b.is_ascii_hexdigit()) {
        let pairs: Vec<&str> = (0..6).filter_map(|n| mark.get(2 * n..2 * n + 2)).collect();
        return format!("mac:{}", pairs.join(":"));
    }
    format!("serial:\"{}\"", mark.replace('"', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_mac_address_or_a_serial_number() {
        for (mark, text) in [
            ("525400ab0002", "mac:52:54:00:ab:00:02"),
            ("525400AB0002", "mac:52:54:00:AB:00:02"),
            ("525400ab000", "serial:\"525400ab000\""),
            ("SN 1\"x", "serial:\"SN 1x\""),
        ] {
            assert_eq!(search(mark), text);
        }
    }

    #[test]
    fn only_hosts_get_into_codes() {
        for (sent, found) in [
            ("seed.lan:8443", Some("seed.lan:8443")),
            ("[fd00::1]:8443", Some("[fd00::1]:8443")),
            ("seed/evil", None),
            ("seed\"><script>", None),
            ("user@evil", None),
        ] {
            let headers = HeaderMap::from_iter([(HOST, sent.parse().unwrap())]);
            assert_eq!(host(&headers), found, "{sent}");
        }
        assert!(is_loopback("127.0.0.1:8443") && is_loopback("localhost") && is_loopback("[::1]:1") && !is_loopback("10.0.0.1"));
    }
}
