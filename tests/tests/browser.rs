//! The browser driver against a page of the test's own.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use kubedos_tests::browser::Browser;
use kubedos_tests::tool;

const PAGE: &str = "<title>lab</title><form action='/sent'><input name=code value=old><button type=submit>go</button></form>";
/// Requests the page answers before it goes away.
const MAX_REQUESTS: usize = 40;

#[test]
fn a_form_is_filled_and_sent_by_chromium() {
    if tool::find("chromium").is_none() || tool::find("chromedriver").is_none() {
        kubedos_skip::skip("chromium", "chromium or chromedriver is not installed");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().take(MAX_REQUESTS) {
            let mut stream = stream.unwrap();
            let mut head = [0u8; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let asked = String::from_utf8_lossy(&head[..read]).lines().next().unwrap_or("").replace('<', "");
            let body =
                if asked.contains("/sent") { format!("<title>sent</title><p id=got>{asked}</p>") } else { PAGE.to_owned() };
            let head = format!(
                "HTTP/1.1 200 ok\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let browser = Browser::start(dir.path(), dir.path()).unwrap();
    browser.open(&base).unwrap();
    assert_eq!(browser.title().unwrap(), "lab");
    assert!(browser.has("input[name=code]") && !browser.has("input[name=other]"));
    browser.fill("input[name=code]", "123456").unwrap();
    let picture = dir.path().join("page.png");
    browser.picture(&picture).unwrap();
    assert!(std::fs::metadata(&picture).unwrap().len() > 1000);
    browser.click("form [type=submit]").unwrap();
    let sent = || Ok((browser.title()? == "sent").then_some(()));
    kubedos_tests::stop::wait_for("the page after the form", std::time::Duration::from_secs(30), sent).unwrap();
    assert!(browser.source().unwrap().contains("code=123456"));
    assert!(browser.click("#nowhere").is_err());
}
