//! `/people`, and the password that is asked for again.

use cluster_seed::people::Rights;

use crate::auth::csrf;
use crate::testing::TOKEN;
use crate::testing::client::{Answer, FORM, Headers, JSON, ask, cookie, get, site};
use crate::testing::data::{PENDING, pending_id};
use crate::testing::people::{NEW_TOKEN, first_yes};

const STALE: &str = "stale-administrator";

async fn post(router: &axum::Router, token: &str, path: &str, fields: &str) -> Answer {
    let cookie = format!("kubedos_session={token}");
    ask(router, "POST", path, &[("cookie", &cookie), FORM], format!("csrf={}&{fields}", csrf(token))).await
}

#[tokio::test]
async fn the_password_is_asked_for_and_what_was_typed_goes_on() {
    let (mock, router) = site("");
    let (path, fields) =
        (format!("/machines/{PENDING}/revoke"), format!("enrollment={}&reason=stolen+%22%3Cb%3E&word=A1B2C3", pending_id()));
    let asked = post(&router, STALE, &path, &fields).await;
    assert_eq!((asked.status.as_u16(), mock.state().changes.len()), (403, 0));
    let page = asked.text();
    for part in [
        &format!("action=\"{path}\""),
        "name=\"again-password\" type=\"password\"",
        "name=\"reason\" value=\"stolen &#34;&#60;b&#62;\"",
        &format!("name=\"csrf\" value=\"{}\"", csrf(STALE)),
        &format!("name=\"enrollment\" value=\"{}\"", pending_id()),
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let wrong = post(&router, STALE, &path, &format!("{fields}&again-password=guess")).await;
    assert_eq!(wrong.status, 403);
    assert!(wrong.text().contains("wrong password") && wrong.text().contains("stolen"));
    assert!(!wrong.text().contains("guess"), "the wrong one is not sent back");
    assert_eq!(mock.state().changes, ["authenticate_again"]);
    let done = post(&router, STALE, &path, &format!("{fields}&again-password=correct+horse")).await;
    // The mock's machine is no node.
    assert_eq!((done.status.as_u16(), mock.state().changes.last().copied()), (409, Some("revoke")));
    // Somebody else's form does not even get that far.
    let cookie = format!("kubedos_session={STALE}");
    let body = format!("csrf={}&{fields}&again-password=correct+horse", csrf(TOKEN));
    let foreign = ask(&router, "POST", &path, &[("cookie", &cookie), FORM], body).await;
    assert!(foreign.status == 403 && !foreign.text().contains("again-password"));
    assert_eq!(mock.state().changes.len(), 3);
}

#[tokio::test]
async fn a_new_token_is_shown_once() {
    let (_, router) = site("");
    let made = post(&router, TOKEN, "/people/tokens/create", "name=backup&days=30&read=1&power=1").await;
    assert!(made.status == 200 && made.text().contains(&format!("id=\"new-token\" class=\"long\">{NEW_TOKEN}<")));
    assert_eq!(made.header("cache-control"), "no-store");
    assert!(!get(&router, "/people", &[("cookie", &cookie())]).await.text().contains(NEW_TOKEN));
    for (fields, says) in [("name=backup&days=30", "needs a scope"), ("name=backup&days=soon&power=1", "not a number of days")] {
        let refused = post(&router, TOKEN, "/people/tokens/create", fields).await;
        let page = refused.text();
        assert_eq!(refused.status, 400, "{fields}");
        assert!(page.contains(says) && page.contains("value=\"backup\""), "{page}");
        assert_eq!(page.contains("name=\"power\" value=\"1\" checked"), fields.contains("power"));
    }
}

#[tokio::test]
async fn users_are_added_and_refusals_keep_what_was_typed() {
    let (mock, router) = site("");
    let added = post(&router, TOKEN, "/people/users/add", "user=eve&password=a&password2=a&rights=auditor").await;
    assert_eq!((added.status.as_u16(), added.header("location")), (303, "/people"));
    for (fields, says) in [
        ("user=e+ve&password=a&password2=a&rights=operator", "no spaces"),
        ("user=e+ve&password=a&password2=b&rights=operator", "do not match"),
    ] {
        let page = post(&router, TOKEN, "/people/users/add", fields).await.text();
        assert!(
            page.contains(says)
                && page.contains("value=\"e ve\"")
                && page.contains("<option value=\"operator\" selected>operator</option>"),
            "{page}"
        );
    }
    let last = post(&router, TOKEN, "/people/users/set", "user=ada&rights=viewer").await;
    assert!(last.status == 409 && last.text().contains("last administrator"));
    let other = post(&router, TOKEN, "/people/users/remove", "user=bob&word=bub").await;
    assert!(other.status == 400 && other.text().contains("does not match"));
    assert!(!mock.state().changes.contains(&"remove_user"));
    let own = post(&router, TOKEN, "/people/password", "old=wrong&password=a&password2=a").await;
    assert!(own.status == 403 && own.text().contains("wrong password"));
}

/// What a page marks as English, without elements inside.
pub(super) fn english(html: &str) -> Vec<&str> {
    let main = html.split_once("<main").unwrap().1;
    main.split(" lang=\"en\">").skip(1).map(|rest| rest.split('<').next().unwrap()).collect()
}

#[tokio::test]
async fn the_german_page_names_rights_in_german_and_marks_scopes_as_english() {
    let (_, router) = site("");
    let cookie = cookie();
    let text = get(&router, "/people", &[("cookie", &cookie), ("accept-language", "de")]).await.text();
    for part in [
        "Benutzerkonten · ",
        "<h1>Benutzerkonten</h1>",
        "Sie sind <b>ada</b>. Ihre Rechte: Administrator.",
        "<option value=\"viewer\">Leserechte</option>",
        "aria-label=\"Sitzung von ada unter 10.44.0.9 beenden, verwendet vor 2 min\">Beenden<",
        "aria-label=\"Token backup von bob sperren\"",
        "aria-label=\"Passkey laptop von ada entfernen\"",
        "data-label=\"Zuletzt verwendet\" class=\"nw\">nie<",
        "Geben Sie zur Bestätigung <b>bob</b> ein",
        "höchstens 365",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let scopes = ["read", "audit", "approve", "power", "converge", "build", "administer"];
    assert_eq!(english(&text), [&["read, power"][..], &scopes[..]].concat());
}

#[tokio::test]
async fn answers_to_the_forms_of_people_are_german() {
    let (_, router) = site("");
    let cookie = cookie();
    let headers = [FORM, ("cookie", cookie.as_str()), ("accept-language", "de")];
    for (path, fields, parts) in [
        ("/people/password", "old=correct+horse&password=a&password2=a", ["id=\"done\"", "Ihr Passwort wurde geändert."]),
        ("/people/tokens/create", "name=backup&days=30&read=1", [">API-Token backup<", "Kopieren Sie es jetzt"]),
        ("/people/passkeys/create", "name=lab", [">Passkey lab<", "data-silent=\"Der Seed hat nicht geantwortet.\""]),
        (
            "/people/users/add",
            "user=eve&password=a&password2=b&rights=operator",
            ["Fehler: <span lang=\"en\">the passwords do not match</span>", "value=\"operator\" selected>Operator<"],
        ),
    ] {
        let text = ask(&router, "POST", path, &headers, format!("csrf={}&{fields}", csrf(TOKEN))).await.text();
        assert!(text.contains("<html lang=\"de\""), "{path}: {text}");
        for part in parts {
            assert!(text.contains(part), "{path}: {part}: {text}");
        }
    }
}

#[tokio::test]
async fn everybody_sees_what_the_rights_allow() {
    let (_, router) = site("");
    for rights in Rights::ALL {
        let cookie = format!("kubedos_session=rights-{rights}");
        let headers: Headers = &[("cookie", &cookie)];
        let people = get(&router, "/people", headers).await.text();
        let (all, change) = (*rights != Rights::Viewer && *rights != Rights::Operator, *rights == Rights::Administrator);
        assert_eq!((people.contains("id=\"users\""), people.contains("id=\"user-submit\"")), (all, change), "{rights}");
        assert_eq!(people.contains("value=\"administer\"") || people.contains("name=\"administer\""), change, "{rights}");
        let machine = get(&router, &format!("/machines/{PENDING}"), headers).await.text();
        let works = matches!(rights, Rights::Operator | Rights::Administrator);
        assert_eq!((machine.contains("approve-submit"), machine.contains("id=\"may-not\"")), (works, !works), "{rights}");
        assert_eq!(get(&router, "/site", headers).await.text().contains("id=\"export\""), change, "{rights}");
        assert_eq!(get(&router, "/platform", headers).await.text().contains("id=\"run-all\""), works, "{rights}");
        assert_eq!(get(&router, "/", headers).await.text().contains("id=\"find-code\""), works, "{rights}");
    }
}

#[tokio::test]
async fn a_second_person_agrees_to_what_is_shown() {
    let (mock, router) = site("");
    mock.state().machines[1].waiting[0].enrollment.first_yes = Some(first_yes(""));
    mock.state().machines[1].row.enrollment.as_mut().unwrap().first_yes = Some(first_yes(""));
    let path = format!("/machines/{PENDING}");
    let page = get(&router, &path, &[("cookie", &cookie())]).await.text();
    let digest = "07".repeat(32);
    for part in
        ["bob has approved this machine", "n-9.lab.lan", "id=\"agree-submit\"", &format!("name=\"decision\" value=\"{digest}\"")]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    // Whoever said yes first sees no button.
    mock.state().machines[1].waiting[0].enrollment.first_yes = Some(crate::api::FirstYes { user: "ada".into(), ..first_yes("") });
    let own = get(&router, &path, &[("cookie", &cookie())]).await.text();
    assert!(own.contains("It was you") && !own.contains("agree-submit"), "{own}");
    let agree = format!("{path}/agree");
    let stale = post(&router, TOKEN, &agree, &format!("enrollment={}&decision={}", pending_id(), "08".repeat(32))).await;
    assert!(stale.status == 409 && stale.text().contains("was changed in the meantime"));
    mock.state().machines[1].row.enrollment.as_mut().unwrap().first_yes = Some(first_yes(""));
    let done = post(&router, TOKEN, &agree, &format!("enrollment={}&decision={digest}", pending_id())).await;
    assert_eq!((done.status.as_u16(), done.header("location")), (303, path.as_str()));
}

#[tokio::test]
async fn the_json_of_people() {
    let (_, router) = site("");
    let auth: Headers = &[("cookie", &cookie())];
    let me = get(&router, "/api/v1/me", auth).await.json();
    assert_eq!(
        (me["user"].as_str(), me["rights"].as_str(), me["fresh"].as_bool()),
        (Some("ada"), Some("administrator"), Some(true))
    );
    assert_eq!(me["may"].as_array().unwrap().len(), 8);
    assert_eq!(me["tokens"][0]["id"], "0a1b2c3d");
    let (cookie, proof) = (cookie(), csrf(TOKEN));
    let headers = [("cookie", cookie.as_str()), ("x-csrf-token", proof.as_str()), JSON];
    let made = ask(&router, "POST", "/api/v1/api-tokens", &headers, r#"{"name":"t","scopes":["read","power"]}"#).await.json();
    assert_eq!(
        (made["token"].as_str(), made["name"].as_str(), made["scopes"][1].as_str()),
        (Some(NEW_TOKEN), Some("t"), Some("power"))
    );
    let bad = ask(&router, "POST", "/api/v1/api-tokens", &headers, r#"{"name":"t","scopes":["everything"]}"#).await;
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn settings_are_applied_with_a_password_typed_just_now() {
    let (mock, router) = site("");
    let asked = post(&router, STALE, "/settings/apply", "text=kind&tag=x").await;
    assert_eq!((asked.status.as_u16(), mock.state().changes.len()), (403, 0));
    assert!(asked.text().contains("name=\"again-password\"") && asked.text().contains("value=\"kind\""), "{}", asked.text());
}

#[tokio::test]
async fn what_people_did_is_shown_to_those_who_may_audit() {
    for (rights, sees) in [("viewer", false), ("operator", false), ("auditor", true), ("administrator", true)] {
        let (mock, router) = site("");
        let mut event = mock.state().events[0].clone();
        event.kind = "login.failed".to_owned();
        event.text = "failed login as a-password-by-mistake".to_owned();
        event.id = 90;
        mock.state().events.push(event);
        let cookie = format!("kubedos_session=stale-{rights}");
        let text = get(&router, "/api/v1/events?after=0&limit=500", &[("cookie", cookie.as_str())]).await.text();
        assert_eq!(text.contains("a-password-by-mistake"), sees, "{rights}: {text}");
    }
}
