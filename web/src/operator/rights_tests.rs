//! Every method of every route, with everybody's rights and with every scope of an API token.

use cluster_seed::people::{Permission, Rights};

use super::routes_table::Guard;
use super::routes_tests::{real, rows};
use crate::api::Actor;
use crate::auth::csrf;
use crate::testing::TOKEN;
use crate::testing::client::{Answer, FORM, JSON, ask, site};
use crate::testing::people::{RIGHTS, SCOPE, STALE, actor_of};

/// Tokens of sessions and API tokens that the mock knows by their words.
fn tokens() -> Vec<String> {
    let sessions = Rights::ALL.iter().flat_map(|r| [format!("{RIGHTS}{r}"), format!("{STALE}{r}")]);
    sessions.chain(Permission::ALL.iter().map(|scope| format!("{SCOPE}{scope}"))).collect()
}

fn expected(guard: Guard, actor: &Actor, inside: u16) -> (u16, bool) {
    let Some(needs) = guard.needs() else { return (inside, matches!(guard, Guard::Enter(_))) };
    let stale = matches!(guard, Guard::Fresh(_)) && !actor.fresh;
    if !actor.may.contain(needs) || stale { (403, false) } else { (inside, guard.changes()) }
}

async fn request(router: &axum::Router, token: &str, method: &str, path: &str, body: &str) -> Answer {
    let (cookie, bearer, proof) = (format!("kubedos_session={token}"), format!("Bearer {token}"), csrf(token));
    let who = if token.starts_with(SCOPE) { ("authorization", bearer.as_str()) } else { ("cookie", cookie.as_str()) };
    let kind = if path.starts_with("/api/") { JSON } else { FORM };
    let body = body.replace(&csrf(TOKEN), &proof);
    // The last is of the settings; no other route reads it.
    ask(router, method, path, &[who, kind, ("x-csrf-token", &proof), ("if-match", "*")], body).await
}

#[tokio::test]
async fn every_route_with_all_rights_and_scopes() {
    let mut refused = 0;
    for (guard, method, pattern, body, inside, _) in rows() {
        let path = real(pattern, method);
        for token in tokens() {
            let (mock, router) = site("");
            let actor = actor_of(&token).unwrap();
            let (status, changes) = expected(guard, &actor, inside);
            let answer = request(&router, &token, method, &path, &body).await;
            let what = format!("{token}: {method} {path}");
            assert_eq!(answer.status, status, "{what}: {}", answer.text());
            let saw = mock.state().changes.clone();
            assert_eq!(!saw.is_empty(), changes, "{what}: {guard:?}, but the daemon saw {saw:?}");
            refused += usize::from(status == 403 && method != "HEAD" && pattern != "/metrics");
            if status == 403 && path.starts_with("/api/") && method != "HEAD" {
                assert!(!answer.json()["error"].as_str().unwrap().is_empty(), "{what}");
            }
        }
    }
    assert!(refused > 500, "only {refused} refusals");
}

#[tokio::test]
async fn a_refusal_says_which_rights_are_missing() {
    let (_, router) = site("");
    for (token, method, path, body, says) in [
        ("rights-viewer", "POST", "/api/v1/seal", "", "this needs the rights of an administrator; you have those of a viewer"),
        ("rights-operator", "GET", "/api/v1/users", "", "this needs the rights of an auditor; you have those of an operator"),
        ("scope-read", "POST", "/api/v1/seal", "", "this API token does not have the scope administer"),
        ("scope-administer", "GET", "/api/v1/machines", "", "this API token does not have the scope read"),
        ("scope-administer", "DELETE", "/api/v1/sessions", "", "an API token cannot do this; log in with a password"),
    ] {
        let answer = request(&router, token, method, path, body).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (403, Some(says)), "{token} {path}");
    }
    let page = request(&router, "rights-viewer", "POST", "/site/seal", &format!("csrf={}&", csrf(TOKEN))).await;
    assert_eq!(page.status, 403);
    assert!(page.text().contains("this needs the rights of an administrator"));
}

/// What a program has to do is in the answer.
#[tokio::test]
async fn an_act_that_cannot_be_undone_says_how_to_prove_who_one_is() {
    let (_, router) = site("");
    let path = real("/api/v1/enrollments/{id}/revoke", "POST");
    let stale = request(&router, "stale-administrator", "POST", &path, r#"{"reason":"x"}"#).await;
    assert_eq!((stale.status.as_u16(), stale.json()["error"].as_str()), (403, Some("this needs your password again")));
    assert!(stale.json()["hint"].as_str().unwrap().contains("/api/v1/login/again"));
    let token = request(&router, "scope-approve", "POST", &path, r#"{"reason":"x"}"#).await;
    assert_eq!((token.status.as_u16(), token.json()["error"].as_str()), (403, Some("an API token cannot do this")));
}
