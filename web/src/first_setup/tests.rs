//! The set-up page with every kind of visitor.

use std::sync::Mutex;

use super::*;
use crate::api::FirstInterface;
use crate::testing::client::{FORM, ask, get};

const GOOD: &str = "code=GOOD&site=site-a&passphrase=correct+horse&passphrase2=correct+horse&user=ada&password=tenletters&\
                    password2=tenletters&iface=eth1";

fn view(spice: &str) -> FirstView {
    let iface = |name: &str, chosen| FirstInterface {
        name: name.to_owned(),
        mac: "52:54:00:00:00:01".to_owned(),
        up: chosen,
        addresses: vec!["10.44.0.1/24".to_owned()],
        chosen,
    };
    FirstView {
        version: "1.0".to_owned(),
        site: "site-a".to_owned(),
        interfaces: vec![iface("eth0", false), iface("eth1", true)],
        warnings: vec![format!("the state is in memory{spice}")],
    }
}

/// The router, and what it passed on.
fn router(spice: &'static str) -> (Router, Arc<Mutex<Vec<FirstSite>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let setup = FirstSetup {
        look: Arc::new(move || Ok(view(spice))),
        make: Arc::new(move |_, form| {
            kept.lock().unwrap().push(form.clone());
            match form.code.as_str() {
                "GOOD" => Ok("0123456789abcdef".to_owned()),
                "WAIT" => Err(ApiError::TooMany { seconds: 9 }),
                "BROKEN" => Err(ApiError::Internal("secret path".to_owned())),
                _ => Err(ApiError::Forbidden { why: "wrong set-up code".to_owned() }),
            }
        }),
    };
    (first_setup_router(setup, OperatorOptions { secure_cookies: true }), seen)
}

#[tokio::test]
async fn the_good_form_makes_the_site_and_logs_in() {
    let (router, seen) = router("");
    let page = get(&router, "/setup", &[]).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains(r#"<option value="eth1" selected>"#) && !page.text().contains("<script"), "{}", page.text());
    let done = ask(&router, "POST", "/setup", &[FORM], GOOD).await;
    assert_eq!((done.status.as_u16(), done.header("location")), (303, "/"));
    assert!(done.header("set-cookie").contains("HttpOnly; SameSite=Strict; Path=/; Secure"), "{}", done.header("set-cookie"));
    let seen = seen.lock().unwrap();
    assert_eq!((seen[0].site.as_str(), seen[0].passphrase.as_str(), seen[0].iface.as_str()), ("site-a", "correct horse", "eth1"));
}

#[tokio::test]
async fn everything_else_is_refused() {
    let (router, seen) = router("");
    let swap = |a: &str, b: &str| GOOD.replace(a, b);
    for (body, status, words) in [
        (swap("code=GOOD", "code=BAD"), 403, "wrong set-up code"),
        (swap("code=GOOD", "code=WAIT"), 429, "wait 9 s"),
        (swap("passphrase2=correct+horse", "passphrase2=other"), 400, "the passphrases do not match"),
        (swap("password2=tenletters", "password2=other"), 400, "the passwords do not match"),
        (swap("code=GOOD", "code=BROKEN"), 500, "internal error"),
        (swap("code=GOOD&", ""), 422, ""),
        (swap("iface=eth1", "iface=eth1&admin=1"), 422, ""),
        (swap("code=GOOD", "code=GOOD&code=GOOD"), 422, ""),
        ("x".repeat(MAX_FORM + 1), 413, ""),
        (String::new(), 422, ""),
    ] {
        let answer = ask(&router, "POST", "/setup", &[FORM], body.clone()).await;
        assert_eq!(answer.status, status, "{body:.80}: {}", answer.text());
        assert!(answer.text().contains(words) && !answer.text().contains("secret path"), "{words}: {}", answer.text());
        assert!(!answer.text().contains("correct horse") && !answer.text().contains("tenletters"), "nothing secret comes back");
        assert_eq!(answer.header("set-cookie"), "");
        assert_eq!(answer.header("retry-after"), if status == 429 { "9" } else { "" });
    }
    let before = seen.lock().unwrap().len();
    let foreign = ask(&router, "POST", "/setup", &[FORM, ("origin", "https://evil"), ("host", "seed")], GOOD).await;
    assert_eq!((foreign.status.as_u16(), seen.lock().unwrap().len()), (403, before));
    for (path, status) in [("/", 303), ("/login", 303), ("/machines/1", 404), ("/api/v1/status", 404), ("/boot/ipxe", 404)] {
        assert_eq!(get(&router, path, &[]).await.status, status, "{path}");
    }
    assert_eq!(ask(&router, "DELETE", "/setup", &[], "").await.status, 405);
}

#[tokio::test]
async fn hostile_words_stay_words() {
    let (router, _) = router("<script>alert(1)</script>\u{202e}");
    let body = "code=%3Cscript%3E&site=%22%3E%3Cimg+src%3Dx%3E&passphrase=a&passphrase2=a&user=%E2%80%AE%00&password=b&password2=b&\
                iface=%22onfocus%3D";
    let answer = ask(&router, "POST", "/setup", &[FORM], body).await;
    assert_eq!(answer.status, 403);
    let html = answer.text();
    for bad in ["<script", "<img src=x", "\u{202e}", "\0", "\"onfocus"] {
        assert!(!html.contains(bad), "{bad}");
    }
    assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn the_page_has_the_browsers_language_and_the_chosen_theme() {
    let (router, _) = router("");
    let text = get(&router, "/setup", &[("accept-language", "de"), ("cookie", "kubedos_theme=dark")]).await.text();
    for part in [
        "<html lang=\"de\" data-theme=\"dark\">",
        ">Seed einrichten<",
        "(Link, 52:54",
        "<ul lang=\"en\"><li>the state is in memory",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(get(&router, "/look", &[]).await.text().contains("action=\"/look\""));
    let kept = ask(&router, "POST", "/look", &[FORM], "theme=dark&language=").await;
    assert_eq!((kept.status.as_u16(), kept.header("location")), (303, "/look"));
}
