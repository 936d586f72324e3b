//! Join tokens at the seed: who is admitted, what is counted, and what a machine without the secret gets.

use std::sync::Arc;

use cluster_seed::enrollment::EnrollmentState as S;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::join::token::JoinToken;
use cluster_seed::machine::HardwareFacts;
use host::clock::now;
use seedd::app::App;
use site::tokens::{self, DiskRule, Grant, Token};
use web::api::ApiError;

use crate::epoch::serve;
use crate::support::sites::{A, Machine, Temp, admin, app, filled, form, temp};

struct Bench {
    _dir: Temp,
    app: Arc<App>,
}

fn sealed() -> Bench {
    let dir = temp();
    let site = filled(&dir.path.join("site"), "site-a", A, 1, 100);
    Bench { app: app(&site), _dir: dir }
}

fn unsealed() -> Bench {
    let bench = sealed();
    bench.app.unseal_with(A, "test").unwrap();
    bench
}

fn grant(uses: u32) -> Grant {
    Grant { role: "base".into(), name: "web-{n}".parse().unwrap(), uses, expires: now() + 3_600, disk: DiskRule::Only }
}

fn token(app: &App, grant: Grant) -> JoinToken {
    let (token, secret) = Token::draw(grant, "ada", now(), &app.public.vault).unwrap();
    assert!(app.store.write(|tx| tokens::add(tx, secret.id, &token, now())).unwrap());
    secret
}

fn held(app: &App, token: &JoinToken) -> Token {
    app.store.read(|tx| tokens::get(tx, token.id)).unwrap().unwrap()
}

fn enroll(app: &App, m: &Machine, token: &JoinToken) -> EnrollmentId {
    m.enroll_with(app, token.id, token, m.facts()).unwrap()
}

fn refused(result: Result<EnrollmentId, ApiError>) -> String {
    match result {
        Err(ApiError::Forbidden { why }) => why,
        other => panic!("{other:?}"),
    }
}

fn nodes(app: &App) -> Vec<String> {
    app.store.read(|tx| tx.live_nodes()).unwrap().into_iter().map(|n| n.hostname.to_string()).collect()
}

#[test]
fn a_machine_with_a_token_becomes_a_node_and_the_use_is_counted_at_the_claim() {
    let Bench { app, .. } = &unsealed();
    let token = token(app, grant(2));
    for (n, name) in [(1, "web-1."), (2, "web-2.")] {
        let m = Machine::new(n);
        let id = enroll(app, &m, &token);
        let status = app.status_of(id).unwrap();
        assert_eq!(status.state, S::Confirming);
        assert!(status.offer.unwrap().hostname.as_str().starts_with(name));
        assert_eq!(m.confirm(app, id).unwrap(), S::Approved);
        assert_eq!(held(app, &token).used, u32::from(n) - 1, "approved is not used");
        m.claim(app, id).unwrap();
        m.claim(app, id).unwrap();
        assert_eq!(held(app, &token).used, u32::from(n), "the same claim again counts once");
    }
    let third = Machine::new(3);
    let why = refused(third.enroll_with(app, token.id, &token, third.facts()));
    assert!(why.contains("is used up") && why.contains(&token.id.to_string()), "{why}");
    assert_eq!((nodes(app).len(), held(app, &token).refused), (2, 1));
}

#[test]
fn the_last_use_of_a_token_goes_to_one_of_two_machines() {
    let Bench { app, .. } = &unsealed();
    let token = token(app, grant(1));
    let (a, b) = (Machine::new(1), Machine::new(2));
    let (first, second) = (enroll(app, &a, &token), enroll(app, &b, &token));
    for id in [first, second] {
        assert_eq!(app.status_of(id).unwrap().state, S::Confirming);
    }
    assert_eq!(b.confirm(app, second).unwrap(), S::Approved);
    assert_eq!(a.confirm(app, first).unwrap(), S::Denied);
    assert!(app.status_of(first).unwrap().reason.unwrap().contains("is used up"));
    assert!(a.claim(app, first).is_err());
    b.claim(app, second).unwrap();
    assert_eq!((nodes(app).len(), held(app, &token).used), (1, 1));
}

#[test]
fn a_machine_without_the_secret_gets_nothing() {
    let Bench { app, .. } = &unsealed();
    let token = token(app, grant(5));
    let guess: JoinToken = format!("kjt-{}-{}", token.id, "0".repeat(32)).parse().unwrap();
    let eve = Machine::new(1);
    let id = eve.enroll_with(app, token.id, &guess, eve.facts()).unwrap();
    let offer = app.status_of(id).unwrap().offer.unwrap();
    assert!(eve.claim(app, id).is_err());
    assert_eq!(eve.confirm(app, id).unwrap(), S::Denied, "it cannot verify the offer");
    assert!(eve.claim(app, id).is_err() && nodes(app).is_empty());
    assert_eq!((held(app, &token).used, held(app, &token).refused), (0, 1));
    assert!(!serde_json::to_string(&offer).unwrap().contains(&token.to_text()[13..]));
    // An operator's code does not help it either.
    let id = eve_again(app, &token, &guess);
    assert!(matches!(app.approve_by(&admin(), id, &form("1-000-000", "n1", false)), Err(ApiError::Conflict { .. })));
}

fn eve_again(app: &App, token: &JoinToken, guess: &JoinToken) -> EnrollmentId {
    let eve = Machine::new(9);
    eve.enroll_with(app, token.id, guess, eve.facts()).unwrap()
}

#[test]
fn a_sealed_seed_lets_the_machine_wait_and_serves_it_once_unsealed() {
    let Bench { app, .. } = &sealed();
    let token = token(app, grant(1));
    let m = Machine::new(1);
    let id = enroll(app, &m, &token);
    for _ in 0..3 {
        assert_eq!(app.status_of(id).unwrap().state, S::Pending);
    }
    app.unseal_with(A, "test").unwrap();
    assert_eq!(app.status_of(id).unwrap().state, S::Confirming);
    assert_eq!(m.confirm(app, id).unwrap(), S::Approved);
}

#[test]
fn a_token_that_ended_is_refused_by_name_at_every_step() {
    let Bench { app, .. } = &unsealed();
    let unknown: JoinToken = format!("kjt-00000000-{}", "0".repeat(32)).parse().unwrap();
    let m = Machine::new(1);
    assert!(refused(m.enroll_with(app, unknown.id, &unknown, m.facts())).contains("is not known"));
    let late = token(app, Grant { expires: now() + 1, ..grant(1) });
    while now() < held(app, &late).grant.expires {
        std::thread::yield_now();
    }
    assert!(refused(m.enroll_with(app, late.id, &late, m.facts())).contains("has expired"));
    // Revoked after the hello, after the offer, and after the approval.
    let revoke = |token: &JoinToken| assert!(app.store.write(|tx| tokens::revoke(tx, token.id, now())).unwrap());
    let (one, two, three) = (token(app, grant(1)), token(app, grant(1)), token(app, grant(1)));
    let (a, b, c) = (Machine::new(2), Machine::new(3), Machine::new(4));
    let ids = [enroll(app, &a, &one), enroll(app, &b, &two), enroll(app, &c, &three)];
    revoke(&one);
    assert!(app.status_of(ids[0]).unwrap().reason.unwrap().contains("was revoked"));
    app.status_of(ids[1]).unwrap();
    revoke(&two);
    assert_eq!(b.confirm(app, ids[1]).unwrap(), S::Denied);
    app.status_of(ids[2]).unwrap();
    assert_eq!(c.confirm(app, ids[2]).unwrap(), S::Approved);
    assert_eq!(nodes(app).len(), 1);
    revoke(&three);
    assert!(matches!(c.claim(app, ids[2]), Err(ApiError::Forbidden { why }) if why.contains("was revoked")));
    assert_eq!(app.status_of(ids[2]).unwrap().state, S::Revoked);
    assert!(nodes(app).is_empty() && held(app, &three).used == 0);
}

#[test]
fn a_machine_that_joins_in_place_is_ordered_its_own_disk() {
    let Bench { app, .. } = &unsealed();
    let token = token(app, grant(2));
    let (m, lost) = (Machine::new(1), Machine::new(2));
    let mut facts = m.facts();
    facts.disks[0].size = 1 << 30;
    let second = cluster_seed::machine::Disk { name: "vdb".into(), size: 64 << 30, ..facts.disks[0].clone() };
    facts.disks.push(second);
    let id = m.enroll_with(app, token.id, &token, HardwareFacts { root_disk: Some("vda".into()), ..facts.clone() }).unwrap();
    let order = app.status_of(id).unwrap().offer.unwrap().order;
    assert_eq!((order.disk.as_str(), order.disk_size), ("vda", 1 << 30));
    // One that installs itself needs a disk that is large enough.
    facts.disks.pop();
    let id = lost.enroll_with(app, token.id, &token, facts).unwrap();
    assert!(app.status_of(id).unwrap().reason.unwrap().contains("0 disks that fit"));
}

#[test]
fn offers_to_machines_that_prove_nothing_are_few() {
    let Bench { app, .. } = &unsealed();
    let token = token(app, grant(100));
    let states: Vec<S> = (1..=20)
        .map(|n| {
            let m = Machine::new(n);
            let id = enroll(app, &m, &token);
            app.status_of(id).unwrap().state
        })
        .collect();
    assert_eq!(states.iter().filter(|s| **s == S::Confirming).count(), 8, "{states:?}");
    assert!(states[8..].iter().all(|s| *s == S::Pending), "{states:?}");
}

/// As `seedd image build --node` makes it.
fn of_image(app: &App, node: &str, image: &str) -> JoinToken {
    let grant = Grant { name: node.parse().unwrap(), ..grant(1) };
    let (mut token, secret) = Token::draw(grant, "ada", now(), &app.public.vault).unwrap();
    token.image = Some(image.to_owned());
    assert!(app.store.write(|tx| tokens::add_of_image(tx, secret.id, &token, now())).unwrap().is_some());
    secret
}

fn refusals(app: &App) -> Vec<String> {
    let events = app.store.read(|tx| tx.events_after(0, 1000)).unwrap();
    events.into_iter().filter(|e| e.kind == "token.refused").map(|e| e.text).collect()
}

#[test]
fn the_first_machine_of_a_nodes_image_becomes_the_node_and_a_copy_is_refused_and_recorded() {
    let Bench { app, .. } = &unsealed();
    let token = of_image(app, "edge", "site-a-base-edge-1");
    let (first, copy) = (Machine::new(1), Machine::new(2));
    let id = enroll(app, &first, &token);
    let offer = app.status_of(id).unwrap().offer.unwrap();
    assert_eq!((offer.hostname.as_str().split('.').next(), offer.role.as_str()), (Some("edge"), "base"));
    assert_eq!(first.confirm(app, id).unwrap(), S::Approved);
    first.claim(app, id).unwrap();
    assert!(refusals(app).is_empty());
    for _ in 0..3 {
        assert!(refused(copy.enroll_with(app, token.id, &token, copy.facts())).contains("is used up"));
    }
    let told = refusals(app);
    assert_eq!(told.len(), 1, "repeats are counted: {told:?}");
    let expected = format!("join token {} is used up: a machine that wants to be edge, role base, was refused", token.id);
    assert_eq!((&told[0], nodes(app).len(), held(app, &token).refused), (&expected, 1, 3));
}

#[test]
fn a_newer_image_of_a_node_and_a_revocation_end_the_older_one() {
    let Bench { app, .. } = &unsealed();
    let (older, newer) = (of_image(app, "edge", "one"), of_image(app, "edge", "two"));
    let m = Machine::new(1);
    assert!(refused(m.enroll_with(app, older.id, &older, m.facts())).contains("was revoked"));
    assert!(app.store.write(|tx| tokens::revoke(tx, newer.id, now())).unwrap());
    assert!(refused(m.enroll_with(app, newer.id, &newer, m.facts())).contains("was revoked"));
    assert!(nodes(app).is_empty());
}

#[test]
fn an_image_of_a_node_that_exists_gets_nothing_until_the_node_is_revoked() {
    let Bench { app, .. } = &unsealed();
    let (first, second) = (of_image(app, "edge", "one"), of_image(app, "edge", "two"));
    assert_eq!(held(app, &first).used, 0);
    let m = Machine::new(1);
    let id = enroll(app, &m, &second);
    m.confirm(app, id).unwrap();
    m.claim(app, id).unwrap();
    let third = of_image(app, "edge", "three");
    let other = Machine::new(2);
    let id = enroll(app, &other, &third);
    let status = app.status_of(id).unwrap();
    assert_eq!(status.state, S::Denied);
    assert!(status.reason.unwrap().contains("no name of edge is free"));
    assert_eq!(held(app, &third).used, 0);
}

#[test]
fn outputs_are_not_served_to_machines_by_any_path() {
    let bench = unsealed();
    let at = bench._dir.path.join("site/outputs/site-a-base-edge-1");
    std::fs::create_dir_all(&at).unwrap();
    std::fs::write(at.join("site-a-base-edge-1.qcow2"), "kjt-secret").unwrap();
    let base = serve(&bench.app);
    let file = "site-a-base-edge-1/site-a-base-edge-1.qcow2";
    for path in [
        format!("/outputs/{file}"),
        format!("/media/{file}"),
        format!("/media/..%2Foutputs%2F{}", file.replace('/', "%2F")),
        format!("/boot/..%2F..%2Foutputs%2F{}", file.replace('/', "%2F")),
        format!("/darksite/current/../../../outputs/{file}"),
        format!("/darksite/current/..%2F..%2F..%2Foutputs%2F{}", file.replace('/', "%2F")),
        format!("/darksite/extras/..%2F..%2Foutputs%2F{}", file.replace('/', "%2F")),
    ] {
        let answer = ureq::get(format!("{base}{path}")).call();
        assert!(matches!(answer, Err(ureq::Error::StatusCode(400..=499))), "{path}: {answer:?}");
    }
}
