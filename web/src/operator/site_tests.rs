//! The site page, and capsules as files.

use super::people_tests::english;
use crate::api::SeedMode;
use crate::auth::csrf;
use crate::limits::MAX_PIECE;
use crate::testing::client::{FORM, ask, cookie, get, operator, site};
use crate::testing::{HERE, Mock, PASSWORD, TOKEN, WHOLE};

#[tokio::test]
async fn the_page_shows_work_capsules_and_the_way_to_the_other_seed() {
    let (mock, router) = site("");
    let cookie = cookie();
    let text = get(&router, "/site", &[("cookie", &cookie)]).await.text();
    for part in ["25% · 3.00 MiB of 12.0 MiB", "age1mock", "30% uploaded", "Promote this seed", "/capsules/site-a.capsule"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(text.contains("data-poll") && text.contains("http-equiv=\"refresh\""), "it follows the job");
    assert!(!text.contains("<option>half</option>"), "an unfinished upload cannot be imported");
    let token = csrf(TOKEN);
    let stopped = ask(&router, "POST", "/site/stop", &[("cookie", &cookie), FORM], format!("csrf={token}")).await;
    assert_eq!(stopped.status, 303);
    let text = get(&router, "/site", &[("cookie", &cookie)]).await.text();
    assert!(text.contains("Stopped") && text.contains("capsule exported") && !text.contains("data-poll"), "{text}");
    mock.state().site.mode = SeedMode::Active;
    let text = get(&router, "/site", &[("cookie", &cookie)]).await.text();
    assert!(!text.contains("Promote this seed"), "an active seed is not promoted");
}

#[tokio::test]
async fn the_german_page_marks_what_the_daemon_says_as_english() {
    let (mock, router) = site("");
    let cookie = cookie();
    let headers = [FORM, ("cookie", cookie.as_str()), ("accept-language", "de")];
    let drill = mock.state().site.drills[0].text.clone();
    let text = get(&router, "/site", &headers[1..]).await.text();
    for part in [
        "<h1>Standort und Wiederherstellung</h1>",
        "Standby: liefert nur diese Seiten aus, bis er aktiviert wird, Epoche 2",
        "Kapsel wird exportiert",
        "25% · 3.00 MiB von 12.0 MiB",
        "30 % hochgeladen",
        "class=\"nw\">vor 60 min<",
        "<option value=\"650M\">in Teile von 650 MiB (CD)</option>",
        "data-done=\"{} hochgeladen\"",
        "NAME?at=0&amp;total=SIZE",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(english(&text), ["writing the capsule", "there is no lab on this machine", drill.as_str()]);
    for (mode, shown) in [(SeedMode::Active, "aktiv: gibt Maschinen frei"), (SeedMode::Fenced, "abgelöst: Ein anderer Seed")] {
        mock.state().site.mode = mode;
        mock.state().site.no_drill = None;
        let text = get(&router, "/site", &headers[1..]).await.text();
        assert!(text.contains(shown) && !text.contains(">Diesen Seed aktivieren<"), "{text}");
        assert_eq!(text.contains(">Übung starten<"), mode == SeedMode::Active, "{text}");
    }
    let body = format!("csrf={}&recipient=age1x&passphrase=wrong", csrf(TOKEN));
    let refused = ask(&router, "POST", "/site/export", &headers, body).await.text();
    assert!(refused.contains("Fehler: <span lang=\"en\">the passphrase is wrong</span>"), "{refused}");
}

#[tokio::test]
async fn a_refusal_is_shown_on_the_page() {
    let (_, router) = site("");
    let cookie = cookie();
    let token = csrf(TOKEN);
    for (path, body, status, said) in [
        ("/site/export", format!("csrf={token}&recipient=age1x&passphrase=wrong"), 403, "the passphrase is wrong"),
        ("/site/export", format!("csrf={token}&recipient=me&passphrase={PASSWORD}"), 400, "it begins with age1"),
        ("/site/promote", format!("csrf={token}&word=another"), 400, "the site name does not match"),
        ("/site/export", format!("csrf=old&recipient=age1x&passphrase={PASSWORD}"), 403, "another session"),
    ] {
        let answer = ask(&router, "POST", path, &[("cookie", &cookie), FORM], body).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text().contains(said), "{path}: {said}\n{}", answer.text());
        assert!(!answer.text().contains(PASSWORD), "{path}: a passphrase never comes back");
    }
}

#[tokio::test]
async fn a_file_is_uploaded_in_pieces() {
    let (_, router) = site("");
    let cookie = cookie();
    let token = csrf(TOKEN);
    let put = async |at: u64, headers: &[(&str, &str)], piece: Vec<u8>| {
        let path = format!("/api/v1/capsules/half?at={at}&total={WHOLE}");
        ask(&router, "PUT", &path, headers, piece).await
    };
    let mine = [("cookie", cookie.as_str()), ("x-csrf-token", token.as_str())];
    assert_eq!(put(HERE, &mine[..1], b"defg".to_vec()).await.status, 403, "a foreign page cannot send it");
    assert_eq!(put(HERE, &mine, b"defg".to_vec()).await.json()["size"], HERE + 4);
    assert_eq!(put(HERE, &mine, b"defg".to_vec()).await.status, 409, "the same piece twice");
    let held = get(&router, "/api/v1/capsules/half", &mine).await.json();
    assert_eq!((&held["size"], &held["expected"]), (&(HERE + 4).into(), &WHOLE.into()));
    assert_eq!(put(HERE + 4, &mine, vec![0; MAX_PIECE + 1]).await.status, 413, "a piece has a limit");
    assert_eq!(put(HERE + 4, &mine, vec![0; MAX_PIECE]).await.status, 200, "which it may reach");
}

#[tokio::test]
async fn a_capsule_is_saved_under_its_name_and_in_ranges() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("manifest.json"), "capsule").unwrap();
    let mock = std::sync::Arc::new(Mock::new(camino::Utf8Path::from_path(dir.path()).unwrap(), ""));
    let router = operator(&mock);
    let cookie = cookie();
    let answer = get(&router, "/capsules/site-a.capsule", &[("cookie", &cookie), ("range", "bytes=0-1")]).await;
    assert_eq!(answer.status, 206);
    assert_eq!(answer.text(), "ca");
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"site-a.capsule\"");
    for bad in ["/capsules/..", "/capsules/%2e%2e", "/capsules/a%2Fb", "/capsules/half"] {
        assert_eq!(get(&router, bad, &[("cookie", &cookie)]).await.status, 404, "{bad}");
    }
}
