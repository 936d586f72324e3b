//! Which orders and certificates a node takes.

use std::sync::atomic::AtomicBool;

use cluster_seed::agent::knows;
use cluster_seed::converge::orders::{Orders, Run};
use cluster_seed::epoch::EpochProof;
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::seal::{Sealed, SigningKey};
use payload::epoch;
use payload::http::Http;
use payload::node::converge::exchange::{Exchange, Heard, Words};
use payload::node::converge::held::Store;
use payload::node::converge::places::Places;
use serde_json::json;

use crate::bench::{KEY, Node, Seed, identity, node_key, orders, run, site};

/// One message with what the node has stored.
fn ask(node: &Node, seed: &Seed) -> Heard {
    let (dir, identity, key, site) = (node.dir(), identity(), node_key(), site().verifying_key());
    let store = Store { dir: dir.path() };
    let exchange = Exchange {
        places: Places { root: &node.root },
        store,
        identity: &identity,
        key: &key,
        site: &site,
        knows_ssh: AtomicBool::new(false),
    };
    let held = held(node);
    let words = Words { orders: held.as_ref(), run: None, checks: &[], bundle: store.bundle() };
    exchange.ask(&Http::new(&seed.url), &mut dir.converge_numbers(), words).unwrap()
}

fn held(node: &Node) -> Option<Orders> {
    Store { dir: node.dir().path() }.orders(&site().verifying_key(), identity().info.enrollment)
}

#[test]
fn only_newer_orders_of_the_site_for_this_node_are_taken() {
    let (node, seed) = (Node::new(), Seed::start());
    let at = |epoch, serial| Orders { epoch, ..orders(serial, None) };
    seed.give(&at(2, 5));
    assert_eq!(ask(&node, &seed).orders, Some(at(2, 5)));
    assert_eq!(held(&node), Some(at(2, 5)));
    assert_eq!(ask(&node, &seed).orders, None, "the seed sends nothing that the node holds");
    // Older, or the same number with other content.
    let with_run = |orders: Orders, run: Run| Orders { run: Some(run), ..orders };
    let some = || run(b"x", 1, &["a"], json!({}));
    let other = Orders { enrollment: EnrollmentId([9; 16]), ..at(2, 6) };
    for bad in [at(2, 4), at(1, 9), other] {
        seed.give(&bad);
        assert_eq!(ask(&node, &seed).orders, None, "{bad:?}");
        assert_eq!(held(&node), Some(at(2, 5)), "{bad:?}");
    }
    let stranger = SigningKey::from_bytes(&[3; 32]);
    seed.state().orders = Some(Sealed::sign(&at(2, 6), &stranger).unwrap());
    assert_eq!((ask(&node, &seed).orders, held(&node)), (None, Some(at(2, 5))));
    // What would become a path, or too large.
    let changed = |change: &dyn Fn(&mut Run)| {
        let mut run = some();
        change(&mut run);
        with_run(at(2, 6), run)
    };
    for bad in [
        changed(&|r| r.plays = vec!["../a".into()]),
        changed(&|r| r.plays = vec!["a".into(); 65]),
        changed(&|r| r.role = "a/b".into()),
        changed(&|r| r.payload_size = u64::MAX),
    ] {
        seed.give(&bad);
        assert_eq!((ask(&node, &seed).orders, held(&node)), (None, Some(at(2, 5))), "{bad:?}");
    }
    let good = with_run(at(2, 6), some());
    seed.give(&good);
    assert_eq!((ask(&node, &seed).orders, held(&node)), (Some(good.clone()), Some(good)));
}

#[test]
fn orders_of_a_seed_that_was_replaced_are_refused() {
    let (node, seed) = (Node::new(), Seed::start());
    let dir = node.dir();
    epoch::keep(dir.path(), &site().verifying_key(), &Sealed::sign(&EpochProof { epoch: 3 }, &site()).unwrap()).unwrap();
    for (number, taken) in [(2, false), (3, true)] {
        seed.give(&Orders { epoch: number, ..orders(1, None) });
        assert_eq!(ask(&node, &seed).orders.is_some(), taken, "{number}");
    }
}

#[test]
fn stored_orders_count_only_with_the_signature_of_the_site() {
    let node = Node::new();
    let sealed = Sealed::sign(&orders(1, None), &site()).unwrap();
    Store { dir: node.dir().path() }.keep_orders(&sealed).unwrap();
    assert!(held(&node).is_some());
    let path = node.root.join("state/orders.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let bad = text.replace("\\\"serial\\\":1", "\\\"serial\\\":2");
    assert_ne!(text, bad);
    std::fs::write(&path, bad).unwrap();
    assert_eq!(held(&node), None);
}

#[test]
fn numbers_grow_over_a_restart() {
    let (node, seed) = (Node::new(), Seed::start());
    // The mock insists on it: each message is of a new process.
    (0..3).for_each(|_| drop(ask(&node, &seed)));
    assert_eq!(seed.count(), 3);
}

#[test]
fn certificates_are_written_and_kept_in_mind_and_those_of_another_node_are_not() {
    let (node, seed) = (Node::new(), Seed::start());
    seed.state().bundle = Some((7, EnrollmentId([9; 16])));
    assert!(ask(&node, &seed).bundle.is_none());
    assert_eq!(node.read("etc/kubedos/pki/etcd/peer.key"), "");
    seed.state().bundle = Some((7, identity().info.enrollment));
    let heard = ask(&node, &seed).bundle.unwrap();
    assert_eq!((heard.id, heard.issued), (Digest([3; 32]), 7));
    assert_eq!(node.read("etc/kubedos/pki/etcd/peer.key"), KEY.replace("AA", "0007"));
    // The next message names them, so they are not sent again.
    assert!(ask(&node, &seed).bundle.is_none());
    assert_eq!(seed.state().asks.last().unwrap().bundle, Some(heard));
}

#[test]
fn the_ssh_host_key_is_told_only_to_a_seed_that_says_it_knows_it() {
    for (words, told) in [(vec![], [false; 3]), (knows::all(), [false, true, true])] {
        let (node, seed) = (Node::new(), Seed::start());
        seed.state().knows = words;
        let folder = node.root.join("etc/ssh");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("ssh_host_ed25519_key.pub"), "ssh-ed25519 AAAA root@n1\n").unwrap();
        let (dir, identity, key, site) = (node.dir(), identity(), node_key(), site().verifying_key());
        let (places, store) = (Places { root: &node.root }, Store { dir: dir.path() });
        let exchange = Exchange { places, store, identity: &identity, key: &key, site: &site, knows_ssh: AtomicBool::new(false) };
        let mut numbers = dir.converge_numbers();
        for _ in 0..3 {
            let words = Words { orders: None, run: None, checks: &[], bundle: None };
            exchange.ask(&Http::new(&seed.url), &mut numbers, words).unwrap();
        }
        let had: Vec<bool> = seed.state().asks.iter().map(|ask| ask.ssh.is_some()).collect();
        assert_eq!(had, told);
    }
}
