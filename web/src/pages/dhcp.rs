//! `/dhcp`: pools, leases, reservations, and other DHCP servers on the segment.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::shell::{Shell, overview, page};
use super::view::{Moment, clean};
use crate::api::{DhcpNetwork, DhcpView, LeaseView};
use crate::auth::{NoPage, PageSession};
use crate::call::App;
use crate::dates::lasting;
use crate::error::Failure;
use crate::headers::RequestId;
use crate::json::dhcp::MAX_SEARCH;
use crate::search::encode;
use crate::words::Lang;

/// Leases on a page.
const ROWS: usize = 50;
/// Share of a pool, in percent, from which it is shown as short of addresses.
const SHORT: u64 = 90;

#[derive(Deserialize)]
pub(crate) struct Ask {
    #[serde(default)]
    q: String,
    /// From 1.
    #[serde(default)]
    page: usize,
}

struct Network {
    subnet: String,
    place: String,
    mode: String,
    pools: String,
    percent: u64,
    used: u64,
    size: u64,
    short: bool,
}

impl Network {
    fn of(lang: Lang, one: &DhcpNetwork) -> Self {
        let percent = (u128::from(one.used) * 100).checked_div(u128::from(one.size)).unwrap_or(0) as u64;
        let pools: Vec<String> = one
            .pools
            .iter()
            .map(|(first, last)| {
                lang.with("dhcp-range", &[("x", (&first.to_string()).into()), ("y", (&last.to_string()).into())])
            })
            .collect();
        Network {
            subnet: clean(&one.subnet),
            place: clean(&one.place),
            mode: lang.t(match one.mode.as_str() {
                "full" => "dhcp-full",
                "reservation" => "dhcp-reservation",
                "proxy" => "dhcp-proxy",
                _ => "dhcp-auto",
            }),
            pools: if pools.is_empty() { lang.t("dhcp-no-pool") } else { pools.join(", ") },
            percent: percent.min(100),
            used: one.used,
            size: one.size,
            short: percent >= SHORT && one.size > 0,
        }
    }
}

struct Lease {
    ip: String,
    mac: String,
    hostname: String,
    left: String,
    machine: Option<(i64, String)>,
    reserved: bool,
}

impl Lease {
    fn of(one: &LeaseView) -> Self {
        let name = || one.node.as_deref().map_or_else(|| one.mac.to_string(), clean);
        Lease {
            ip: one.ip.to_string(),
            mac: one.mac.to_string(),
            hostname: one.hostname.as_deref().map(clean).unwrap_or_default(),
            left: lasting(one.left),
            machine: one.machine.map(|id| (id, name())),
            reserved: one.reserved,
        }
    }
}

struct Reserved {
    address: String,
    mac: String,
    hostname: String,
    subnet: String,
    leased: bool,
}

struct Server {
    address: String,
    heard: Moment,
    text: String,
    times: u32,
}

#[derive(Template)]
#[template(path = "dhcp.html")]
struct Page {
    shell: Shell,
    q: String,
    networks: Vec<Network>,
    leases: Vec<Lease>,
    found: usize,
    total: u32,
    own: String,
    before: Option<String>,
    after: Option<String>,
    reservations: Vec<Reserved>,
    servers: Vec<Server>,
}

fn address(q: &str, page: usize) -> String {
    match (q.is_empty(), page) {
        (true, 0 | 1) => "/dhcp".to_owned(),
        (true, page) => format!("/dhcp?page={page}"),
        (false, page) => format!("/dhcp?q={}&page={}", encode(q), page.max(1)),
    }
}

fn template(shell: Shell, now: u64, q: &str, asked: usize, view: &DhcpView) -> Page {
    let lang = shell.lang;
    let pages = view.leases.len().div_ceil(ROWS).max(1);
    let at = asked.clamp(1, pages);
    let shown = view.leases.iter().skip((at - 1) * ROWS).take(ROWS);
    Page {
        shell,
        networks: view.networks.iter().map(|n| Network::of(lang, n)).collect(),
        leases: shown.map(Lease::of).collect(),
        found: view.leases.len(),
        total: view.total,
        own: address(q, at),
        before: (at > 1).then(|| address(q, at - 1)),
        after: (at < pages).then(|| address(q, at + 1)),
        reservations: view
            .reservations
            .iter()
            .map(|r| Reserved {
                address: r.address.to_string(),
                mac: r.mac.to_string(),
                hostname: r.hostname.as_deref().map(clean).unwrap_or_default(),
                subnet: clean(&r.subnet),
                leased: r.leased,
            })
            .collect(),
        servers: view
            .servers
            .iter()
            .map(|s| Server {
                address: s.address.to_string(),
                heard: Moment::of(lang, now, s.heard / 1000),
                text: clean(&s.text),
                times: s.times,
            })
            .collect(),
        q: clean(q),
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    PageSession(session): PageSession,
    id: RequestId,
    ask: Result<Query<Ask>, QueryRejection>,
) -> Result<Response, NoPage> {
    let Query(Ask { q, page: asked }) = ask.map_err(Failure::from)?;
    let q: String = q.trim().chars().take(MAX_SEARCH).collect();
    let overview = overview(&app).await?;
    let newest = *app.newest().borrow();
    let wanted = q.clone();
    let view = app.call(move |api| api.dhcp(&wanted)).await?;
    let mut shell = Shell::new("DHCP", &overview, &id, Some(&session)).titled("nav-dhcp");
    shell.event = newest;
    Ok(page(StatusCode::OK, &template(shell, overview.clock, &q, asked, &view))?)
}
