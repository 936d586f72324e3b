//! The operators' pages and JSON, as a browser and a program use them.

use cluster_seed::enrollment::EnrollmentState;

use crate::api::MachineDetail;
use crate::auth::csrf;
use crate::limits::MAX_FORM;
use crate::testing::TOKEN;
use crate::testing::client::{FORM, Headers, JSON, ask, cookie, get, site};
use crate::testing::data::pending_id;

fn form_token() -> String {
    csrf(TOKEN)
}

fn approve_form(code: &str) -> String {
    let id = pending_id();
    format!("csrf={}&enrollment={id}&code={code}&role=base&hostname=n-9&disk=nvme0n1", form_token())
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
        ("code=one-time&user=ada&password=a&password2=b", 400, "do not match"),
        ("code=wrong&user=ada&password=a&password2=a", 403, "wrong set-up code"),
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
    assert!(mock.state().callers.iter().all(|ip| ip.is_unspecified()), "there is no listener that knows an address");
}

#[tokio::test]
async fn a_wrong_code_keeps_what_was_typed() {
    let (mock, router) = site("");
    let cookie = cookie();
    let page = get(&router, "/machines/2", &[("cookie", &cookie)]).await.text();
    for id in ["approve-code", "approve-role", "approve-hostname", "approve-disk", "approve-submit", "state", "deny-submit"] {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    assert!(page.contains("<span id=\"state\" class=\"state wait\"><span aria-hidden=\"true\">\u{25d4}</span> Pending</span>"));
    assert!(page.contains("<option value=\"worker\" disabled>"), "no artifact, no approval");
    let form = format!("{}&replace=1", approve_form("13-654-321"));
    let answer = ask(&router, "POST", "/machines/2/approve", &[("cookie", &cookie), FORM], form).await;
    assert_eq!(answer.status, 400);
    let page = answer.text();
    let kept = page.contains("value=\"n-9\"") && page.contains("value=\"13-654-321\"");
    assert!(kept && page.contains("another machine"), "{page}");
    assert!(page.contains("<option value=\"nvme0n1\" selected>") && page.contains("value=\"1\" checked"));
    assert_eq!(mock.state().machines[1].row.enrollment.as_ref().unwrap().wrong_codes, 1, "it costs the machine nothing");

    let answer = ask(&router, "POST", "/machines/2/approve", &[("cookie", &cookie), FORM], approve_form("12+345+678")).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/machines/2"));
    let page = get(&router, "/machines/2", &[("cookie", &cookie)]).await.text();
    assert!(page.contains("Checking the code with the machine") && !page.contains("approve-submit"));
    let late = ask(&router, "POST", "/machines/2/approve", &[("cookie", &cookie), FORM], approve_form("12+345+678")).await;
    assert_eq!(late.status, 409);
    assert!(late.text().contains("no longer pending") && !late.text().contains("approve-submit"));
}

#[tokio::test]
async fn the_approval_page_says_what_booting_from_the_network_cannot_promise() {
    let (_mock, router) = site("");
    let page = get(&router, "/machines/2", &[("cookie", &cookie())]).await.text();
    let (_, help) = page.split_once("<details id=\"boot-help\">").unwrap();
    let (help, _) = help.split_once("</details>").unwrap();
    for said in [
        "does not prove which program the machine runs",
        "does not authenticate its initramfs and command line",
        "Secure Boot covers shim, GRUB, kernel and kernel modules only",
        "<code>seedd image build --target enroll-iso</code>",
    ] {
        assert!(help.contains(said), "{said}: {help}");
    }
}

fn comes_back_with_another_code(detail: &mut MachineDetail) {
    let mut again = detail.row.enrollment.clone().unwrap();
    detail.earlier.insert(0, again.clone());
    (again.state, again.number, again.reason) = (EnrollmentState::Pending, Some(13), None);
    detail.waiting[0].enrollment = again.clone();
    detail.row.enrollment = Some(again);
}

#[tokio::test]
async fn a_wrong_code_is_told_beside_the_next_one() {
    let (mock, router) = site("");
    let cookie = cookie();
    let answer = ask(&router, "POST", "/machines/2/approve", &[("cookie", &cookie), FORM], approve_form("12-000-000")).await;
    assert_eq!(answer.status, 303);
    let page = get(&router, "/machines/2", &[("cookie", &cookie)]).await.text();
    assert!(page.contains("the code was wrong") && !page.contains("was-wrong"), "{page}");
    comes_back_with_another_code(&mut mock.state().machines[1]);
    let page = get(&router, "/machines/2", &[("cookie", &cookie)]).await.text();
    assert!(page.contains("id=\"was-wrong\"") && page.contains("<code id=\"code-number\">13-</code>"), "{page}");
}

#[tokio::test]
async fn a_code_leads_to_its_machine_and_stays_out_of_the_address() {
    let (_, router) = site("");
    let cookie = cookie();
    let headers: Headers = &[("cookie", &cookie), FORM];
    assert!(get(&router, "/", &[("cookie", &cookie)]).await.text().contains("id=\"find-code\""));
    let found = ask(&router, "POST", "/approve", headers, format!("csrf={}&code=12+345-678", form_token())).await;
    assert_eq!((found.status.as_u16(), found.headers.contains_key("location")), (200, false));
    let page = found.text();
    assert!(page.contains("action=\"/machines/2/approve\"") && page.contains("value=\"12 345-678\""), "{page}");
    assert!(page.contains(&format!("name=\"enrollment\" value=\"{}\"", pending_id())), "{page}");
    assert!(page.contains("data-page=\"/machines/2\""), "the page stays live although its address is the form's");
    for (code, says) in [("99-345-678", "no machine is waiting"), ("12-345", "not a pairing code"), ("", "not a pairing code")] {
        let answer = ask(&router, "POST", "/approve", headers, format!("csrf={}&code={code}", form_token())).await;
        assert_eq!(answer.status, 400, "{code}");
        let page = answer.text();
        assert!(page.contains(says) && page.contains(&format!("name=\"code\" class=\"code\" value=\"{code}\"")), "{page}");
    }
    assert_eq!(get(&router, "/approve", &[("cookie", &cookie)]).await.header("location"), "/");
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
        ("take=typed&time=soon", 400, "invalid time"),
        ("take=typed&time=1999-01-01T00:00:00Z", 409, "may not set"),
        ("take=browser&browser=", 400, "sent no time"),
        ("take=browser&browser=-5", 400, "sent no time"),
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
