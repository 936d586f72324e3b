//! The page of join tokens.

use crate::auth::csrf;
use crate::testing::TOKEN;
use crate::testing::client::{FORM, ask, cookie, get, site};
use crate::testing::join_tokens::WAITING;

#[tokio::test]
async fn a_token_that_waits_for_a_second_user_comes_first_and_has_a_button() {
    let (mock, router) = site("");
    let cookie = cookie();
    let text = get(&router, "/join-tokens", &[("cookie", cookie.as_str())]).await.text();
    assert!(text.contains("1 waiting for a second user") && text.contains("Agree to join token 0a1b2c3d"), "{text}");
    let (waits, ended) = (text.find("Waits for a second user").unwrap(), text.find("is used up").unwrap());
    assert!(waits < ended && text.matches("action=\"/join-tokens/agree\"").count() == 1, "{text}");
    let body = format!("csrf={}&token={WAITING}", csrf(TOKEN));
    let done = ask(&router, "POST", "/join-tokens/agree", &[("cookie", cookie.as_str()), FORM], body).await;
    assert_eq!(done.status, 303);
    assert!(mock.state().changes.contains(&"agree_to_token"));
}
