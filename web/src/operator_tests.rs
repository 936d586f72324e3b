//! Every route of the operator's side, with every kind of visitor.

use crate::auth::csrf;
use crate::client_tests::{FORM, Headers, JSON, ask, cookie, get, site};
use crate::limits::MAX_FORM;
use crate::mock::{CODE, PASSWORD, SETUP_CODE, TOKEN};
use crate::mock_data::{PENDING, pending_id};

fn form_token() -> String {
    csrf(TOKEN)
}

fn approve_form(code: &str) -> String {
    let id = pending_id();
    format!("csrf={}&enrollment={id}&code={code}&role=base&hostname=n-9&disk=nvme0n1", form_token())
}

const APPROVE: &str = r#"{"code":"123456","role":"base","hostname":"n-9","disk":"nvme0n1"}"#;

const PLACE: &str = r#"{"subnet":"10.9.0.0/24","seed":"10.9.0.1","first":"10.9.0.2","last":"10.9.0.9"}"#;
const CONTROLLER: &str = "kind=redfish&address=https%3A%2F%2F10.44.9.1&user=admin&password=x";
const SET: &str = r#"{"kind":"ipmi","address":"10.44.9.1","user":"admin","password":"x"}"#;

/// The routes of the site as a whole, as [`routes`].
fn site_routes() -> Vec<Route> {
    let api = |rest: &str| format!("/api/v1/{rest}");
    let s = String::from;
    let token = form_token();
    vec![
        ("GET", s("/site"), s(""), 303, 200, 200),
        ("POST", s("/site/export"), format!("csrf={token}&recipient=age1x&passphrase={PASSWORD}"), 303, 303, 303),
        ("POST", s("/site/import"), format!("csrf={token}&file=x&pin=y&passphrase={PASSWORD}"), 303, 303, 303),
        ("POST", s("/site/promote"), format!("csrf={token}&word=lab.lan"), 303, 303, 303),
        ("POST", s("/site/drill"), format!("csrf={token}&word={PASSWORD}"), 303, 409, 409),
        ("POST", s("/site/place"), format!("csrf={token}&subnet=10.9.0.0/24"), 303, 303, 303),
        ("POST", s("/site/stop"), format!("csrf={token}"), 303, 303, 303),
        ("POST", s("/site/remove"), format!("csrf={token}&word=nothing"), 303, 404, 404),
        ("GET", s("/capsules/nothing"), s(""), 401, 404, 404),
        ("GET", s("/static/upload.js"), s(""), 200, 200, 200),
        ("GET", api("site"), s(""), 401, 200, 200),
        ("POST", api("site/export"), format!(r#"{{"recipient":"age1x","passphrase":"{PASSWORD}"}}"#), 401, 200, 200),
        ("POST", api("site/import"), format!(r#"{{"file":"x","pin":"y","passphrase":"{PASSWORD}"}}"#), 401, 200, 200),
        ("POST", api("site/promote"), s(r#"{"name":"lab.lan"}"#), 401, 200, 200),
        ("POST", api("site/drill"), format!(r#"{{"passphrase":"{PASSWORD}"}}"#), 401, 409, 409),
        ("POST", api("site/stop"), s(""), 401, 200, 200),
        ("PUT", api("site/place"), s(PLACE), 401, 200, 200),
        ("DELETE", api("site/place"), s(""), 401, 200, 200),
        ("GET", api("capsules/half"), s(""), 401, 200, 200),
        ("PUT", api("capsules/half?at=3&total=10"), s(""), 401, 200, 200),
        ("PUT", api("capsules/half?at=4&total=10"), s(""), 401, 409, 409),
        ("PUT", api("capsules/half?at=11&total=10"), s(""), 401, 400, 400),
        ("DELETE", api("capsules/nothing"), s(""), 401, 404, 404),
    ]
}

/// (method, path, body, status without a session, with one, with one while sealed)
type Route = (&'static str, String, String, u16, u16, u16);

pub fn routes() -> Vec<Route> {
    let id = pending_id();
    let machine = |rest: &str| format!("/machines/{PENDING}{rest}");
    let api = |rest: &str| format!("/api/v1/{rest}");
    let s = String::from;
    let token = form_token();
    let mut all = vec![
        ("GET", s("/"), s(""), 303, 200, 200),
        ("GET", s("/setup"), s(""), 303, 303, 303),
        ("GET", s("/login"), s(""), 200, 303, 303),
        ("GET", s("/unseal"), s(""), 303, 303, 200),
        ("GET", machine(""), s(""), 303, 200, 200),
        ("GET", s("/machines/99"), s(""), 303, 404, 404),
        ("GET", s("/machines/x"), s(""), 303, 404, 404),
        ("GET", s("/static/app.css"), s(""), 200, 200, 200),
        ("GET", s("/static/app.js"), s(""), 200, 200, 200),
        ("GET", s("/static/icon.svg"), s(""), 200, 200, 200),
        ("GET", s("/static/api.rs"), s(""), 404, 404, 404),
        ("GET", s("/ca.pem"), s(""), 200, 200, 200),
        ("POST", s("/login"), format!("user=ada&password={PASSWORD}"), 303, 303, 303),
        ("POST", s("/setup"), format!("code={SETUP_CODE}&user=a&password=p&password2=p"), 409, 409, 409),
        ("POST", s("/logout"), format!("csrf={token}"), 303, 303, 303),
        ("POST", s("/unseal"), format!("csrf={token}&passphrase={PASSWORD}"), 303, 303, 303),
        ("POST", machine("/approve"), approve_form(CODE), 303, 303, 423),
        ("POST", machine("/deny"), format!("csrf={token}&enrollment={id}&reason=x"), 303, 303, 423),
        ("POST", machine("/revoke"), format!("csrf={token}&enrollment={id}&reason=x"), 303, 409, 423),
        ("GET", machine("/packets.pcapng"), s(""), 401, 200, 200),
        ("GET", machine("/power"), s(""), 303, 200, 200),
        ("POST", machine("/power"), format!("csrf={token}&action=on"), 303, 200, 423),
        ("POST", machine("/power"), format!("csrf={token}&action=off"), 303, 429, 423),
        ("POST", machine("/controller"), format!("csrf={token}&{CONTROLLER}"), 303, 303, 423),
        ("POST", machine("/controller/forget"), format!("csrf={token}"), 303, 303, 303),
        ("GET", s("/metrics"), s(""), 403, 403, 403),
        ("GET", s("/packages"), s(""), 303, 200, 200),
        ("GET", s("/clock"), s(""), 303, 200, 200),
        ("POST", s("/clock"), format!("csrf={token}&take=typed&time=2027-01-01T00:00:00Z"), 303, 303, 303),
        ("GET", api("clock"), s(""), 401, 200, 200),
        ("POST", api("clock"), s(r#"{"toMs":1798761600000}"#), 401, 200, 200),
        ("GET", api("status"), s(""), 401, 200, 200),
        ("GET", api("machines"), s(""), 401, 200, 200),
        ("GET", api("machines/2"), s(""), 401, 200, 200),
        ("GET", api("machines/99"), s(""), 401, 404, 404),
        ("GET", api("machines/2/packets.pcapng"), s(""), 401, 200, 200),
        ("GET", api("machines/99/packets.pcapng"), s(""), 401, 404, 404),
        ("GET", api("machines/2/power"), s(""), 401, 200, 200),
        ("POST", api("machines/2/power"), s(r#"{"action":"cycle"}"#), 401, 200, 423),
        ("PUT", api("machines/2/controller"), s(SET), 401, 200, 423),
        ("DELETE", api("machines/2/controller"), s(""), 401, 200, 200),
        ("GET", api("events"), s(""), 401, 200, 200),
        ("GET", api("events?after=x"), s(""), 401, 400, 400),
        ("POST", api("setup"), format!(r#"{{"code":"{SETUP_CODE}","user":"a","password":"p"}}"#), 409, 409, 409),
        ("POST", api("login"), format!(r#"{{"user":"a","password":"{PASSWORD}"}}"#), 200, 200, 200),
        ("POST", api("logout"), s(""), 401, 200, 200),
        ("POST", api("unseal"), format!(r#"{{"passphrase":"{PASSWORD}"}}"#), 401, 200, 200),
        ("POST", api(&format!("enrollments/{id}/approve")), s(APPROVE), 401, 200, 423),
        ("POST", api(&format!("enrollments/{id}/deny")), s(r#"{"reason":"x"}"#), 401, 200, 423),
        ("POST", api(&format!("enrollments/{id}/revoke")), s(r#"{"reason":"x"}"#), 401, 409, 423),
        ("GET", s("/boot/vmlinuz"), s(""), 404, 404, 404),
        ("GET", s("/darksite/current/"), s(""), 404, 404, 404),
        ("GET", s("/nothing"), s(""), 404, 404, 404),
        ("DELETE", s("/login"), s(""), 405, 405, 405),
        ("PUT", api("status"), s(""), 405, 405, 405),
    ];
    all.extend(site_routes());
    all
}

/// Who it is, the headers they send, and whether these let them in.
type Visitor<'a> = (&'a str, Vec<(&'a str, &'a str)>, bool);

#[tokio::test]
async fn every_route_with_every_visitor() {
    let (cookie, token) = (cookie(), form_token());
    let bearer = format!("Bearer {TOKEN}");
    let visitors: [Visitor<'_>; 7] = [
        ("nobody", vec![], false),
        ("bad cookie", vec![("cookie", "kubedos_session=ffffffffffffffffffffffffffffffff")], false),
        ("broken cookie", vec![("cookie", "kubedos_session=<script>; kubedos_session=")], false),
        ("bad bearer beside a good cookie", vec![("authorization", "Bearer nope"), ("cookie", &cookie)], false),
        ("session", vec![("cookie", &cookie), ("x-csrf-token", &token)], true),
        ("bearer", vec![("authorization", &bearer)], true),
        ("sealed", vec![("cookie", &cookie), ("x-csrf-token", &token)], true),
    ];
    for (method, path, body, outside, inside, when_sealed) in routes() {
        for (who, headers, known) in &visitors {
            let (mock, router) = site("");
            let sealed = *who == "sealed";
            mock.state().overview.sealed = sealed;
            let kind = if path.starts_with("/api/") { JSON } else { FORM };
            let headers: Vec<_> = headers.iter().copied().chain([kind]).collect();
            let answer = ask(&router, method, &path, &headers, body.clone()).await;
            let expected = if !known {
                outside
            } else if sealed {
                when_sealed
            } else {
                inside
            };
            assert_eq!(answer.status, expected, "{who}: {method} {path}: {}", answer.text());
            assert_eq!(answer.header("x-request-id").len(), 16, "{who}: {method} {path}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
            if expected >= 400 && path.starts_with("/api/") {
                assert_eq!(answer.json()["requestId"], answer.header("x-request-id"), "{who}: {method} {path}");
            }
            if expected == 303 && !known && path != "/login" && path != "/setup" {
                assert!(answer.header("location").starts_with("/login"), "{who}: {method} {path}");
            }
            if !path.starts_with("/static/") {
                assert_eq!(answer.header("cache-control"), "no-store", "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn what_changes_something_needs_the_token_of_the_session() {
    let (cookie, token, other) = (cookie(), form_token(), csrf("another session"));
    let changes = routes().into_iter().filter(|r| r.0 == "POST" && r.3 != r.4 || r.1 == "/logout" || r.1 == "/unseal");
    let changes: Vec<_> = changes
        .filter(|r| r.0 == "POST")
        .chain(routes().into_iter().filter(|r| r.0 == "POST" && r.1.starts_with("/machines/2/")))
        .collect();
    assert!(changes.len() >= 8);
    for (method, path, body, ..) in changes {
        let (_, router) = site("");
        let json = path.starts_with("/api/");
        let kind = if json { JSON } else { FORM };
        for bad in ["", &other, &token[..63]] {
            let body = body.replace(&token, bad);
            let answer = ask(&router, method, &path, &[("cookie", &cookie), ("x-csrf-token", bad), kind], body).await;
            assert_eq!(answer.status, 403, "{path} with {bad:?}");
        }
        let foreign = [("cookie", cookie.as_str()), ("x-csrf-token", &token), ("sec-fetch-site", "cross-site"), kind];
        assert_eq!(ask(&router, method, &path, &foreign, body.clone()).await.status, 403, "{path} from another site");
        if json && !["/api/v1/logout", "/api/v1/site/stop"].contains(&path.as_str()) {
            let plain = [("cookie", cookie.as_str()), ("x-csrf-token", &token), ("content-type", "text/plain")];
            assert_eq!(ask(&router, method, &path, &plain, body).await.status, 415, "{path} as a plain form");
        }
    }
}

#[tokio::test]
async fn setup_comes_first_and_once() {
    let (mock, router) = site("");
    mock.state().overview.setup_needed = true;
    mock.state().sessions.clear();
    for path in ["/", "/machines/2", "/unseal", "/login"] {
        assert_eq!(get(&router, path, &[]).await.header("location"), "/setup", "{path}");
    }
    let page = get(&router, "/setup", &[]).await.text();
    for id in ["code", "user", "password", "password2", "submit"] {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    for (form, status, says) in [
        ("code=one-time&user=ada&password=a&password2=b", 400, "not the same"),
        ("code=wrong&user=ada&password=a&password2=a", 403, "not the code"),
    ] {
        let answer = ask(&router, "POST", "/setup", &[FORM], form).await;
        assert_eq!(answer.status, status);
        assert!(answer.text().contains(says) && answer.text().contains("value=\"ada\""));
    }
    let done = ask(&router, "POST", "/setup", &[FORM], "code=one-time&user=ada&password=a&password2=a").await;
    assert_eq!((done.status.as_u16(), done.header("location")), (303, "/"));
    assert!(done.header("set-cookie").starts_with("kubedos_session=session-0; HttpOnly; SameSite=Strict; Path=/"));
    assert_eq!(ask(&router, "POST", "/setup", &[FORM], "code=one-time&user=eve&password=a&password2=a").await.status, 409);
}

#[tokio::test]
async fn login_and_logout() {
    let (mock, router) = site("");
    assert_eq!(get(&router, "/machines/2", &[]).await.header("location"), "/login?next=/machines/2");
    let page = get(&router, "/login?next=/machines/2", &[]).await.text();
    assert!(["user", "password", "submit"].iter().all(|id| page.contains(&format!("id=\"{id}\""))));
    let wrong = ask(&router, "POST", "/login", &[FORM], "user=ada&password=x").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text().contains("value=\"ada\"") && !wrong.headers.contains_key("set-cookie"));
    let often = ask(&router, "POST", "/login", &[FORM], "user=ada&password=too+often").await;
    assert_eq!((often.status.as_u16(), often.text().contains("wait 30 s")), (429, true));
    let form = "user=ada&password=correct+horse&next=/machines/2";
    assert_eq!(ask(&router, "POST", "/login", &[FORM], form).await.header("location"), "/machines/2");
    let form = "user=ada&password=correct+horse&next=//evil.example";
    assert_eq!(ask(&router, "POST", "/login", &[FORM], form).await.header("location"), "/");

    let answer = ask(&router, "POST", "/api/v1/login", &[JSON], r#"{"user":"a","password":"correct horse"}"#).await;
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    assert!(answer.header("set-cookie").contains(&token));
    let bearer = format!("Bearer {token}");
    let headers: Headers = &[("authorization", &bearer)];
    assert_eq!(get(&router, "/api/v1/status", headers).await.status, 200);
    let out = ask(&router, "POST", "/api/v1/logout", headers, "").await;
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(get(&router, "/api/v1/status", headers).await.status, 401);
    assert!(mock.state().callers.iter().all(|ip| ip.is_unspecified()), "no address was told");
}

#[tokio::test]
async fn a_wrong_code_keeps_what_was_typed() {
    let (mock, router) = site("");
    let cookie = cookie();
    let page = get(&router, "/machines/2", &[("cookie", &cookie)]).await.text();
    for id in ["approve-code", "approve-role", "approve-hostname", "approve-disk", "approve-submit", "state", "deny-submit"] {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    assert!(page.contains("<span id=\"state\" class=\"state wait\">Pending</span>"));
    assert!(page.contains("<option value=\"worker\" disabled>"), "no artifact, no approval");
    let form = format!("{}&replace=1", approve_form("654321"));
    let answer = ask(&router, "POST", "/machines/2/approve", &[("cookie", &cookie), FORM], form).await;
    assert_eq!(answer.status, 403);
    let page = answer.text();
    assert!(page.contains("the code is wrong") && page.contains("value=\"n-9\"") && page.contains("value=\"654321\""));
    assert!(page.contains("<option value=\"nvme0n1\" selected>") && page.contains("value=\"1\" checked"));
    assert_eq!(mock.state().machines[1].row.enrollment.as_ref().unwrap().wrong_codes, 2);

    let answer = ask(&router, "POST", "/machines/2/approve", &[("cookie", &cookie), FORM], approve_form("123+456")).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/machines/2"));
    let late = ask(&router, "POST", "/machines/2/approve", &[("cookie", &cookie), FORM], approve_form("123+456")).await;
    assert_eq!(late.status, 409);
    assert!(late.text().contains("not pending any more") && !late.text().contains("approve-submit"));
}

#[tokio::test]
async fn the_clock_is_shown_and_set() {
    let (mock, router) = site("");
    let cookie = cookie();
    let page = get(&router, "/clock", &[("cookie", &cookie)]).await.text();
    assert!(
        page.contains("2026-11-22T") && page.contains("not synchronised, stratum 8") && page.contains("-3.250 ppm"),
        "{page}"
    );
    for (form, status, says) in [
        ("take=typed&time=soon", 400, "not a time"),
        ("take=typed&time=1999-01-01T00:00:00Z", 409, "may not set"),
        ("take=browser&browser=", 400, "did not tell"),
        ("take=browser&browser=-5", 400, "did not tell"),
        ("take=browser&browser=1798761600123&time=", 303, ""),
    ] {
        let form = format!("csrf={}&{form}", form_token());
        let answer = ask(&router, "POST", "/clock", &[("cookie", &cookie), FORM], form.clone()).await;
        assert_eq!(answer.status, status, "{form}");
        assert!(answer.text().contains(says), "{form}");
    }
    assert_eq!(mock.state().overview.clock, 1_798_761_600);
    let clock = get(&router, "/api/v1/clock", &[("cookie", &cookie)]).await.json();
    assert_eq!((clock["clockMs"].as_u64(), clock["synchronised"].as_bool()), (Some(1_798_761_600_000), Some(false)));
}

#[tokio::test]
async fn shapes_of_the_json() {
    let (_, router) = site("");
    let cookie = cookie();
    let auth: Headers = &[("cookie", &cookie)];
    let status = get(&router, "/api/v1/status", auth).await.json();
    assert_eq!(
        (status["setupNeeded"].as_bool(), status["sealed"].as_bool(), status["epoch"].as_u64()),
        (Some(false), Some(false), Some(1))
    );
    let snapshots = get(&router, "/api/v1/snapshots", auth).await.json();
    assert_eq!((snapshots["snapshots"][0]["proof"].as_str(), status["proof"].as_str()), (Some("unproven"), Some("unproven")));
    assert!(get(&router, "/", auth).await.text().contains("id=\"proof\">unproven<"));
    assert_eq!(snapshots["snapshots"][1]["roles"][1]["why"], "E: no");
    assert_eq!((snapshots["damaged"].as_array().unwrap().len(), snapshots["extras"][0]["kind"].as_str()), (1, Some("image")));
    let page = get(&router, "/packages", auth).await.text();
    for said in [">unproven<", ">failed<", "base (184)", "E: no", "is damaged", "registry.k8s.io/pause"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let machines = get(&router, "/api/v1/machines", auth).await.json();
    assert_eq!(machines["machines"][2]["enrollment"]["state"], "Installing");
    assert_eq!(machines["machines"][2]["enrollment"]["progress"]["rate"], 61_400_000);
    let machine = get(&router, "/api/v1/machines/2", auth).await.json();
    assert_eq!(machine["facts"]["disks"][0]["name"], "nvme0n1");
    let events = get(&router, "/api/v1/events?after=3&limit=2", auth).await.json();
    let ids: Vec<_> = events["events"].as_array().unwrap().iter().map(|e| e["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [4, 5]);
    let all = get(&router, "/api/v1/events?limit=0", auth).await.json();
    assert_eq!(all["events"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let (_, router) = site("");
    let body = |len: usize| format!("user=ada&password={}", "x".repeat(len - "user=ada&password=".len()));
    assert_eq!(ask(&router, "POST", "/login", &[FORM], body(MAX_FORM)).await.status, 401);
    assert_eq!(ask(&router, "POST", "/login", &[FORM], body(MAX_FORM + 1)).await.status, 413);
    let json = format!("{{\"user\":\"{}\",\"password\":\"\"}}", "x".repeat(MAX_FORM));
    assert_eq!(ask(&router, "POST", "/api/v1/login", &[JSON], json).await.status, 413);
}

#[tokio::test]
async fn inner_errors_stay_inside() {
    let (mock, router) = site("");
    mock.state().broken = true;
    let cookie = cookie();
    for path in ["/", "/login", "/machines/2", "/api/v1/status", "/api/v1/machines"] {
        let answer = get(&router, path, &[("cookie", &cookie)]).await;
        assert_eq!(answer.status, 500, "{path}");
        let text = answer.text();
        assert!(
            !text.contains("SQL") && text.contains("internal error") && text.contains(answer.header("x-request-id")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn scripts_run_by_the_nonce_of_this_answer_only() {
    let (_, router) = site("");
    let cookie = cookie();
    let mut seen = Vec::new();
    for path in ["/", "/", "/machines/2"] {
        let answer = get(&router, path, &[("cookie", &cookie)]).await;
        let page = answer.text();
        let nonce = page.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        assert!(answer.header("content-security-policy").contains(&format!("script-src 'nonce-{nonce}'")));
        assert!(!page.contains(" style=") && !page.contains(" onclick"), "the policy allows no inline code");
        seen.push(nonce);
    }
    seen.dedup();
    assert_eq!(seen.len(), 3, "{seen:?}");
}
