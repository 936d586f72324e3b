//! What the command line changes while the daemon runs: the daemon writes it, says so in its log, and its open pages know at once.

use appliance::control::Client;
use cluster_seed::ids::{Digest, Mac};
use cluster_seed::join::token::TokenId;
use host::clock::now;
use seedd::app::Seed;
use serde_json::Value;
use site::tokens::{self, DiskRule, Grant, Refusal, Token};
use site::verdicts::{self, Said, Verdict};
use tokio::sync::watch;
use web::api::OperatorApi as _;

use crate::support::front::Front;
use crate::support::sites::{A, filled, put_payload, temp};

/// A seed, and what its open pages are told.
pub struct Bench {
    pub front: Front,
    pub newest: watch::Receiver<i64>,
}

impl Bench {
    pub fn new() -> Self {
        Bench::of(Front::new())
    }

    pub fn of(front: Front) -> Self {
        let newest = Seed(front.app.clone()).subscribe();
        Bench { front, newest }
    }

    pub fn last(&self) -> i64 {
        self.front.app.store.read(|tx| tx.last_event()).unwrap()
    }

    /// Succeeds, and the daemon's last event is of this kind and by the command line.
    pub fn writes(&mut self, words: &[&str], kind: &str) -> String {
        let before = self.last();
        let said = self.front.here(words);
        // Only the daemon's own writes wake its pages.
        assert!(self.newest.has_changed().unwrap(), "{words:?}");
        self.newest.mark_unchanged();
        let event = self.front.app.store.read(|tx| tx.newest_of(kind, 1)).unwrap().remove(0);
        assert!(event.id > before && event.id == self.last(), "{words:?}: {event:?}");
        assert_eq!(event.actor.as_deref(), Some("command line"), "{words:?}");
        said
    }

    /// Fails with these words, and nothing is written.
    pub fn refuses(&self, words: &[&str], parts: &[&str]) {
        let before = self.last();
        let said = self.front.try_here(words);
        assert_eq!(said.code, 1, "{words:?}: {}", said.out);
        for part in parts {
            assert!(said.err.contains(part), "{words:?}: no {part:?} in {}", said.err);
        }
        assert_eq!(self.last(), before, "{words:?}");
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_running_daemon_creates_and_revokes_join_tokens_itself() {
    let mut b = Bench::new();
    let wish = ["--role", "base", "--name", "web-{n}", "--uses", "3", "--expires", "2h", "--disk", "largest", "--json"];
    let made = json(&b.writes(&[&["token", "create"][..], &wish].concat(), "token.created"));
    let id: TokenId = made["id"].as_str().unwrap().parse().unwrap();
    let held = b.front.app.store.read(|tx| tokens::get(tx, id)).unwrap().unwrap();
    assert_eq!((held.creator.as_str(), held.grant.role.as_str(), held.grant.uses), ("command line", "base", 3));
    assert_eq!((held.grant.disk, held.grant.expires - held.created), (DiskRule::Largest, 7_200));
    assert_eq!((made["expires"].as_u64(), made["waits"].as_bool()), (Some(held.grant.expires), Some(false)));
    let keys = b.front.site.keys().unseal(A).unwrap();
    assert_eq!(
        held.open(&keys.vault).unwrap().to_text().as_str(),
        made["token"].as_str().unwrap(),
        "the vault has the secret that was shown"
    );
    b.refuses(&["token", "create", "--role", "king", "--name", "a"], &["no role \"king\"", "hint: roles are in cluster.yaml"]);
    b.refuses(&["token", "create", "--role", "base", "--name", "edge", "--uses", "2"], &["one use only"]);
    let id = id.to_string();
    assert!(b.writes(&["token", "revoke", &id], "token.revoked").contains(&format!("join token {id} revoked")));
    b.refuses(&["token", "revoke", &id], &["could be revoked"]);
}

#[test]
fn join_tokens_are_created_and_revoked_without_a_daemon_too() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let seedd = |words: &[&str]| {
        let done =
            std::process::Command::new(env!("CARGO_BIN_EXE_seedd")).args(words).args(["--data", site.data.as_str()]).output();
        let done = done.unwrap();
        let text = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        (done.status.code(), text)
    };
    let (code, text) = seedd(&["token", "create", "--role", "base", "--name", "edge", "--json"]);
    assert_eq!(code, Some(0), "{text}");
    let id = json(text.lines().next().unwrap())["id"].as_str().unwrap().to_owned();
    let (code, text) = seedd(&["token", "create", "--role", "king", "--name", "edge"]);
    assert!(code == Some(1) && text.contains("no role \"king\""), "{text}");
    assert_eq!(seedd(&["token", "revoke", &id]).0, Some(0));
    let (code, text) = seedd(&["token", "revoke", &id]);
    assert!(code == Some(1) && text.contains("could be revoked"), "{text}");
    let kinds: Vec<String> =
        site.open_store().unwrap().read(|tx| tx.newest_of("token.", 9)).unwrap().into_iter().map(|e| e.kind).collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
}

#[test]
fn a_running_daemon_allows_a_denied_machine_that_it_does_not_know_any_more() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let mac = Mac([0x52, 0x54, 0, 0xab, 0, 1]);
    let verdict = Verdict { said: Said::Denied, by: "ada".into(), at: 1, reason: "not ours".into(), key: None };
    site.open_store().unwrap().write(|tx| verdicts::put(tx, mac, &verdict)).unwrap();
    let mut b = Bench::of(Front::of(t, site));
    let word = mac.to_string();
    assert!(b.front.app.store.read(|tx| tx.machine_by_mac(mac)).unwrap().is_none(), "no machine has this address");
    b.refuses(&["enrollment", "not-now", &word], &["no such machine"]);
    assert!(b.writes(&["enrollment", "allow", &word], "machine.allowed").contains("may ask to enroll again"));
    assert!(b.front.app.store.read(|tx| verdicts::of(tx, mac, now())).unwrap().is_none());
    b.refuses(&["enrollment", "allow", &word], &["neither denied nor set aside", "hint: `seedd enrollment status`"]);
}

#[test]
fn a_running_daemon_changes_users_and_their_tokens_itself() {
    let mut b = Bench::new();
    let secret = b.front.path("secret");
    std::fs::write(&secret, "correct horse battery\n").unwrap();
    let file = ["--password-file", secret.as_str()];
    let add = ["user", "add", "bob", "--rights", "operator"];
    assert!(b.writes(&[&add[..], &file].concat(), "user.set").contains("bob: added, rights operator"));
    b.refuses(&[&add[..], &file].concat(), &["there is a user bob already"]);
    assert!(b.writes(&["user", "set", "bob", "--disable"], "user.set").contains("bob: rights operator, disabled"));
    assert!(b.writes(&["user", "set", "bob", "--enable", "--rights", "viewer"], "user.set").contains("bob: rights viewer"));
    b.writes(&[&["user", "password", "bob"][..], &file].concat(), "user.set");
    let create = ["user", "token", "create", "--name", "backup", "--scope", "read", "--json", "--user"];
    let made = json(&b.writes(&[&create[..], &["bob"]].concat(), "api_token.created"));
    let id = made["id"].as_str().unwrap();
    assert!(made["token"].as_str().unwrap().starts_with(&format!("kbd_{id}_")), "{made}");
    b.refuses(&[&create[..], &["eve"]].concat(), &["there is no user"]);
    assert!(b.writes(&["user", "token", "revoke", id], "api_token.revoked").contains("of bob revoked"));
    b.refuses(&["user", "token", "revoke", id], &["no such API token"]);
    b.refuses(&["user", "set", "eve", "--enable"], &["there is no user", "hint: `seedd user list`"]);
    b.writes(&["user", "remove", "bob"], "user.removed");
    b.refuses(&["user", "remove", "ada"], &["only administrator", "hint: "]);
    // The older form.
    let set = ["admin", "set", "cleo"];
    assert!(b.writes(&[&set[..], &file].concat(), "user.set").contains("cleo: administrator created"));
    assert!(b.writes(&[&set[..], &file].concat(), "user.set").contains("cleo: password reset"));
    b.writes(&["admin", "remove", "cleo"], "user.removed");
}

#[test]
fn a_running_daemon_keeps_the_metrics_token_itself() {
    let mut b = Bench::new();
    let made = json(&b.writes(&["metrics", "token", "--days", "9", "--json"], "api_token.created"));
    let elsewhere = "192.0.2.9".parse().unwrap();
    let token = made["token"].as_str().unwrap();
    assert!(b.front.app.metrics_for(elsewhere, Some(token)).is_ok());
    b.writes(&["metrics", "revoke"], "api_token.revoked");
    assert!(b.front.app.metrics_for(elsewhere, Some(token)).is_err());
}

#[test]
fn a_running_daemon_puts_a_payload_in_use_itself_and_only_one_that_was_published() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let (first, second) = (put_payload(&site, "one"), put_payload(&site, "two"));
    assert_ne!(first, second);
    let mut b = Bench::of(Front::of(t, site));
    let in_use = |b: &Bench| b.front.app.store.read(|tx| tx.payload()).unwrap();
    assert_eq!(in_use(&b), Some(second));
    b.writes(&["payload", "use", &first.to_string()], "payload.published");
    assert_eq!(in_use(&b), Some(first));
    let refused = Client::new(&b.front.site.control_socket()).use_payload(Digest([7; 32])).unwrap_err();
    assert!(refused.to_string().contains("there is no payload"), "{refused}");
    assert_eq!(in_use(&b), Some(first));
}

#[test]
fn a_running_daemon_makes_the_token_of_an_image_valid_and_ends_that_of_the_image_before() {
    let b = Bench::new();
    let daemon = Client::new(&b.front.site.control_socket());
    let keep = |image: &str| {
        let name = "edge".parse().unwrap();
        let grant = Grant { role: "base".into(), name, uses: 1, expires: now() + 3_600, disk: DiskRule::Only };
        let (mut token, secret) = Token::draw(grant, "command line", now(), &b.front.app.public.vault).unwrap();
        token.image = Some(image.to_owned());
        daemon.add_image_token(secret.id, token).unwrap();
        secret.id
    };
    let (first, second) = (keep("one"), keep("two"));
    let ended = |id| b.front.app.store.read(|tx| tokens::get(tx, id)).unwrap().unwrap().may_serve(0, now()).err();
    assert_eq!((ended(first), ended(second)), (Some(Refusal::Revoked), None));
    let told = b.front.app.store.read(|tx| tx.newest_of("token.", 9)).unwrap();
    assert!(told.iter().all(|e| e.actor.as_deref() == Some("command line")), "{told:?}");
    for part in ["in image one", "in image two", &format!("join token {first} revoked: there is a newer image of edge")] {
        assert!(told.iter().any(|e| e.text.contains(part)), "no {part:?} in {told:?}");
    }
}
