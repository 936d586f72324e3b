//! The audit log, jobs, DHCP, settings, about and the documents.

use crate::auth::csrf;
use crate::testing::TOKEN;
use crate::testing::client::{Answer, FORM, JSON, ask, cookie, get, site};
use crate::testing::desk::{BAD, TAG};

async fn page(path: &str) -> String {
    let (_, router) = site("");
    let answer = get(&router, path, &[("cookie", &cookie())]).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

#[tokio::test]
async fn the_audit_page_shows_filters_pages_and_the_proof() {
    let text = page("/audit?kind=install&q=%3D&follow=1").await;
    for part in
        ["value=\"install\"", "value=\"=\"", "Stop following", "signed checkpoints covers events up to", "No event matches"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // The page fetches itself with its search, and exports what it shows.
    assert!(text.contains("data-page=\"/audit?kind=install&#38;q=%3D&#38;follow=1\""), "{text}");
    assert!(text.contains("/audit/export?kind=install&#38;q=%3D&amp;format=syslog"), "{text}");
    let all = page("/audit").await;
    assert!(all.contains("href=\"/machines/4\">db-1.lab.lan</a>") && all.contains("id=\"event-13\""), "{all}");
    assert!(!all.contains("id=\"events\" data-live"), "it does not move by itself");
    assert!(page("/audit?before=5").await.contains("id=\"event-4\""));
}

#[tokio::test]
async fn a_search_that_cannot_be_read_comes_back_with_its_reason() {
    let (_, router) = site("");
    for (search, said) in [("since=yesterday", "since is not a valid time"), ("machine=nobody", "no machine is known as nobody")]
    {
        let answer = get(&router, &format!("/audit?{search}"), &[("cookie", &cookie())]).await;
        assert_eq!(answer.status, 400);
        let typed = search.split_once('=').unwrap().1;
        let text = answer.text();
        assert!(text.contains(said) && text.contains(&format!("value=\"{typed}\"")), "{text}");
    }
    let api = get(&router, "/api/v1/audit?until=x", &[("cookie", &cookie())]).await;
    assert_eq!((api.status.as_u16(), api.json()["status"].as_u64()), (400, Some(400)));
}

#[tokio::test]
async fn one_event_is_shown_with_its_hashes_and_its_checkpoint() {
    let text = page("/audit/4").await;
    for part in ["ab".repeat(32), "cd".repeat(32), "over events up to 11".to_owned(), "href=\"/audit/5\"".to_owned()] {
        assert!(text.contains(&part), "{part}\n{text}");
    }
}

#[tokio::test]
async fn an_export_has_every_event_in_both_formats() {
    let (_, router) = site("");
    for (path, kind, line) in [
        ("/audit/export?format=jsonl", "application/x-ndjson", "{\"id\":13}"),
        ("/api/v1/audit/export?format=syslog", "text/plain; charset=utf-8", "[event@32473 id=\"13\"]"),
    ] {
        let answer = get(&router, path, &[("cookie", &cookie())]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, kind));
        assert!(answer.header("content-disposition").starts_with("attachment; filename=\"events."));
        let text = answer.text();
        assert_eq!(text.lines().count(), 13, "{text}");
        assert!(text.lines().last().unwrap().ends_with(line), "{text}");
    }
    let some = get(&router, "/audit/export?kind=install", &[("cookie", &cookie())]).await.text();
    assert_eq!(some.lines().count(), 3);
}

#[tokio::test]
async fn jobs_show_progress_time_left_steps_and_a_stop_button() {
    let text = page("/jobs").await;
    for part in
        ["25% · 3.00 MiB of 12.0 MiB · about 3 min left", "action=\"/jobs/1/stop\"", "Steps of job 1", "Failed", "data-poll"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("action=\"/jobs/2/stop\""), "a job that has ended cannot be stopped");
}

#[tokio::test]
async fn leases_are_paged_and_searched() {
    let first = page("/dhcp").await;
    for part in
        ["<code>10.44.0.101</code>", "reserved", "95 of 100", "Nearly all addresses are in use", "10.44.0.254", "db-1.lab.lan"]
    {
        assert!(first.contains(part), "{part}\n{first}");
    }
    assert!(first.contains("/dhcp?page=2") && !first.contains("<code>10.44.0.151</code>"));
    let second = page("/dhcp?page=2").await;
    assert!(second.contains("<code>10.44.0.151</code>") && !second.contains("<code>10.44.0.102</code>"), "{second}");
    let found = page("/dhcp?q=10.44.0.16").await;
    assert!(found.contains("1 of 60 match") && found.contains("value=\"10.44.0.16\""), "{found}");
}

async fn post_settings(path: &str, fields: &str) -> Answer {
    let (_, router) = site("");
    let form = format!("csrf={}&{fields}", csrf(TOKEN));
    ask(&router, "POST", path, &[("cookie", &cookie()), FORM], form).await
}

#[tokio::test]
async fn settings_are_checked_compared_and_then_applied() {
    let shown = page("/settings").await;
    assert!(shown.contains("<li id=\"L2\"><code>kind: Cluster</code></li>") && !shown.contains("id=\"apply\""), "{shown}");
    let checked = post_settings("/settings", "text=kind%3A+Other%0D%0A&tag=old").await;
    assert_eq!(checked.status, 200);
    let text = checked.text();
    for part in ["id=\"apply\"", "removed", "added", "0 nodes would run their plays", "kind: Other\n</textarea>"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // What is applied is what was compared: the tag is that of the file as it is now.
    assert!(text.contains(&format!("name=\"tag\" value=\"{TAG}\"")), "{text}");
    let applied = post_settings("/settings/apply", &format!("text=kind&tag={TAG}")).await;
    assert_eq!((applied.status.as_u16(), applied.header("location")), (303, "/settings"));
}

#[tokio::test]
async fn a_refused_file_keeps_what_was_typed_and_points_to_the_line() {
    let answer = post_settings("/settings/apply", &format!("text=one%0D%0A{BAD}&tag={TAG}")).await;
    assert_eq!(answer.status, 422);
    let text = answer.text();
    for part in
        ["href=\"#L2\">Line 2, column 7</a>", "unknown kind", "<li id=\"L2\" class=\"bad\">", &format!("one\n{BAD}</textarea>")]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let stale = post_settings("/settings/apply", "text=kind&tag=old").await;
    assert_eq!(stale.status, 409);
    assert!(stale.text().contains("changed in the meantime") && stale.text().contains("kind</textarea>"), "{}", stale.text());
}

#[tokio::test]
async fn settings_of_the_api_need_the_tag_that_they_are_based_on() {
    let (mock, router) = site("");
    let (cookie, token) = (cookie(), csrf(TOKEN));
    let session = [("cookie", cookie.as_str()), ("x-csrf-token", token.as_str()), JSON];
    let shown = get(&router, "/api/v1/settings", &session).await;
    let tag = format!("\"{TAG}\"");
    assert_eq!(shown.header("etag"), tag);
    let put = async |more: &[(&str, &str)]| {
        let headers: Vec<(&str, &str)> = session.iter().chain(more).copied().collect();
        ask(&router, "PUT", "/api/v1/settings", &headers, r#"{"text":"kind"}"#).await
    };
    assert_eq!(put(&[]).await.status, 428);
    assert_eq!(put(&[("if-match", "\"other\"")]).await.status, 412);
    assert!(mock.state().changes.is_empty(), "nothing was changed so far");
    let done = put(&[("if-match", tag.as_str())]).await;
    assert_eq!((done.status.as_u16(), done.header("etag")), (200, tag.as_str()));
    let large = format!("{{\"text\":\"{}\"}}", "a".repeat(1 << 20));
    let headers: Vec<(&str, &str)> = session.iter().chain(&[("if-match", "*")]).copied().collect();
    assert_eq!(ask(&router, "PUT", "/api/v1/settings", &headers, large).await.status, 200, "a file of 1 MiB fits");
}

#[tokio::test]
async fn about_names_versions_and_licences_and_hands_out_the_bundle() {
    let text = page("/about").await;
    for part in ["schema 8", "Linux 6.12 x86_64", "age1mock", "serde", "/api/v1/openapi.json"] {
        assert!(text.contains(part), "{part}");
    }
    let (_, router) = site("");
    let form = format!("csrf={}", csrf(TOKEN));
    let answer = ask(&router, "POST", "/about/support", &[("cookie", &cookie()), FORM], form).await;
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"kubedos-support.age\"");
    assert_eq!(answer.bytes, b"age-encryption.org/v1");
}

#[tokio::test]
async fn the_documents_are_in_the_product_and_each_page_links_its_chapter() {
    let index = page("/docs").await;
    assert!(index.contains("href=\"/docs/glossary\"") && index.contains("Running a site"), "{index}");
    let chapter = page("/docs/platform/etcd").await;
    assert!(chapter.contains("<article class=\"chapter\">") && chapter.contains("href=\"/docs\""), "{chapter}");
    let (_, router) = site("");
    for bad in ["/docs/none", "/docs/../glossary", "/docs/%2e%2e/x", "/docs/glossary.md"] {
        assert_eq!(get(&router, bad, &[("cookie", &cookie())]).await.status, 404, "{bad}");
    }
    for path in [
        "/",
        "/audit",
        "/jobs",
        "/dhcp",
        "/settings",
        "/about",
        "/site",
        "/packages",
        "/images",
        "/platform",
        "/clock",
        "/charts",
    ] {
        let text = page(path).await;
        let help = text.split("<footer>").nth(1).unwrap().split("href=\"/docs/").nth(1).unwrap();
        let chapter = help.split(['"', '#']).next().unwrap();
        page(&format!("/docs/{chapter}")).await;
    }
}

#[tokio::test]
async fn a_repeated_request_with_a_key_gets_the_same_answer_and_changes_nothing() {
    let (mock, router) = site("");
    let (cookie, token) = (cookie(), csrf(TOKEN));
    let post = async |path: &str, key: &str, body: &str| {
        let headers = [("cookie", cookie.as_str()), ("x-csrf-token", token.as_str()), JSON, ("idempotency-key", key)];
        ask(&router, "POST", path, &headers, body.to_owned()).await
    };
    let wish = r#"{"target":"qcow2","role":"base"}"#;
    let first = post("/api/v1/outputs", "one", wish).await;
    assert_eq!((first.status.as_u16(), first.header("idempotent-replayed")), (200, ""));
    let second = post("/api/v1/outputs", "one", wish).await;
    assert_eq!((second.status.as_u16(), second.header("idempotent-replayed")), (200, "true"));
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(mock.state().changes, ["build_output"]);
    let other = post("/api/v1/outputs", "one", r#"{"target":"raw","role":"base"}"#).await;
    assert_eq!((other.status.as_u16(), other.header("content-type")), (422, "application/problem+json"));
    assert_eq!(post("/api/v1/seal", "one", "").await.status, 422, "another path");
    for bad in ["", "a b", &"k".repeat(256)] {
        assert_eq!(post("/api/v1/outputs", bad, wish).await.status, 400, "{bad:?}");
    }
    // A key changes nothing about how large a request may be.
    let headers = [("cookie", cookie.as_str()), ("x-csrf-token", token.as_str()), JSON];
    for (path, fits) in [
        ("/api/v1/settings/check", true),
        ("/api/v1/plan/check", true),
        ("/api/v1/plan", true),
        ("/api/v1/countersign", true),
        ("/api/v1/outputs", false),
    ] {
        let large = format!("{{\"text\":\"{}\"}}", "a".repeat(crate::limits::MAX_FORM));
        let plain = ask(&router, "POST", path, &headers, large.clone()).await;
        assert_eq!(plain.status, post(path, path, &large).await.status, "{path}");
        assert_eq!(plain.status != 413, fits, "{path}");
    }
    // What failed may be repeated.
    for _ in 0..2 {
        assert_eq!(post("/api/v1/site/promote", "two", r#"{"name":"other"}"#).await.status, 400);
    }
    assert_eq!(mock.state().changes.iter().filter(|c| **c == "promote").count(), 2);
    mock.state().sessions.clear();
    assert_eq!(post("/api/v1/outputs", "one", wish).await.status, 401, "without a session there is no answer");
}

#[tokio::test]
async fn events_are_read_page_by_page() {
    let (_, router) = site("");
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let answer = get(&router, &format!("/api/v1/events?after={after}&limit=5"), &[("cookie", &cookie())]).await.json();
        seen.extend(answer["events"].as_array().unwrap().iter().map(|e| e["id"].as_i64().unwrap()));
        match answer["next"].as_i64() {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(seen, (1..=13).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_that_was_seen() {
    use futures_util::StreamExt as _;
    use tower::ServiceExt as _;
    let (_, router) = site("");
    let request = axum::http::Request::get("/api/v1/events/stream").header("cookie", cookie()).header("last-event-id", "12");
    let response = router.oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
    let first = response.into_body().into_data_stream().next().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("id: 13"), "{first:?}");
}
