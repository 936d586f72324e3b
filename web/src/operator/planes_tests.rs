//! Planes and keys that are being replaced.

use crate::auth::csrf;
use crate::testing::TOKEN;
use crate::testing::client::{FORM, JSON, ask, cookie, get, site};

#[tokio::test]
async fn the_page_shows_what_planes_carry_and_how_far_keys_are() {
    let (_, router) = site("");
    let text = get(&router, "/planes", &[("cookie", &cookie())]).await.text();
    for word in [
        "hub: the seed, store",
        "8920",
        "<code>10.81.0.0/16</code> <code>fd00:81::/64</code></td>",
        "<code>10.78.0.0/16</code></td>",
        "what is allowed",
        "<code>tcp/2049, udp/4000-4100</code>",
        "backups",
        "built in",
        "waits until every node has the new key",
        "waits for its turn",
        "action=\"/planes/rotate\"",
    ] {
        assert!(text.contains(word), "{word}");
    }
}

#[tokio::test]
async fn a_refused_form_keeps_what_was_typed() {
    let (_, router) = site("");
    let post = |fields: &str| {
        let body = format!("csrf={}&{fields}", csrf(TOKEN));
        let (router, cookie) = (router.clone(), cookie());
        async move { ask(&router, "POST", "/planes/rotate", &[("cookie", &cookie), FORM], body).await }
    };
    let answer = post("node=&plane=").await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("which keys are meant"));
    let answer = post("node=n-7&plane=wg9").await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("value=\"n-7\""), "{}", answer.text());
    assert_eq!(post("node=&plane=&all=1").await.status, 303);
}

#[tokio::test]
async fn the_json_names_what_is_meant() {
    let (_, router) = site("");
    let (cookie, token) = (cookie(), csrf(TOKEN));
    let headers = [("cookie", cookie.as_str()), ("x-csrf-token", token.as_str()), JSON];
    for (body, status) in [
        (r#"{"node":"n-1"}"#, 200),
        (r#"{"all":true}"#, 200),
        ("{}", 400),
        (r#"{"plane":"wg9"}"#, 404),
        (r#"{"planes":["wg1"]}"#, 400),
    ] {
        let answer = ask(&router, "POST", "/api/v1/rotations", &headers, body.to_owned()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    let planes = get(&router, "/api/v1/planes", &[("cookie", &cookie)]).await.json();
    assert_eq!(planes["planes"][1]["allows"][0]["ports"][0], "tcp/2049");
    assert_eq!((&planes["planes"][1]["topology"], &planes["planes"][1]["mtu"]), (&"hub".into(), &8920.into()));
    assert_eq!((&planes["planes"][1]["cidr6"], &planes["planes"][1]["seed6"]), (&"fd00:81::/64".into(), &"fd00:81::1".into()));
    assert!(planes["planes"][0]["cidr6"].is_null() && planes["planes"][0]["seed6"].is_null());
}
