//! Countersigning: an approved machine waits for the key that is kept off the seed, from the seed to what its nodes take.

use std::sync::Arc;

use cluster_seed::countersign::file::{Answer, Request};
use cluster_seed::events::EventKind;
use cluster_seed::held::Refused;
use cluster_seed::identity::NodeIdentity;
use cluster_seed::ids::Hostname;
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::{Sealed, SigningKey, key_text};
use payload::http::Http;
use payload::state::NodeDir;
use seedd::app::{App, Seed};
use site::Site;
use web::api::{ApiError, CountersignApi as _, CountersignTaken, RotateWish, RotationApi as _};

use crate::epoch::{running, serve};
use crate::support::front::Front;
use crate::support::sites::*;

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn text(n: u8) -> String {
    key_text(&key(n).verifying_key())
}

/// A site whose cluster.yaml names this key.
fn site_with(t: &Temp, key: &str) -> Site {
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let text = std::fs::read_to_string(site.cluster_file()).unwrap();
    let with = match text.contains("\n  enrollment:\n") {
        true => text.replacen("\n  enrollment:\n", &format!("\n  enrollment:\n    countersign: {{key: \"{key}\"}}\n"), 1),
        false => text.replacen("\nspec:\n", &format!("\nspec:\n  enrollment: {{countersign: {{key: \"{key}\"}}}}\n"), 1),
    };
    assert_ne!(text, with);
    std::fs::write(site.cluster_file(), with).unwrap();
    site
}

fn list(app: &App) -> PeersFile {
    app.signed_peers().unwrap().open(&app.site_key).unwrap()
}

fn names(list: &PeersFile) -> Vec<&str> {
    list.nodes.keys().map(Hostname::label).collect()
}

fn request(app: &Arc<App>, all: bool) -> Request {
    serde_json::from_str(&Seed(app.clone()).countersign_request(all).unwrap().text).unwrap()
}

fn bring(app: &Arc<App>, answer: &Answer) -> Result<CountersignTaken, ApiError> {
    Seed(app.clone()).take_countersignatures(&admin(), &serde_json::to_string(answer).unwrap())
}

fn sign_all(app: &Arc<App>, n: u8, all: bool) {
    let request = request(app, all);
    bring(app, &request.sign(&key(n), |_| true).unwrap()).unwrap();
}

fn events(app: &App, kind: EventKind) -> usize {
    app.store.read(|tx| tx.events_after(0, 1_000)).unwrap().iter().filter(|e| e.kind == kind.as_str()).count()
}

#[test]
fn an_approved_node_enters_the_list_with_its_signature_only() {
    let t = temp();
    let app = unsealed(&site_with(&t, &text(5)), A);
    Machine::new(1).install(&app, "n1", false);
    Machine::new(2).install(&app, "n2", false);
    assert_eq!(names(&list(&app)), ["seed"]);
    let view = Seed(app.clone()).countersign().unwrap();
    assert!(view.checked && view.problem.is_none());
    assert_eq!(view.waiting.iter().map(|w| w.name.label()).collect::<Vec<_>>(), ["n1", "n2"]);
    let asked = request(&app, false);
    assert_eq!(asked.nodes[0].fingerprint(), view.waiting[0].fingerprint);
    assert!(app.view_overview().unwrap().warnings.iter().any(|w| w.contains("2 nodes wait for their countersignature")));
    // Several at once in one file.
    let taken = bring(&app, &asked.sign(&key(5), |_| true).unwrap()).unwrap();
    assert_eq!((taken.signed.len(), taken.outdated.len(), taken.change), (2, 0, false));
    assert_eq!(names(&list(&app)), ["n1", "n2", "seed"]);
    assert!(request(&app, false).nodes.is_empty() && request(&app, true).nodes.len() == 2);
    assert_eq!(events(&app, EventKind::CountersignTaken), 1);
}

#[test]
fn a_signature_is_of_no_use_for_another_key_name_or_site() {
    let t = temp();
    let app = unsealed(&site_with(&t, &text(5)), A);
    Machine::new(1).install(&app, "n1", false);
    let asked = request(&app, false);
    // The seed's own keys and any other sign nothing.
    let forged = Request { key: text(6), ..asked.clone() }.sign(&key(6), |_| true).unwrap();
    assert!(bring(&app, &forged).unwrap_err().to_string().contains("not the key in force"));
    let mut answer = asked.sign(&key(5), |_| true).unwrap();
    answer.nodes[0].signature = forged.nodes[0].signature.clone();
    assert!(bring(&app, &answer).unwrap_err().to_string().contains("signature"));
    let elsewhere = Answer { site: "00".repeat(32), ..asked.sign(&key(5), |_| true).unwrap() };
    assert!(bring(&app, &elsewhere).unwrap_err().to_string().contains("another site"));
    assert_eq!(names(&list(&app)), ["seed"]);
    // A machine that takes the name has other keys: what was signed for the first one is outdated.
    let late = asked.sign(&key(5), |_| true).unwrap();
    Machine::new(2).install(&app, "n1", true);
    let taken = bring(&app, &late).unwrap();
    assert_eq!((taken.signed.len(), taken.outdated.len()), (0, 1));
    assert_eq!(names(&list(&app)), ["seed"]);
    sign_all(&app, 5, false);
    assert_eq!(names(&list(&app)), ["n1", "seed"]);
}

#[test]
fn keys_are_not_replaced_behind_the_back_of_the_offline_key() {
    let t = temp();
    let app = unsealed(&site_with(&t, &text(5)), A);
    Machine::new(1).install(&app, "n1", false);
    sign_all(&app, 5, false);
    let before = list(&app);
    let wish = RotateWish { node: None, plane: None, all: true };
    let refused = Seed(app.clone()).rotate(&admin(), &wish).unwrap_err();
    assert!(matches!(&refused, ApiError::Conflict { .. }), "{refused:?}");
    app.resign_peers().unwrap();
    assert_eq!(list(&app), before);
}

#[test]
fn the_key_takes_effect_after_the_keys_of_nodes_that_are_being_replaced() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let plain = std::fs::read_to_string(site.cluster_file()).unwrap();
    let app = unsealed(&site, A);
    Machine::new(1).install(&app, "n1", false);
    let wish = RotateWish { node: None, plane: None, all: true };
    assert!(!Seed(app.clone()).rotate(&admin(), &wish).unwrap().is_empty());
    drop(app);
    let app = unsealed(&site_with_key_in(&site, &plain, 5), A);
    let view = Seed(app.clone()).countersign().unwrap();
    assert!(view.key.is_none() && view.problem.unwrap().contains("being replaced"), "{:?}", view.key);
    // Nothing is signed for it, so that nothing brings it into force meanwhile.
    assert!(matches!(Seed(app.clone()).countersign_request(false), Err(ApiError::Conflict { .. })));
    let answer = Answer { format: 1, site: app.public.site.clone(), key: text(5), nodes: vec![], change: None };
    bring(&app, &answer).unwrap();
    app.resign_peers().unwrap();
    assert!(list(&app).countersign.is_none() && names(&list(&app)) == ["n1", "seed"]);
    app.store.write(|tx| tx.rotations()?.iter().try_for_each(|r| tx.end_rotations(r.node))).unwrap();
    let view = Seed(app.clone()).countersign().unwrap();
    assert_eq!((view.key, view.problem), (Some(text(5)), None));
    sign_all(&app, 5, false);
    assert!(list(&app).countersign.is_some() && names(&list(&app)) == ["n1", "seed"]);
}

#[test]
fn a_rotation_of_an_old_copy_ends_when_the_site_is_countersigned_since() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let plain = std::fs::read_to_string(site.cluster_file()).unwrap();
    let app = unsealed(&site_with_key_in(&site, &plain, 5), A);
    let url = serve(&app);
    let n1 = Running::start(1, &app, &t);
    sign_all(&app, 5, false);
    let queued = app.store.write(|tx| {
        let node = &tx.live_nodes()?[0];
        tx.queue_rotation(node.id, "wg1", "ada", 1)
    });
    assert!(queued.unwrap());
    assert_eq!(n1.refresh(&url), ["n1", "seed"]);
    assert!(Seed(app.clone()).rotations().unwrap().is_empty() && list(&app).rotating.is_empty());
}

#[test]
fn a_revocation_needs_no_signature() {
    let t = temp();
    let app = unsealed(&site_with(&t, &text(5)), A);
    let id = Machine::new(1).install(&app, "n1", false);
    sign_all(&app, 5, false);
    assert_eq!(names(&list(&app)), ["n1", "seed"]);
    app.revoke_by(&admin(), id, "stolen").unwrap();
    assert_eq!(names(&list(&app)), ["seed"]);
    assert!(list(&app).countersign.unwrap().nodes.is_empty());
}

/// A node that runs, and what it needs to ask for lists.
struct Running {
    machine: Machine,
    identity: NodeIdentity,
    dir: NodeDir,
}

impl Running {
    fn start(n: u8, app: &App, t: &Temp) -> Self {
        let (machine, identity, dir) = running(n, app, t);
        Running { machine, identity, dir }
    }

    /// One period of its timer; the names that it knows then.
    fn refresh(&self, url: &str) -> Vec<String> {
        if let Err(e) = period(&self.dir, &self.identity, &self.machine.key, &Http::new(url)) {
            println!("{}", payload::http::chain(&e));
        }
        self.dir.peers(&self.identity).unwrap().nodes.keys().map(|n| n.label().to_owned()).collect()
    }
}

/// The seed's keys are stolen: the thief signs a list with a node of his own.
fn forge(app: &App, change: impl FnOnce(&mut PeersFile)) {
    let mut forged = list(app);
    forged.version += 1;
    change(&mut forged);
    app.with_keys(|keys| {
        let sealed = Sealed::sign(&forged, &keys.site).unwrap();
        app.store.set(site::setting::PEERS, &serde_json::to_string(&sealed).unwrap()).unwrap();
        Ok(())
    })
    .unwrap();
}

#[test]
fn nodes_take_no_peer_that_a_stolen_seed_signed_alone_and_report_it() {
    let t = temp();
    let app = unsealed(&site_with(&t, &text(5)), A);
    let url = serve(&app);
    let n1 = Running::start(1, &app, &t);
    assert_eq!(n1.refresh(&url), ["seed"]);
    sign_all(&app, 5, false);
    assert_eq!(n1.refresh(&url), ["n1", "seed"]);
    forge(&app, |list| {
        let thief = list.nodes.values().next().unwrap().clone();
        list.nodes.insert("thief.kubedos.lan".parse().unwrap(), thief);
    });
    assert_eq!(n1.refresh(&url), ["n1", "seed"]);
    assert_eq!(events(&app, EventKind::CountersignRefused), 1);
    n1.refresh(&url);
    assert_eq!(events(&app, EventKind::CountersignRefused), 1, "once, and not with each message");
    // Without the key, the list is refused as a whole.
    forge(&app, |list| list.countersign = None);
    assert_eq!(n1.refresh(&url), ["n1", "seed"]);
    assert_eq!(events(&app, EventKind::CountersignRefused), 2);
}

#[test]
fn the_names_of_a_refusal_are_bounded() {
    let names: Vec<Hostname> = (0..40).map(|n| format!("n{n}.lan").parse().unwrap()).collect();
    let refused = Refused::entries(&names).unwrap();
    assert_eq!((refused.names.len(), refused.more), (16, 24));
    assert_eq!(Refused::entries(&[]), None);
    assert_eq!(Refused::list(&"x".repeat(999)).why.len(), 300);
}

#[test]
fn the_key_begins_at_a_running_site_and_stays_when_it_is_taken_out_of_the_file() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let plain = std::fs::read_to_string(site.cluster_file()).unwrap();
    let app = unsealed(&site, A);
    Machine::new(1).install(&app, "n1", false);
    assert!(list(&app).countersign.is_none());
    drop(app);
    let app = unsealed(&site_with_key_in(&site, &plain, 5), A);
    Machine::new(2).install(&app, "n2", false);
    let now = list(&app);
    assert_eq!((names(&now), now.countersign.is_none()), (vec!["n1", "seed"], true), "n1 was there before the key");
    sign_all(&app, 5, false);
    let now = list(&app);
    assert_eq!((names(&now), now.countersign.is_some()), (vec!["n1", "n2", "seed"], true));
    drop(app);
    std::fs::write(site.cluster_file(), &plain).unwrap();
    let app = unsealed(&site, A);
    Machine::new(3).install(&app, "n3", false);
    assert_eq!(names(&list(&app)), ["n1", "n2", "seed"]);
    assert!(Seed(app.clone()).countersign().unwrap().problem.unwrap().contains("stays in force"));
}

fn site_with_key_in(site: &Site, plain: &str, n: u8) -> Site {
    let key = text(n);
    let with = match plain.contains("\n  enrollment:\n") {
        true => plain.replacen("\n  enrollment:\n", &format!("\n  enrollment:\n    countersign: {{key: \"{key}\"}}\n"), 1),
        false => plain.replacen("\nspec:\n", &format!("\nspec:\n  enrollment: {{countersign: {{key: \"{key}\"}}}}\n"), 1),
    };
    std::fs::write(site.cluster_file(), with).unwrap();
    site.clone()
}

#[test]
fn the_old_key_hands_over_and_nobody_else_does() {
    let t = temp();
    let app = unsealed(&site_with(&t, &text(5)), A);
    let url = serve(&app);
    let n1 = Running::start(1, &app, &t);
    sign_all(&app, 5, false);
    assert_eq!(n1.refresh(&url), ["n1", "seed"]);
    let asked = request(&app, false);
    let other = Request { key: text(6), ..asked.clone() }.hand_over(&key(6), Some(text(6))).unwrap();
    assert!(bring(&app, &other).unwrap_err().to_string().contains("not signed by the key in force"));
    assert!(bring(&app, &asked.hand_over(&key(5), Some(text(6))).unwrap()).unwrap().change);
    assert_eq!(list(&app).countersign.unwrap().key, Some(text(5)), "until the new one has signed every node");
    assert_eq!(request(&app, false).key, text(6));
    sign_all(&app, 6, false);
    let part = list(&app).countersign.unwrap();
    assert_eq!((part.key, part.serial), (Some(text(6)), 1));
    assert_eq!(n1.refresh(&url), ["n1", "seed"]);
    assert_eq!(n1.dir.peers(&n1.identity).unwrap().version, list(&app).version);
    // The end, which the key in force alone can sign. The first key, which cluster.yaml still has, does not come back.
    let ended = request(&app, false).hand_over(&key(6), None).unwrap();
    bring(&app, &ended).unwrap();
    Machine::new(2).install(&app, "n2", false);
    assert_eq!(n1.refresh(&url), ["n1", "n2", "seed"]);
    assert!(Seed(app.clone()).countersign().unwrap().problem.unwrap().contains("does not take effect again"));
}

#[test]
fn the_files_go_to_the_offline_machine_and_back() {
    let t = temp();
    let word = t.path.join("word");
    std::fs::write(&word, "a long passphrase\n").unwrap();
    let file = t.path.join("countersign.key");
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let front = Front::of(t, site);
    let words = ["countersign", "keygen", "--out", file.as_str(), "--passphrase-file", word.as_str()];
    let made = front.run(&words);
    assert_eq!(made.code, 0, "{}", made.err);
    let public = made.out.lines().find_map(|l| l.trim().strip_prefix("public")).unwrap().trim().to_owned();
    assert!(public.len() == 64 && front.run(&words).err.contains("exists already"));
    let no_key = front.try_here(&["countersign", "export"]);
    assert!(no_key.code == 1 && no_key.err.contains("no countersigning key"), "{}", no_key.err);
    // A request as the seed would write it.
    let t2 = temp();
    let app = unsealed(&site_with(&t2, &public), A);
    Machine::new(1).install(&app, "n1", false);
    let (asked, answer) = (t2.path.join("request.json"), t2.path.join("answer.json"));
    std::fs::write(&asked, Seed(app.clone()).countersign_request(false).unwrap().text).unwrap();
    let sign = ["countersign", "sign", asked.as_str(), "--key", file.as_str(), "--passphrase-file", word.as_str()];
    let refused = front.run(&sign);
    assert!(refused.code == 1 && refused.err.contains("--yes"), "nothing is signed without a yes: {}", refused.err);
    let signed = front.run(&[&sign[..], &["--yes", "--out", answer.as_str()]].concat());
    assert_eq!(signed.code, 0, "{}", signed.err);
    let print = request(&app, false).nodes[0].fingerprint();
    assert!(signed.out.contains("n1.") && signed.out.contains("base") && signed.out.contains(&print), "{}", signed.out);
    let seed = Seed(app.clone());
    seed.take_countersignatures(&admin(), &std::fs::read_to_string(&answer).unwrap()).unwrap();
    assert_eq!(names(&list(&app)), ["n1", "seed"]);
}
