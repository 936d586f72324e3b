//! What all nodes look like is read once for many messages, and again as soon as it matters.

use std::sync::Arc;

use cluster_seed::agent::GateCheck;
use cluster_seed::converge::orders::RunResult;
use cluster_seed::ids::EnrollmentId;
use converge::fleet::Scene;
use seedd::app::App;
use site::store::{Store, StoreError};
use web::api::ApiError;

use crate::converge::{PLAYS, three};

/// What a message of this node is decided by.
fn scene(app: &App, id: EnrollmentId) -> Arc<Scene> {
    let read = app.store.read(|tx| {
        let node = tx.node_of(id)?.ok_or(ApiError::NotFound { what: "node" })?;
        app.scene_for(tx, &node)
    });
    read.unwrap()
}

#[test]
fn messages_that_change_nothing_are_answered_from_one_reading_of_the_nodes() {
    let (_t, _site, app, mut nodes) = three(PLAYS);
    for node in &mut nodes {
        node.ask(&app);
        node.did(&app, RunResult::Ok, &[]);
        // Until it has its certificates and orders.
        node.ask(&app);
    }
    // It is kept for seconds, which a busy machine may need for three messages.
    let shared = (0..20).find_map(|_| {
        let first = scene(&app, nodes[0].id);
        nodes.iter_mut().for_each(|node| drop(node.ask(&app)));
        Some(first.clone()).filter(|_| Arc::ptr_eq(&first, &scene(&app, nodes[0].id)))
    });
    let first = shared.expect("the nodes are read for each message");
    nodes[2].checks = vec![GateCheck { name: "hello".into(), ok: false, detail: "does not answer".into() }];
    nodes[2].ask(&app);
    assert!(!Arc::ptr_eq(&first, &scene(&app, nodes[0].id)), "a node that is not well holds up others");
}

#[test]
fn what_a_node_may_begin_is_decided_by_what_is_true_now() {
    let (_t, site, app, mut nodes) = three(PLAYS);
    let first = scene(&app, nodes[0].id);
    assert!(!Arc::ptr_eq(&first, &scene(&app, nodes[0].id)), "it may run its plays for the first time");
    nodes[0].ask(&app);
    nodes[0].did(&app, RunResult::Ok, &[]);
    let done = scene(&app, nodes[0].id);
    // By another connection, as other processes have.
    Store::open(&site.database()).unwrap().set("another", "setting").unwrap();
    assert!(!Arc::ptr_eq(&done, &scene(&app, nodes[0].id)), "it has nothing to begin, but something was written");
}

#[test]
fn only_quiet_writes_keep_the_generation() {
    let t = crate::support::sites::temp();
    let path = t.path.join("seed.db");
    let (store, other) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
    let generation = || store.read(|tx| store.generation(tx)).unwrap();
    let first = generation();
    store.write_quietly(|tx| tx.set("a", "1")).unwrap();
    assert_eq!(generation(), first);
    store
        .write_quietly(|tx| {
            store.touch();
            tx.set("a", "2")
        })
        .unwrap();
    let second = generation();
    store.write_often(|tx| tx.set("a", "2 and a half")).unwrap();
    assert_eq!(generation(), second);
    assert_ne!(second, first);
    store.set("a", "3").unwrap();
    let third = generation();
    assert_ne!(third, second);
    other.set("a", "4").unwrap();
    assert_ne!(generation(), third);
    let fourth = generation();
    let failed: Result<(), StoreError> = store.write_often(|tx| {
        tx.set("a", "5")?;
        Err(StoreError::NotFound("setting"))
    });
    assert!(failed.is_err());
    assert_ne!(generation(), fourth, "what was read before the failure was undone");
}
