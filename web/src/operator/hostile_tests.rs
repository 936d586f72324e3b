//! Machines and logs that want to draw on the page.

use futures_util::StreamExt as _;
use tower::ServiceExt as _;

use crate::testing::client::{FORM, ask, cookie, get, site};
use crate::testing::data::{PENDING, pending_id};
use crate::text::is_tricky;

/// Put into every text of the mock site.
const SPICE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;\u{202e}\u{2066}\u{200f}\u{feff}\u{0}\u{1b}[2J\r\n{{7*7}}javascript:";

fn check(what: &str, text: &str) {
    assert!(!text.contains("<script>alert") && !text.contains("<img src=x"), "{what}: a tag got through");
    let odd = |c: &char| is_tricky(*c) && *c != '\n';
    assert_eq!(text.chars().find(odd), None, "{what}: a hidden character got through");
}

#[tokio::test]
async fn no_page_shows_it_raw() {
    let (mock, router) = site(SPICE);
    let cookie = cookie();
    for (sealed, language) in [(false, "en"), (true, "en"), (false, "de"), (true, "de")] {
        mock.state().overview.sealed = sealed;
        for path in [
            "/",
            "/site",
            "/packages",
            "/images",
            "/platform",
            "/charts",
            "/mesh",
            "/people",
            "/plan",
            "/join-tokens",
            "/countersign",
            "/audit",
            "/audit/4",
            "/jobs",
            "/dhcp",
            "/planes",
            "/settings",
            "/about",
            "/docs/glossary",
            "/machines/1",
            "/machines/2",
            "/machines/3",
            "/machines/4",
            "/machines/5",
            "/machines/5/power",
            "/machines",
            "/machines/sheet",
            "/machines/approve",
            "/machines/4/revoke",
            "/machines/5/forget",
            "/unseal",
            "/machines/<script>alert",
        ] {
            let path = path.replace('<', "%3C").replace('>', "%3E");
            let answer = get(&router, &path, &[("cookie", &cookie), ("accept-language", language), ("host", "seed")]).await;
            check(&path, &answer.text());
            if answer.status == 200 {
                assert!(answer.text().contains("&#60;script&#62;alert"), "{path}: it is there, as text");
                let own = if ["/site", "/people"].contains(&path.as_str()) { 2 } else { 1 };
                assert_eq!(answer.text().matches("<script").count(), own, "{path}: only our own scripts");
            }
        }
    }
}

#[tokio::test]
async fn what_an_operator_types_comes_back_as_text() {
    let (_, router) = site("");
    let cookie = cookie();
    let evil = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AE";
    let login = ask(&router, "POST", "/login", &[FORM], format!("user={evil}&password=x&next={evil}")).await;
    check("login", &login.text());
    let token = crate::auth::csrf(crate::testing::TOKEN);
    let form = format!("csrf={token}&enrollment={}&code={evil}&role={evil}&hostname={evil}&disk={evil}", pending_id());
    let answer = ask(&router, "POST", "/machines/2/approve", &[("cookie", &cookie), FORM], form).await;
    assert_eq!(answer.status, 400);
    check("approve", &answer.text());
    assert!(answer.text().contains("value=\"&#34;&#62;&#60;script&#62;"));
    for act in ["check", "set"] {
        let plan =
            ask(&router, "POST", "/plan", &[("cookie", &cookie), FORM], format!("csrf={token}&act={act}&text={evil}")).await;
        check("plan", &plan.text());
        assert!(plan.text().contains("&#34;&#62;&#60;script&#62;"), "{act}");
    }
}

/// PEERS.md, hole 13: what DHCP says of itself, the diagnosis and a controller's words are text like any other.
#[tokio::test]
async fn hole_13_facts_of_packets_and_words_of_controllers_are_text() {
    let (_, router) = site(SPICE);
    let cookie = cookie();
    let token = crate::auth::csrf(crate::testing::TOKEN);
    let page = get(&router, "/machines/1", &[("cookie", &cookie)]).await.text();
    for shown in [
        "PXEClient:Arch:00007&#60;script",
        "localhost&#60;script",
        "never fetched its loader.&#60;script",
        "check the switch port&#60;",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    check("machine", &page);
    let form = format!("csrf={token}&action=on");
    let done = ask(&router, "POST", "/machines/1/power", &[("cookie", &cookie), FORM], form).await;
    assert_eq!(done.status, 200);
    check("power", &done.text());
    let power = get(&router, "/machines/1/power", &[("cookie", &cookie)]).await.text();
    check("power", &power);
    assert!(power.contains("https://10.44.9.1&#60;script") && !power.contains("type=\"password\" value"));
    // A certificate that waits is shown, with its weakness and the button that confirms it.
    for part in ["EF:01&#60;script", "short&#60;script", "action=\"/machines/1/controller/trust\"", "id=\"controller-trust\""] {
        assert!(power.contains(part), "{part}");
    }
}

#[tokio::test]
async fn json_carries_it_exactly_and_unseen() {
    let (_, router) = site(SPICE);
    let cookie = cookie();
    for (path, pointer, plain) in [
        ("/api/v1/status", "/site", "lab.lan"),
        ("/api/v1/machines", "/machines/3/enrollment/hostname", "db-1.lab.lan"),
        ("/api/v1/machines/2", "/facts/serial", "A1B2C3"),
        ("/api/v1/machines/2", "/facts/disks/0/model", "Samsung SSD 980 PRO"),
        ("/api/v1/events", "/events/0/kind", "dhcp.discover"),
    ] {
        let answer = get(&router, path, &[("cookie", &cookie)]).await;
        check(path, &answer.text());
        assert!(!answer.text().contains('<'), "{path}");
        assert_eq!(answer.json().pointer(pointer).unwrap(), &format!("{plain}{SPICE}"), "{path}");
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn the_live_feed_tells_every_event_once_and_ends_with_the_session() {
    let (mock, router) = site(SPICE);
    let request = axum::http::Request::get("/events").header("cookie", cookie()).header("last-event-id", "11");
    let response = router.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    mock.push("test", "a\r\nevent: log\r\ndata: {}", None);
    let mut text = String::new();
    for _ in 0..3 {
        text.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
    }
    check("events", &text);
    let ids: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("id: ").or(l.strip_prefix("id:"))).collect();
    assert_eq!(ids, ["12", "13", "14"], "{text}");
    assert_eq!(text.lines().filter(|l| l.starts_with("data:")).count(), 3);
    mock.state().sessions.clear();
    mock.push("test", "nobody may see this", None);
    assert!(stream.next().await.is_none());
}

/// Hole 7: the page warns of firmware with known holes in its network stack.
#[tokio::test]
async fn hole_07_old_firmware_is_told_on_its_machines_page() {
    let (_, router) = site("");
    let page = get(&router, &format!("/machines/{PENDING}"), &[("cookie", &cookie())]).await;
    let text = page.text();
    assert!(text.contains("UEFI of 01/02/2020") && text.contains("PixieFail"), "{text}");
}
