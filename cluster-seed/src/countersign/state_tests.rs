use std::net::Ipv4Addr;

use super::*;
use crate::countersign::file::{FORMAT, Request};
use crate::seal::{SigningKey, key_text};
use crate::wireguard::WgPublicKey;

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn text(n: u8) -> String {
    key_text(&key(n).verifying_key())
}

fn site() -> VerifyingKey {
    key(1).verifying_key()
}

fn name(host: u8) -> Hostname {
    format!("n{host}.lan").parse().unwrap()
}

fn approved(hosts: &[u8]) -> Approved {
    let node = |host: u8| PeerNode {
        endpoint: None,
        role: "base".into(),
        keys: [("wg1".to_owned(), WgPublicKey([host; 32]))].into(),
        addresses: [("wg1".to_owned(), Ipv4Addr::new(10, 78, 0, host))].into(),
    };
    hosts.iter().map(|host| (name(*host), (NodeId([*host; 16]), node(*host)))).collect()
}

fn list(composed: &Composed) -> PeersFile {
    let (nodes, countersign) = (composed.nodes.clone(), composed.part.clone());
    PeersFile { epoch: 1, version: 1, planes: BTreeMap::new(), nodes, countersign, ..PeersFile::default() }
}

fn sign(state: &mut State, n: u8, hosts: &[u8], sequence: u64) -> Result<(), StateError> {
    for (name, (id, node)) in approved(hosts) {
        let statement = NodeStatement::of(&site(), &name, &node, (1, sequence));
        let signature = statement.sign(&key(n)).unwrap();
        state.take(&site(), id, &statement, (&text(n), &signature))?;
    }
    Ok(())
}

fn names(composed: &Composed) -> Vec<&Hostname> {
    composed.nodes.keys().collect()
}

fn with_key() -> State {
    State::default().with_first_key(Some(&text(5)))
}

#[test]
fn without_a_key_every_approved_node_is_in_the_list() {
    let composed = State::default().compose(None, &site(), approved(&[2, 3]), None);
    assert_eq!((composed.nodes.len(), composed.part, composed.waiting.len()), (2, None, 0));
}

#[test]
fn an_approved_node_waits_for_its_signature() {
    let first = with_key().compose(None, &site(), approved(&[]), None);
    assert_eq!(first.part.as_ref().unwrap().key, Some(text(5)), "a new site has it from its first list");
    let mut waits = first.state.clone().compose(None, &site(), approved(&[2, 3]), Some(&list(&first)));
    assert_eq!((names(&waits).len(), &waits.waiting), (0, &vec![name(2), name(3)]));
    sign(&mut waits.state, 5, &[3], 1).unwrap();
    let signed = waits.state.clone().compose(None, &site(), approved(&[2, 3]), Some(&list(&waits)));
    assert_eq!((names(&signed), &signed.waiting), (vec![&name(3)], &vec![name(2)]));
    assert!(signed.part.unwrap().nodes.contains_key(&name(3)));
}

#[test]
fn nodes_from_before_the_key_stay_until_all_of_them_are_signed() {
    let old = State::default().compose(None, &site(), approved(&[2, 3]), None);
    let mut first = with_key().compose(None, &site(), approved(&[2, 3, 4]), Some(&list(&old)));
    assert_eq!((names(&first), first.part.is_some()), (vec![&name(2), &name(3)], false));
    assert_eq!(first.waiting, [name(4)], "no new node joins meanwhile");
    sign(&mut first.state, 5, &[2], 1).unwrap();
    let some = first.state.compose(None, &site(), approved(&[2, 3, 4]), Some(&list(&old)));
    assert!(some.part.is_none());
    let mut state = some.state.clone();
    sign(&mut state, 5, &[3], 1).unwrap();
    let all = state.compose(None, &site(), approved(&[2, 3, 4]), Some(&list(&some)));
    assert_eq!((names(&all), all.part.as_ref().map(|p| p.nodes.len())), (vec![&name(2), &name(3)], Some(2)));
}

#[test]
fn a_revoked_node_leaves_at_once_and_its_signature_is_forgotten() {
    let mut state = with_key();
    sign(&mut state, 5, &[2, 3], 1).unwrap();
    let both = state.compose(None, &site(), approved(&[2, 3]), None);
    let one = both.state.clone().compose(None, &site(), approved(&[2]), Some(&list(&both)));
    assert_eq!((names(&one), one.state.signed.len()), (vec![&name(2)], 1));
}

#[test]
fn a_signature_of_another_key_or_entry_is_not_taken() {
    let mut state = with_key();
    assert!(matches!(sign(&mut state, 6, &[2], 1), Err(StateError::Key)));
    let all = approved(&[2, 3]);
    let statement = |host: u8| NodeStatement::of(&site(), &name(host), &all[&name(host)].1, (1, 1));
    let signature = statement(2).sign(&key(5)).unwrap();
    let other = state.take(&site(), NodeId([3; 16]), &statement(3), (&text(5), &signature));
    assert!(matches!(other, Err(StateError::Seal(_))));
    // Taken for what it is; the entry then changes.
    state.take(&site(), NodeId([2; 16]), &statement(2), (&text(5), &signature)).unwrap();
    let mut moved = approved(&[2]);
    moved.get_mut(&name(2)).unwrap().1.keys.insert("wg2".into(), WgPublicKey([9; 32]));
    assert_eq!(state.compose(None, &site(), moved, None).waiting, [name(2)]);
}

fn request() -> Request {
    let name = "site-a".parse().unwrap();
    Request { format: FORMAT, name, site: key_text(&site()), key: text(5), serial: 0, nodes: Vec::new() }
}

#[test]
fn the_next_key_takes_over_once_it_has_signed_every_node() {
    let mut state = with_key();
    sign(&mut state, 5, &[2, 3], 1).unwrap();
    let first = state.compose(None, &site(), approved(&[2, 3]), None);
    let mut state = first.state.clone();
    let by_other = Request { key: text(6), ..request() }.hand_over(&key(6), Some(text(6))).unwrap().change.unwrap();
    assert!(matches!(state.take_change(&by_other, &site()), Err(StateError::Change)));
    assert_eq!(state.next, None);
    let change = request().hand_over(&key(5), Some(text(6))).unwrap().change.unwrap();
    state.take_change(&change, &site()).unwrap();
    sign(&mut state, 6, &[2], 2).unwrap();
    let half = state.compose(None, &site(), approved(&[2, 3]), Some(&list(&first)));
    assert_eq!((half.part.as_ref().unwrap().key.clone(), half.nodes.len()), (Some(text(5)), 2));
    let mut state = half.state.clone();
    sign(&mut state, 6, &[3], 2).unwrap();
    let done = state.compose(None, &site(), approved(&[2, 3]), Some(&list(&half)));
    let part = done.part.as_ref().unwrap();
    assert_eq!((part.key.clone(), part.serial, part.changes.len(), done.nodes.len()), (Some(text(6)), 1, 1, 2));
    assert_eq!(done.state.next, None);
    let mut state = done.state.clone();
    assert!(matches!(sign(&mut state, 5, &[2], 9), Err(StateError::Key)), "the old key signs nothing more");
}

#[test]
fn the_end_is_told_to_nodes_and_another_key_may_begin() {
    let mut state = with_key();
    sign(&mut state, 5, &[2], 1).unwrap();
    let first = state.compose(None, &site(), approved(&[2]), None);
    let mut state = first.state.clone();
    state.take_change(&request().hand_over(&key(5), None).unwrap().change.unwrap(), &site()).unwrap();
    let ended = state.compose(None, &site(), approved(&[2, 3]), Some(&list(&first)));
    let part = ended.part.as_ref().unwrap();
    assert_eq!((part.key.clone(), part.serial, ended.nodes.len()), (None, 1, 2));
    assert_eq!(
        ended.state.clone().with_first_key(Some(&text(5))).key,
        None,
        "the key that ended countersigning is still in cluster.yaml"
    );
    let change = |from: u8, to: Option<u8>, serial| {
        let change = KeyChange { site: key_text(&site()), from: text(from), to: to.map(text), serial };
        Sealed::sign(&change, &key(from)).unwrap()
    };
    let replaced = State { changes: vec![change(5, Some(6), 1), change(6, None, 2)], ..State::default() };
    assert_eq!(replaced.with_first_key(Some(&text(5))).key, None, "a key that was replaced before");
    let again = ended.state.clone().with_first_key(Some(&text(6)));
    assert_eq!((again.key.clone(), again.serial), (Some(text(6)), 1));
    let pending = again.compose(None, &site(), approved(&[2, 3]), Some(&list(&ended)));
    assert_eq!((pending.part, pending.nodes.len()), (None, 2));
}

#[test]
fn a_seed_of_an_old_copy_takes_key_and_signatures_from_the_newer_list() {
    let mut state = with_key();
    sign(&mut state, 5, &[2], 1).unwrap();
    let mut state = state.compose(None, &site(), approved(&[2]), None).state;
    state.take_change(&request().hand_over(&key(5), Some(text(6))).unwrap().change.unwrap(), &site()).unwrap();
    sign(&mut state, 6, &[2], 2).unwrap();
    let newest = list(&state.compose(None, &site(), approved(&[2]), None));
    for old in [State::default(), with_key()] {
        let again = old.compose(Some(&text(5)), &site(), approved(&[2, 3]), Some(&newest));
        assert_eq!((again.state.key.clone(), again.state.serial), (Some(text(6)), 1));
        assert_eq!((names(&again), &again.waiting), (vec![&name(2)], &vec![name(3)]));
        assert_eq!(again.part.unwrap().nodes, newest.countersign.as_ref().unwrap().nodes);
    }
}
