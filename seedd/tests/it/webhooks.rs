//! Webhooks against a receiver that takes, refuses and checks.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use cluster_seed::events::EventKind;
use cluster_seed::people::Rights;
use seedd::app::webhooks::message::{headers, secret};
use seedd::app::webhooks::{dead, keep};
use seedd::app::{App, Seed};
use site::store::events::NewEvent;
use web::api::{Actor, SettingsApi as _, WebhookApi as _};

use crate::support::front::Front;
use crate::support::receiver::{Received, receiver};
use crate::support::sites::*;

const SECRET: &str = "a secret of a test";

/// A receiver that answers with these.
fn statuses(all: &[u16]) -> (String, Receiver<Received>) {
    receiver("hook", all.iter().map(|status| (*status, String::new())).collect())
}

/// A site with one webhook.
fn site_with(t: &Temp, url: &str, events: &str) -> site::Site {
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let file = t.path.join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let text = std::fs::read_to_string(site.cluster_file()).unwrap();
    let with = text.replacen(
        "\nspec:\n",
        &format!("\nspec:\n  webhooks: [{{url: '{url}', secretFile: {file}, events: [{events}]}}]\n"),
        1,
    );
    assert_ne!(text, with);
    std::fs::write(site.cluster_file(), with).unwrap();
    site
}

fn happen(app: &App, kind: EventKind, text: &str) {
    app.say(&NewEvent::new(kind, text));
}

fn next(from: &Receiver<Received>) -> Received {
    from.recv_timeout(Duration::from_secs(30)).expect("a message")
}

fn run(app: &Arc<App>) -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.spawn(keep(app.clone(), app.spec.spec.webhooks[0].clone(), &[0, 0]));
    runtime
}

/// Waits until the receiver has its place in the log: it is told of what comes after that.
fn begun(app: &App) {
    while app.store.read(|tx| tx.settings_under(site::setting::WEBHOOK)).unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn events_are_told_in_order_signed_and_only_those_that_are_wanted() {
    let (url, told) = statuses(&[204]);
    let t = temp();
    let site = site_with(&t, &url, "node., seed.unsealed");
    let app = app(&site);
    happen(&app, EventKind::NodeRevoked, "before it was there");
    let _running = run(&app);
    begun(&app);
    happen(&app, EventKind::ClockSet, "not wanted");
    happen(&app, EventKind::NodeRevoked, "first");
    happen(&app, EventKind::NodeReplaced, "second");
    for (kind, text) in [("node.revoked", "first"), ("node.replaced", "second")] {
        let message = next(&told);
        let json: serde_json::Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!((&json["type"], &json["data"]["text"], &json["site"]), (&kind.into(), &text.into(), &"site-a".into()));
        let (id, at) = (&message.headers["webhook-id"], message.headers["webhook-timestamp"].parse().unwrap());
        assert_eq!(*id, format!("site-a-{}", json["data"]["id"]));
        let key = secret(&t.path.join("secret")).unwrap();
        let expected = headers(id, at, message.body.as_bytes(), &key);
        assert_eq!(message.headers["webhook-signature"], expected[2].1);
    }
}

#[test]
fn what_is_refused_is_tried_again_and_then_a_dead_letter() {
    // The first event is taken at the second attempt; the second one never; the third one at once.
    let (url, told) = statuses(&[500, 200, 503, 503, 503, 200]);
    let t = temp();
    let site = site_with(&t, &url, "node.");
    let app = app(&site);
    let running = run(&app);
    begun(&app);
    for text in ["first", "second", "third"] {
        happen(&app, EventKind::NodeRevoked, text);
    }
    let texts: Vec<String> = (0..6)
        .map(|_| {
            serde_json::from_str::<serde_json::Value>(&next(&told).body).unwrap()["data"]["text"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(texts, ["first", "first", "second", "second", "second", "third"]);
    let held = app.store.read(dead::all).unwrap();
    assert_eq!((held.len(), held[0].text.as_str()), (1, "second"));
    assert!(held[0].why.contains("status 503"), "{}", held[0].why);
    let buried = app.store.read(|tx| tx.newest_of("webhook.", 9)).unwrap();
    assert_eq!(buried.len(), 1);
    // After a restart it goes on where it was.
    running.shutdown_timeout(Duration::from_secs(5));
    happen(&app, EventKind::NodeRevoked, "fourth");
    let _running = run(&app);
    loop {
        let message = next(&told);
        // The third may come again, if the restart was faster than the note that it was taken.
        if message.body.contains("fourth") {
            break;
        }
        assert!(message.body.contains("third"), "{}", message.body);
    }
}

#[test]
fn a_webhook_is_tested_and_listed_on_the_command_line() {
    let (url, told) = statuses(&[204, 401]);
    let t = temp();
    let site = site_with(&t, &url, "node.");
    let front = Front::of(t, site);
    assert!(front.here(&["webhook", "test", &url]).starts_with("taken with status 204 after "));
    assert!(next(&told).body.contains("webhook.test"));
    let said = front.try_here(&["webhook", "test", &url]);
    assert!(said.code == 1 && said.err.contains("status 401"), "{}", said.err);
    assert_eq!(front.try_here(&["webhook", "test", "http://elsewhere/"]).code, 1);
    let listed = front.json(&["webhook", "list"]);
    assert_eq!((&listed["webhooks"][0]["url"], &listed["webhooks"][0]["dead"]), (&url.into(), &0.into()));
    assert_eq!(front.try_here(&["webhook", "dead"]).err, "seedd: no dead letters\n");
}

/// Answers each request with status 200 and a body of `size` bytes.
fn talkative(size: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/SECRET", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut seen = Vec::new();
            let mut bytes = [0; 4096];
            // The body of a test is one line of JSON, and ends the request.
            while !seen.ends_with(b"}") {
                let got = stream.read(&mut bytes).unwrap();
                seen.extend_from_slice(&bytes[..got]);
                assert_ne!(got, 0, "the request ended early");
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
            // The other side stops reading.
            let _ = stream.write_all(&vec![b'x'; size]);
        }
    });
    url
}

#[test]
fn a_message_is_taken_by_the_status_however_large_the_answer_is() {
    for size in [0, 64 << 10, (64 << 10) + 1, 8 << 20] {
        let url = talkative(size);
        let t = temp();
        let seed = Seed(app(&site_with(&t, &url, "")));
        assert_eq!(seed.test_webhook(&admin(), &url).map(|done| done.status).map_err(|e| e.to_string()), Ok(200), "{size}");
    }
}

#[test]
fn the_path_of_a_url_is_shown_only_to_those_who_may_administer() {
    let t = temp();
    let url = "http://127.0.0.1:1/SECRET";
    let app = app(&site_with(&t, url, "node."));
    let seed = Seed(app.clone());
    let (auditor, viewer) = (Actor::session("bob", Rights::Auditor, true), Actor::session("eve", Rights::Viewer, true));
    let runtime = run(&app);
    begun(&app);
    happen(&app, EventKind::NodeRevoked, "gone");
    while app.store.read(dead::all).unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    runtime.shutdown_timeout(Duration::from_secs(5));
    let listed = |actor: &Actor| seed.webhooks(actor).unwrap().remove(0).url;
    assert_eq!((listed(&admin()).as_str(), listed(&viewer).as_str()), (url, "http://127.0.0.1:1/\u{2026}"));
    assert_eq!(listed(&auditor), listed(&viewer));
    let dead = |actor: &Actor| seed.dead_letters(actor).map(|mut all| all.remove(0).url).map_err(|e| e.to_string());
    assert_eq!((dead(&admin()), dead(&auditor)), (Ok(url.to_owned()), Ok(listed(&auditor))));
    assert!(dead(&viewer).is_err());
    // Everybody reads the event log.
    let events = app.store.read(|tx| tx.newest_of("webhook.", 9)).unwrap();
    assert!(events[0].text.contains("127.0.0.1:1") && !events[0].text.contains("SECRET"), "{}", events[0].text);
    assert!(!seed.settings(&viewer).unwrap().text.contains("SECRET"));
    assert!(seed.settings(&admin()).unwrap().text.contains("SECRET"));
}
