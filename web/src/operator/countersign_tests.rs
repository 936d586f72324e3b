//! The page of countersigning: what waits, the request, and answers that are taken or refused.

use crate::auth::csrf;
use crate::testing::TOKEN;
use crate::testing::client::{FORM, JSON, ask, cookie, get, site};

#[tokio::test]
async fn the_page_shows_who_waits_and_gives_the_request_as_a_file() {
    let (_, router) = site("");
    let cookie = cookie();
    let with = [("cookie", cookie.as_str())];
    let text = get(&router, "/countersign", &with).await.text();
    for part in ["n9.kubedos.lan", "0a1b-2c3d-4e5f-6071-8293", "href=\"/countersign/request.json\"", "id=\"countersign-take\""] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let file = get(&router, "/countersign/request.json", &with).await;
    assert_eq!(file.status, 200);
    assert_eq!(file.text().trim(), r#"{"all":false}"#);
    let all = get(&router, "/api/v1/countersign/request?all=true", &with).await.text();
    assert_eq!(all, r#"{"text":"{\"all\":true}\n"}"#);
    assert_eq!(get(&router, "/api/v1/countersign/request?all=perhaps", &with).await.status, 400);
}

#[tokio::test]
async fn an_answer_that_is_refused_stays_in_the_field() {
    let (mock, router) = site("");
    let cookie = cookie();
    let send = async |text: &str| {
        let body = format!("csrf={}&text={text}", csrf(TOKEN));
        ask(&router, "POST", "/countersign", &[("cookie", cookie.as_str()), FORM], body).await
    };
    let refused = send("rubbish").await;
    assert_eq!(refused.status, 400);
    let text = refused.text();
    assert!(text.contains("rubbish</textarea>") && text.contains("not an answer of the countersigning key"), "{text}");
    assert_eq!(send("%7B%7D").await.status, 303);
    assert!(mock.state().changes.contains(&"take_countersignatures"));
    let token = csrf(TOKEN);
    let session = [("cookie", cookie.as_str()), ("x-csrf-token", token.as_str()), JSON];
    let taken = ask(&router, "POST", "/api/v1/countersign", &session, r#"{"text":"{}"}"#.to_owned()).await;
    assert_eq!(taken.text(), r#"{"signed":["n9.kubedos.lan"],"outdated":[],"change":false}"#);
}
