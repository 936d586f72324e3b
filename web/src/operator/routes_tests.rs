//! Every method of every route, with every kind of visitor.

#[path = "desk_rows_tests.rs"]
mod desk;

use axum::Router;
use cluster_seed::people::Permission;

use super::routes;
use super::routes_table::{Guard, Row, form, inventory_rows, none, people_rows};
use crate::auth::csrf;
use crate::testing::client::{Answer, FORM, JSON, ask, cookie, get, site};
use crate::testing::data::{PENDING, pending_id};
use crate::testing::{CODE, PASSWORD, SETUP_CODE, TOKEN};

use Guard::{Change, Enter, Fresh, Open, Own, Read, See};
use Permission::{Account, Administer, Approve, Build, Converge, Power};

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

fn page_rows() -> Vec<Row> {
    let id = pending_id();
    let approve = format!("enrollment={id}&code={CODE}&role=base&hostname=n-9&disk=nvme0n1");
    let controller = "kind=redfish&address=https%3A%2F%2F10.44.9.1&user=admin&password=x";
    vec![
        (Read, "GET", "/", none(), 200, 200),
        (Open(303), "GET", "/setup", none(), 303, 303),
        (Enter(409), "POST", "/setup", format!("code={SETUP_CODE}&user=a&password=p&password2=p"), 409, 409),
        (Open(200), "GET", "/login", none(), 303, 303),
        (Enter(303), "POST", "/login", format!("user=ada&password={PASSWORD}"), 303, 303),
        (Change(Account), "POST", "/logout", form(""), 303, 303),
        (Read, "GET", "/unseal", none(), 303, 200),
        (Change(Administer), "POST", "/unseal", form(&format!("passphrase={PASSWORD}")), 303, 303),
        (Read, "GET", "/machines/{id}", none(), 200, 200),
        (Read, "GET", "/approve", none(), 303, 303),
        (Change(Approve), "POST", "/approve", form(&format!("code={CODE}")), 200, 200),
        (Change(Approve), "POST", "/machines/{id}/approve", form(&approve), 303, 423),
        (Change(Approve), "POST", "/machines/{id}/deny", form(&format!("enrollment={id}&reason=x")), 303, 423),
        (Change(Approve), "POST", "/machines/{id}/deny-address", form("address=10.44.0.9"), 303, 303),
        (Read, "GET", "/machines/{id}/packets.pcapng", none(), 200, 200),
        (Read, "GET", "/machines/{id}/power", none(), 200, 200),
        (Change(Power), "POST", "/machines/{id}/power", form("action=on"), 200, 423),
        (Change(Power), "POST", "/machines/{id}/controller", form(controller), 303, 423),
        (Change(Power), "POST", "/machines/{id}/controller/forget", form(""), 303, 303),
        (Change(Power), "POST", "/machines/{id}/controller/certificate", form(""), 303, 303),
        (Change(Power), "POST", "/machines/{id}/controller/trust", form("fingerprint=ab"), 303, 303),
        (Read, "GET", "/packages", none(), 200, 200),
        (Open(200), "GET", "/look", none(), 200, 200),
        (Own(303), "POST", "/look", "theme=dark&language=de".to_owned(), 303, 303),
        (Read, "GET", "/clock", none(), 200, 200),
        (Change(Administer), "POST", "/clock", form("take=typed&time=2027-01-01T00:00:00Z"), 303, 303),
        (Read, "GET", "/events", none(), 200, 200),
        (Open(200), "GET", "/static/{name}", none(), 200, 200),
        (Open(200), "GET", "/ca.pem", none(), 200, 200),
        (Open(404), "GET", "/medium/{name}", none(), 404, 404),
        // Not by session: by address or token, of which these visitors have neither.
        (Open(403), "GET", "/metrics", none(), 403, 403),
    ]
}

fn machines_rows() -> Vec<Row> {
    let id = pending_id();
    let many =
        format!("enrollment-{PENDING}={id}&code-{PENDING}={CODE}&name-{PENDING}=n-9&role-{PENDING}=base&disk-{PENDING}=nvme0n1");
    vec![
        (Read, "GET", "/machines", none(), 200, 200),
        (Read, "GET", "/machines/sheet", none(), 200, 200),
        (Read, "GET", "/machines/by/{name}", none(), 303, 303),
        (Change(Approve), "POST", "/machines/act", form(&format!("m{PENDING}=1&act=label&labels=a")), 303, 303),
        (Read, "GET", "/machines/approve", none(), 200, 200),
        (Change(Approve), "POST", "/machines/approve", form(&many), 200, 423),
        (Change(Approve), "POST", "/machines/{id}/note", form("place=hall&labels=a"), 303, 303),
        (Change(Approve), "PUT", "/api/v1/machines/{id}/note", r#"{"place":"hall","labels":["a"]}"#.to_owned(), 200, 200),
        // A machine that is not a node is not asked about.
        (Read, "GET", "/machines/{id}/revoke", none(), 303, 303),
        (Fresh(Approve), "POST", "/machines/{id}/revoke", form(&format!("enrollment={id}&reason=x&word=A1B2C3")), 409, 423),
        (Read, "GET", "/machines/{id}/forget", none(), 200, 200),
        (Fresh(Approve), "POST", "/machines/{id}/forget", form("word=a1b2c3"), 303, 303),
    ]
}

fn site_page_rows() -> Vec<Row> {
    let passphrase = |rest: &str| form(&format!("{rest}&passphrase={PASSWORD}"));
    vec![
        (Read, "GET", "/site", none(), 200, 200),
        (Change(Administer), "POST", "/site/export", passphrase("recipient=age1x"), 303, 303),
        (Change(Administer), "POST", "/site/import", passphrase("file=x&pin=y"), 303, 303),
        (Fresh(Administer), "POST", "/site/promote", form("word=lab.lan"), 303, 303),
        (Change(Administer), "POST", "/site/drill", form(&format!("word={PASSWORD}")), 409, 409),
        (Change(Administer), "POST", "/site/place", form("subnet=10.9.0.0/24"), 303, 303),
        (Change(Administer), "POST", "/site/stop", form(""), 303, 303),
        (Change(Administer), "POST", "/site/seal", form(""), 303, 303),
        (Change(Administer), "POST", "/site/remove", form("word=half"), 303, 303),
        (See(Administer), "GET", "/capsules/{name}", none(), 404, 404),
    ]
}

fn image_rows() -> Vec<Row> {
    let wish = r#"{"target":"qcow2","role":"base"}"#.to_owned();
    vec![
        (Read, "GET", "/platform", none(), 200, 200),
        (Change(Converge), "POST", "/platform/act", form("what=run&role=etcd"), 303, 303),
        (Read, "GET", "/charts", none(), 200, 200),
        (Read, "GET", "/api/v1/charts", none(), 200, 200),
        (Read, "GET", "/mesh", none(), 200, 200),
        (Read, "GET", "/api/v1/mesh", none(), 200, 200),
        (Read, "GET", "/images", none(), 200, 200),
        (Change(Build), "POST", "/images/build", form("target=qcow2&role=base"), 303, 423),
        (Change(Build), "POST", "/images/verify", form("name=half"), 303, 303),
        (Change(Build), "POST", "/images/stop", form(""), 303, 303),
        (Read, "GET", "/api/v1/converge", none(), 200, 200),
        (Change(Converge), "POST", "/api/v1/converge", r#"{"what":"pause"}"#.to_owned(), 200, 200),
        (Read, "GET", "/outputs/{name}", none(), 404, 404),
        (Read, "GET", "/api/v1/outputs", none(), 200, 200),
        (Change(Build), "POST", "/api/v1/outputs", wish, 200, 423),
        (Change(Build), "POST", "/api/v1/outputs/{name}/verify", none(), 200, 200),
    ]
}

fn json_rows() -> Vec<Row> {
    let s = String::from;
    let approve = r#"{"code":"12345678","role":"base","hostname":"n-9","disk":"nvme0n1"}"#;
    let place = r#"{"subnet":"10.9.0.0/24","seed":"10.9.0.1","first":"10.9.0.2","last":"10.9.0.9"}"#;
    let controller = r#"{"kind":"ipmi","address":"10.44.9.1","user":"admin","password":"x"}"#;
    let setup = format!(r#"{{"code":"{SETUP_CODE}","user":"a","password":"p"}}"#);
    let passphrase = |rest: &str| format!(r#"{{{rest}"passphrase":"{PASSWORD}"}}"#);
    vec![
        (Enter(409), "POST", "/api/v1/setup", setup, 409, 409),
        (Enter(200), "POST", "/api/v1/login", format!(r#"{{"user":"a","password":"{PASSWORD}"}}"#), 200, 200),
        (Change(Account), "POST", "/api/v1/logout", none(), 200, 200),
        (Change(Administer), "POST", "/api/v1/unseal", passphrase(""), 200, 200),
        (Read, "GET", "/api/v1/status", none(), 200, 200),
        (Read, "GET", "/api/v1/clock", none(), 200, 200),
        (Change(Administer), "POST", "/api/v1/clock", s(r#"{"toMs":1798761600000}"#), 200, 200),
        (Read, "GET", "/api/v1/snapshots", none(), 200, 200),
        (Read, "GET", "/api/v1/events", none(), 200, 200),
        (Read, "GET", "/api/v1/machines", none(), 200, 200),
        (Read, "GET", "/api/v1/machines/{id}", none(), 200, 200),
        (Fresh(Approve), "DELETE", "/api/v1/machines/{id}", none(), 200, 200),
        (Read, "GET", "/api/v1/machines/{id}/packets.pcapng", none(), 200, 200),
        (Read, "GET", "/api/v1/machines/{id}/power", none(), 200, 200),
        (Change(Power), "POST", "/api/v1/machines/{id}/power", s(r#"{"action":"cycle"}"#), 200, 423),
        (Change(Power), "PUT", "/api/v1/machines/{id}/controller", s(controller), 200, 423),
        (Change(Power), "DELETE", "/api/v1/machines/{id}/controller", none(), 200, 200),
        (Change(Power), "POST", "/api/v1/machines/{id}/controller/certificate", none(), 200, 200),
        (Change(Power), "PUT", "/api/v1/machines/{id}/controller/certificate", s(r#"{"fingerprint":"ab"}"#), 200, 200),
        (Change(Approve), "POST", "/api/v1/approve", s(approve), 200, 423),
        (Change(Approve), "POST", "/api/v1/enrollments/{id}/approve", s(approve), 200, 423),
        (Change(Approve), "POST", "/api/v1/enrollments/{id}/deny", s(r#"{"reason":"x"}"#), 200, 423),
        (Change(Approve), "POST", "/api/v1/deny-address", s(r#"{"address":"10.44.0.9"}"#), 200, 200),
        (Fresh(Approve), "POST", "/api/v1/enrollments/{id}/revoke", s(r#"{"reason":"x"}"#), 409, 423),
        (Read, "GET", "/api/v1/site", none(), 200, 200),
        (Change(Administer), "POST", "/api/v1/site/export", passphrase(r#""recipient":"age1x","#), 200, 200),
        (Change(Administer), "POST", "/api/v1/site/import", passphrase(r#""file":"x","pin":"y","#), 200, 200),
        (Fresh(Administer), "POST", "/api/v1/site/promote", s(r#"{"name":"lab.lan"}"#), 200, 200),
        (Change(Administer), "PUT", "/api/v1/site/place", s(place), 200, 200),
        (Change(Administer), "DELETE", "/api/v1/site/place", none(), 200, 200),
        (Change(Administer), "POST", "/api/v1/site/drill", passphrase(""), 409, 409),
        (Change(Administer), "POST", "/api/v1/site/stop", none(), 200, 200),
        (Change(Administer), "POST", "/api/v1/seal", none(), 200, 200),
        (Read, "GET", "/api/v1/capsules/{name}", none(), 200, 200),
        (Change(Administer), "PUT", "/api/v1/capsules/{name}", s("defg"), 200, 200),
        (Change(Administer), "DELETE", "/api/v1/capsules/{name}", none(), 200, 200),
    ]
}

/// One row for each method of each route, where HEAD is what GET is.
pub(super) fn rows() -> Vec<Row> {
    let mut all = [
        page_rows(),
        machines_rows(),
        site_page_rows(),
        image_rows(),
        json_rows(),
        people_rows(),
        inventory_rows(),
        super::plan_rows::rows(),
        super::countersign_rows::rows(),
        desk::rows(),
    ]
    .concat();
    let heads: Vec<Row> = all.iter().filter(|r| r.1 == "GET").cloned().map(|r| (r.0, "HEAD", r.2, r.3, r.4, r.5)).collect();
    all.extend(heads);
    all
}

/// Every method of every route, and a body for each, for the tests of the description.
pub(crate) fn operations() -> Vec<(&'static str, &'static str)> {
    rows().iter().map(|r| (r.1, r.2)).collect()
}

pub(crate) fn bodies() -> Vec<(&'static str, &'static str, String)> {
    rows().into_iter().filter(|r| r.1 != "HEAD").map(|r| (r.1, r.2, r.3)).collect()
}

/// A path that the mock has, for one of the router.
pub(super) fn real(path: &str, method: &str) -> String {
    let name = if path.starts_with("/static/") { "app.css" } else { "half" };
    let machine = if path.contains("/enrollments/") { pending_id().to_string() } else { PENDING.to_string() };
    let piece = if (path, method) == ("/api/v1/capsules/{name}", "PUT") { "?at=3&total=10" } else { "" };
    let path =
        path.replace("{id}", &machine).replace("{name}", name).replace("{token}", "0a1b2c3d").replace("{*chapter}", "glossary");
    format!("{path}{piece}")
}

/// The paths of all routes, for the test that the machines' side has none of them.
pub(crate) fn paths() -> Vec<String> {
    routes().iter().map(|(path, _)| real(path, "GET")).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Has no valid session.
    Stranger,
    /// Has a session, and a missing or wrong token.
    NoProof,
    /// Has everything, but another site sent the request.
    Foreign,
    Operator,
    /// While the seed is sealed.
    Sealed,
}

struct Visitor {
    name: &'static str,
    who: Who,
    headers: Vec<(&'static str, String)>,
    /// In the field or the header, wherever the route has it.
    token: String,
}

fn visitors() -> Vec<Visitor> {
    let own = csrf(TOKEN);
    let visitor = |name, who, token: &str, headers: &[(&'static str, &str)]| {
        let headers = headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        Visitor { name, who, headers, token: token.to_owned() }
    };
    let cookie = cookie();
    let session = ("cookie", cookie.as_str());
    let bearer = format!("Bearer {TOKEN}");
    let with = |more: &[(&'static str, &'static str)]| {
        let mut headers = vec![(session.0, session.1.to_owned())];
        headers.extend(more.iter().map(|(n, v)| (*n, (*v).to_owned())));
        headers
    };
    let foreign = |name, more: &[(&'static str, &'static str)]| Visitor {
        name,
        who: Who::Foreign,
        headers: with(more),
        token: csrf(TOKEN),
    };
    vec![
        visitor("no cookie", Who::Stranger, &own, &[]),
        visitor("a cookie of no session", Who::Stranger, &own, &[("cookie", "kubedos_session=ffffffffffffffffffffffffffffffff")]),
        visitor("a garbage cookie", Who::Stranger, &own, &[("cookie", "kubedos_session=<script>; kubedos_session=")]),
        visitor("a bad bearer token beside a cookie", Who::Stranger, &own, &[("authorization", "Bearer nope"), session]),
        visitor("no CSRF token", Who::NoProof, "", &[session]),
        visitor("the CSRF token of another session", Who::NoProof, &csrf("another session"), &[session]),
        visitor("half a CSRF token", Who::NoProof, &own[..32], &[session]),
        foreign("a foreign Origin", &[("origin", "https://evil.example"), ("host", "seed")]),
        foreign("Origin: null", &[("origin", "null"), ("host", "seed")]),
        foreign("another site", &[("sec-fetch-site", "cross-site")]),
        foreign("another port", &[("sec-fetch-site", "same-site"), ("origin", "http://seed"), ("host", "seed")]),
        visitor("an operator", Who::Operator, &own, &[session]),
        visitor("an operator's page", Who::Operator, &own, &[session, ("origin", "http://seed"), ("host", "seed")]),
        visitor("an operator's program", Who::Operator, &own, &[("authorization", &bearer)]),
        visitor("an operator of a sealed seed", Who::Sealed, &own, &[session]),
    ]
}

impl Visitor {
    async fn ask(&self, router: &Router, method: &str, path: &str, body: &str) -> Answer {
        let kind = if path.starts_with("/api/") { JSON } else { FORM };
        let mut headers: Vec<(&str, &str)> = self.headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        headers.push(kind);
        // Of the settings; no other route reads it.
        headers.push(("if-match", "*"));
        if !self.token.is_empty() {
            headers.push(("x-csrf-token", &self.token));
        }
        let own = csrf(TOKEN);
        let field = if self.token.is_empty() { String::new() } else { format!("csrf={}&", self.token) };
        ask(router, method, path, &headers, body.replace(&format!("csrf={own}&"), &field)).await
    }

    /// The status, and whether something may change, for a row that is reached.
    fn expects(&self, row: &Row, path: &str) -> (u16, bool) {
        let (guard, _, _, _, inside, sealed) = row;
        let machine_readable =
            path.starts_with("/api/") || ["/capsules/", "/outputs/"].iter().any(|p| path.starts_with(p)) || path == "/events";
        let outside = if machine_readable || path.ends_with(".pcapng") { 401 } else { 303 };
        match (self.who, guard) {
            (Who::Foreign, Enter(_) | Own(_)) | (Who::Foreign | Who::NoProof, Change(_) | Fresh(_)) => (403, false),
            (Who::Stranger, Open(status) | Own(status)) => (*status, false),
            (Who::Stranger, Enter(status)) => (*status, true),
            (Who::Stranger, _) => (outside, false),
            (Who::Sealed, _) => (*sealed, guard.changes() || matches!(guard, Enter(_))),
            _ => (*inside, guard.changes() || matches!(guard, Enter(_))),
        }
    }
}

fn looks_right(what: &str, path: &str, method: &str, answer: &Answer) {
    assert_eq!(answer.header("x-request-id").len(), 16, "{what}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{what}");
    if method == "HEAD" {
        assert!(answer.bytes.is_empty(), "{what}");
    } else if answer.status.as_u16() >= 400 && path.starts_with("/api/") {
        assert_eq!(answer.json()["requestId"], answer.header("x-request-id"), "{what}");
    }
    if !path.starts_with("/static/") {
        assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    }
}

#[tokio::test]
async fn every_route_with_every_visitor() {
    for row in rows() {
        let (guard, method, pattern, body, ..) = &row;
        let path = real(pattern, method);
        for visitor in visitors() {
            let what = format!("{}: {method} {path}", visitor.name);
            let (mock, router) = site("");
            mock.state().overview.sealed = visitor.who == Who::Sealed;
            let answer = visitor.ask(&router, method, &path, body).await;
            let (status, changes) = visitor.expects(&row, pattern);
            assert_eq!(answer.status, status, "{what}: {}", answer.text());
            let saw = mock.state().changes.clone();
            assert_eq!(!saw.is_empty(), changes, "{what}: {guard:?}, but the daemon saw {saw:?}");
            if visitor.who == Who::Stranger && status == 303 && !matches!(guard, Open(_) | Own(_) | Enter(_)) {
                assert!(answer.header("location").starts_with("/login"), "{what}");
            }
            looks_right(&what, &path, method, &answer);
        }
    }
}

/// The table is complete: whatever the router has is in it, and what is not in it gets a 405 from every visitor.
#[tokio::test]
async fn the_table_has_every_method_of_every_route() {
    let rows = rows();
    let (_, router) = site("");
    let mut seen = 0;
    for (pattern, _) in routes() {
        for method in METHODS {
            let path = real(pattern, method);
            if rows.iter().any(|r| (r.1, r.2) == (method, pattern)) {
                seen += 1;
                continue;
            }
            for visitor in visitors() {
                let what = format!("{}: {method} {pattern}", visitor.name);
                let answer = visitor.ask(&router, method, &path, "").await;
                assert_eq!(answer.status, 405, "{what} is a route that the table does not have");
                looks_right(&what, &path, method, &answer);
            }
        }
    }
    assert_eq!(seen, rows.len(), "a row of the table is no route, or is there twice");
}

#[tokio::test]
async fn json_is_sent_as_json() {
    for (_, method, pattern, body, ..) in rows().iter().filter(|r| r.0.changes() && r.3.starts_with('{')) {
        let (_, router) = site("");
        let (cookie, token) = (cookie(), csrf(TOKEN));
        let headers = [("cookie", cookie.as_str()), ("x-csrf-token", token.as_str()), ("content-type", "text/plain")];
        let answer = ask(&router, method, &real(pattern, method), &headers, body.clone()).await;
        assert_eq!(answer.status, 415, "{method} {pattern}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let (_, router) = site("");
    let (cookie, token) = (cookie(), csrf(TOKEN));
    let session = [("cookie", cookie.as_str()), ("x-csrf-token", token.as_str()), JSON];
    for (method, path, body, status) in [
        ("GET", "/machines/99", "", 404),
        ("GET", "/machines/x", "", 404),
        ("GET", "/static/api.rs", "", 404),
        ("GET", "/api/v1/machines/99", "", 404),
        ("GET", "/api/v1/machines/99/packets.pcapng", "", 404),
        ("GET", "/api/v1/events?after=x", "", 400),
        ("PUT", "/api/v1/capsules/half?at=4&total=10", "", 409),
        ("PUT", "/api/v1/capsules/half?at=11&total=10", "", 400),
        ("DELETE", "/api/v1/capsules/nothing", "", 404),
        ("GET", "/boot/vmlinuz", "", 404),
        ("GET", "/darksite/current/", "", 404),
        ("GET", "/nothing", "", 404),
    ] {
        assert_eq!(ask(&router, method, path, &session, body).await.status, status, "{method} {path}");
    }
    for path in ["/machines/99", "/machines/x"] {
        assert!(get(&router, path, &[]).await.header("location").starts_with("/login"), "{path} is not told from others");
    }
}
