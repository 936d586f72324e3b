//! The page of the platform.

use crate::auth::csrf;
use crate::testing::TOKEN;
use crate::testing::client::{FORM, ask, cookie, get, site};

#[tokio::test]
async fn the_page_shows_stages_failures_and_what_is_waited_for() {
    let (_, router) = site("");
    let text = get(&router, "/platform", &[("cookie", &cookie())]).await.text();
    let parts =
        ["1. etcd", "2. loadbalancer", "address already in use", "etcd: 1 of 3 healthy", "runs exporters, etcd", "data-poll"];
    for part in parts {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[tokio::test]
async fn charts_are_drawn_and_their_values_are_in_a_table() {
    let (_, router) = site("");
    let text = get(&router, "/charts?window=6h", &[("cookie", &cookie())]).await.text();
    let parts = ["NodeDown", "etcd-3 does not answer", "<polyline", "Processor time used", "2 more with smaller values", "<td>"];
    for part in parts {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(text.contains(r#"<a href="/charts?window=6h" aria-current="true">"#), "{text}");
    let answer = get(&router, "/api/v1/charts?window=2y", &[("cookie", &cookie())]).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn the_mesh_is_drawn_and_violations_are_named() {
    let (_, router) = site("");
    let text = get(&router, "/mesh", &[("cookie", &cookie())]).await.text();
    let parts =
        ["etcd-3: wg2 carried tcp/10250 with mon-1", "4.2 MB/s", "800 µs", "NETFILTER_DROP", r#"class="bad""#, "Not counting"];
    for part in parts {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // Only what the chosen plane carries; a plane that there is not shows all.
    let one = get(&router, "/mesh?plane=wg1", &[("cookie", &cookie())]).await.text();
    assert!(one.contains("740 B/s") && !one.contains("4.2 MB/s") && !one.contains("carried"), "{one}");
    assert!(get(&router, "/mesh?plane=wg9", &[("cookie", &cookie())]).await.text().contains("4.2 MB/s"));
}

#[tokio::test]
async fn an_unknown_role_is_refused_on_the_page() {
    let (_, router) = site("");
    let form = format!("csrf={}&what=run&role=nobody", csrf(TOKEN));
    let cookie = cookie();
    let answer = ask(&router, "POST", "/platform/act", &[FORM, ("cookie", cookie.as_str())], form).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("there is no such role"));
}
