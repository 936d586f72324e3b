//! Two seeds of one site: the nodes follow the promoted one, and the other falls silent when it is shown why.

use std::net::SocketAddr;
use std::sync::Arc;

use cluster_seed::agent::ReportBody;
use cluster_seed::epoch::EpochProof;
use cluster_seed::identity::NodeIdentity;
use cluster_seed::ids::Digest;
use cluster_seed::seal::{Sealed, SigningKey};
use payload::http::{Http, chain};
use payload::node::lists::{ListError, Refreshed};
use payload::state::NodeDir;
use seedd::app::{App, Seed};
use site::mode::Mode;
use site::store::Store;
use site::{Site, setting};
use web::api::{ApiError, SeedMode};

use crate::support::capsules::{export, import};
use crate::support::sites::*;

/// Site A's capsule, imported at B and promoted.
fn moved(a: &Site, b: &Site, t: &Temp) -> Arc<App> {
    let file = t.path.join("a.capsule");
    export((a, A), b, &file, None, false).unwrap();
    import((b, B), &file, &a.keys().public().unwrap().site_key().unwrap(), true).unwrap();
    let operator = b.keys().operator(B).unwrap();
    let at_b = app(b);
    at_b.promote("test").unwrap();
    at_b.reload_with(Some(operator));
    Arc::new(at_b.reopened().unwrap())
}

/// A seed as machines reach it, on a thread of its own until the test ends.
pub(crate) fn serve(app: &Arc<App>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at: SocketAddr = listener.local_addr().unwrap();
    let router = web::machine_router(Arc::new(Seed(app.clone())));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            web::listener::serve(listener, router, std::future::pending()).await;
        });
    });
    format!("http://{at}")
}

pub(crate) fn node(machine: &Machine, app: &App, name: &str) -> NodeIdentity {
    let (id, code) = machine.enroll(app);
    machine.approve(app, id, &form(&code, name, false)).unwrap();
    machine.claim(app, id).unwrap().identity.open(&app.site_key).unwrap().open(&machine.age).unwrap()
}

/// An approved machine, its identity, and the directory of its files below `t`.
pub(crate) fn running(n: u8, app: &App, t: &Temp) -> (Machine, NodeIdentity, NodeDir) {
    let machine = Machine::new(n);
    let identity = node(&machine, app, &format!("n{n}"));
    let path = t.path.join(format!("node-{n}"));
    std::fs::create_dir_all(&path).unwrap();
    (machine, identity, NodeDir::new(&path))
}

/// The same, and it has reported its installation.
pub(crate) fn installed(n: u8, app: &App, t: &Temp) -> (Machine, NodeIdentity, NodeDir) {
    let (machine, identity, dir) = running(n, app, t);
    let id = identity.info.enrollment;
    let began = ReportBody::InstallBegan { artifact: Digest([1; 32]), disk: "vda".into(), total: 100 };
    machine.report(app, id, 1, began).unwrap();
    machine.report(app, id, 2, ReportBody::InstallDone { seconds: 1 }).unwrap();
    (machine, identity, dir)
}

#[test]
fn the_nodes_follow_the_promoted_seed_and_silence_the_other() {
    let t = temp();
    let a = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let b = empty(&t.path.join("b"), "site-b", B);
    let at_a = unsealed(&a, A);
    let first = Machine::new(1);
    let identity = node(&first, &at_a, "n1");
    let id = identity.info.enrollment;
    let began = ReportBody::InstallBegan { artifact: Digest([1; 32]), disk: "vda".into(), total: 100 };
    first.report(&at_a, id, 1, began).unwrap();
    first.report(&at_a, id, 2, ReportBody::InstallDone { seconds: 1 }).unwrap();
    let waiting = Machine::new(2);
    let (pending, code) = waiting.enroll(&at_a);
    let at_b = moved(&a, &b, &t);
    let (old, new) = (Http::new(&serve(&at_a)), Http::new(&serve(&at_b)));
    let dir = NodeDir::new(&t.path);

    let refresh = |seed: &Http| -> Result<Refreshed, ListError> { period(&dir, &identity, &first.key, seed) };
    assert_eq!(refresh(&old).unwrap().peers.epoch, 1);
    assert_eq!(at_a.mode().unwrap(), Mode::Active, "nobody has told it yet");
    assert_eq!(refresh(&new).unwrap().peers.epoch, 2);
    let refused = chain(&refresh(&old).unwrap_err());
    assert!(refused.contains("epoch 1") && refused.contains("epoch 2"), "{refused}");

    // The node has shown the proof: from now on site A's first seed issues nothing.
    assert_eq!(at_a.mode().unwrap(), Mode::Fenced { epoch: 2 });
    assert!(*at_a.changed.borrow(), "the daemon is told to serve pages only");
    let conflict = |r: Result<(), ApiError>| assert!(matches!(r, Err(ApiError::Conflict { .. })), "{r:?}");
    conflict(Machine::new(3).hello(&at_a).map(|_| ()));
    conflict(at_a.approve_by(&admin(), pending, &form(&code, "n2", false)).map(|_| ()));
    conflict(at_a.revoke_by(&admin(), identity.info.enrollment, "").map(|_| ()));
    conflict(at_a.promote("test").map(|_| ()));
    let view = at_a.view_overview().unwrap();
    assert_eq!(view.mode, SeedMode::Fenced);
    assert!(view.warnings.iter().any(|w| w.contains("epoch 2")), "{:?}", view.warnings);
    let events = at_a.store.read(|tx| tx.events_after(0, 500)).unwrap();
    assert_eq!(events.iter().filter(|e| e.kind == "seed.fenced").count(), 1);
    let peers = at_a.signed_peers().unwrap();
    at_a.resign_peers().unwrap();
    assert_eq!(at_a.signed_peers().unwrap(), peers, "it signs no new list");
    // Also after a restart.
    assert_eq!(app(&a).mode().unwrap(), Mode::Fenced { epoch: 2 });
    assert_eq!(at_b.mode().unwrap(), Mode::Active);
}

/// It was installed after the other seed was lost: that one has no list to offer it.
#[test]
fn a_node_that_only_the_promoted_seed_knows_silences_the_other() {
    let t = temp();
    let a = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let b = empty(&t.path.join("b"), "site-b", B);
    let at_a = unsealed(&a, A);
    let at_b = moved(&a, &b, &t);
    let (machine, identity, dir) = installed(1, &at_b, &t);
    // With the list that has this one too, the first node gets the proof.
    node(&Machine::new(2), &at_b, "n2");
    let (old, new) = (Http::new(&serve(&at_a)), Http::new(&serve(&at_b)));
    let refresh = |seed: &Http| -> Result<Refreshed, ListError> { period(&dir, &identity, &machine.key, seed) };
    assert!(matches!(refresh(&old), Err(ListError::Fetch(_))), "it is not known there");
    assert_eq!(at_a.mode().unwrap(), Mode::Active, "nobody has told it yet");
    let taken = refresh(&new).unwrap();
    assert_eq!((taken.peers.epoch, taken.changed), (2, true));
    let refused = chain(&refresh(&old).unwrap_err());
    assert!(refused.contains("epoch 1") && refused.contains("epoch 2"), "{refused}");
    assert_eq!(at_a.mode().unwrap(), Mode::Fenced { epoch: 2 });
    assert_eq!(at_b.mode().unwrap(), Mode::Active);
}

#[test]
fn only_the_sites_own_signature_silences_a_seed() {
    let t = temp();
    let a = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let at_a = unsealed(&a, A);
    let key = a.keys().unseal(A).unwrap().site;
    let show = |epoch, key: &SigningKey| at_a.hear_epoch(ip(), &Sealed::sign(&EpochProof { epoch }, key).unwrap());
    assert!(matches!(show(9, &SigningKey::from_bytes(&[1; 32])), Err(ApiError::Forbidden { .. })));
    for epoch in [0, 1] {
        let reply = show(epoch, &key).unwrap();
        assert_eq!((reply.epoch, reply.fenced), (1, false));
    }
    assert_eq!(at_a.epoch_proof().unwrap().open(&at_a.site_key).unwrap().epoch, 1);
    assert_eq!(at_a.mode().unwrap(), Mode::Active);
    // Its own proof again, from a stranger, is no news.
    let own = at_a.epoch_proof().unwrap();
    assert!(!at_a.hear_epoch(ip(), &own).unwrap().fenced);
    assert!(show(u64::MAX, &key).unwrap().fenced);
    assert!(show(5, &key).unwrap().fenced, "an older proof does not undo it");
    assert_eq!(at_a.mode().unwrap(), Mode::Fenced { epoch: u64::MAX });
}

#[test]
fn the_proof_of_a_drill_fences_nobody() {
    let t = temp();
    let a = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let b = empty(&t.path.join("b"), "site-b", B);
    Store::open(&b.database()).unwrap().set(setting::DRILL, "1").unwrap();
    let (at_b, at_a) = (moved(&a, &b, &t), unsealed(&a, A));
    assert_eq!(at_b.view_overview().unwrap().epoch, 2);
    let proof = at_b.epoch_proof().unwrap();
    assert!(matches!(at_a.hear_epoch(ip(), &proof), Err(ApiError::Forbidden { .. })), "the HTTP status is 403");
    assert_eq!(at_a.mode().unwrap(), Mode::Active);
    // It stays one after the copy is opened again.
    at_b.unseal_with(B, "test").unwrap();
    assert!(at_b.epoch_proof().unwrap().open(&at_a.site_key).is_err());
}

#[test]
fn a_fenced_seed_becomes_the_standby_of_the_one_that_took_over() {
    let t = temp();
    let a = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let b = empty(&t.path.join("b"), "site-b", B);
    let at_b = moved(&a, &b, &t);
    let at_a = unsealed(&a, A);
    assert!(at_a.hear_epoch(ip(), &at_b.epoch_proof().unwrap()).unwrap().fenced);
    Machine::new(4).install(&at_b, "n4", false);
    let file = t.path.join("b.capsule");
    export((&b, B), &a, &file, None, false).unwrap();
    let done = import((&a, A), &file, &b.keys().public().unwrap().site_key().unwrap(), true).unwrap();
    assert_eq!((done.epoch, done.nodes), (2, 1));
    assert_eq!(app(&a).promote("test").unwrap(), 3, "and may take over again");
}
