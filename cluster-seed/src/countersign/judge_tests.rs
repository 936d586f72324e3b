use super::*;
use crate::countersign::list::Countersignature;
use crate::peers::{PeerPlane, Pods, Rotating};
use crate::seal::SigningKey;
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

fn name(label: &str) -> Hostname {
    format!("{label}.lan").parse().unwrap()
}

fn node(host: u8) -> PeerNode {
    PeerNode {
        endpoint: None,
        role: "base".into(),
        keys: [("wg1".to_owned(), WgPublicKey([host; 32]))].into(),
        addresses: [("wg1".to_owned(), Ipv4Addr::new(10, 78, 0, host))].into(),
    }
}

fn signed(n: u8, who: &str, node: &PeerNode, sequence: u64) -> Countersignature {
    NodeStatement::of(&site(), &name(who), node, (1, sequence)).sign(&key(n)).unwrap()
}

/// The seed, n2 and n3, signed by key 5.
fn list() -> PeersFile {
    let nodes = [(name("seed"), node(1)), (name("n2"), node(2)), (name("n3"), node(3))].into();
    let signatures = [(name("n2"), signed(5, "n2", &node(2), 1)), (name("n3"), signed(5, "n3", &node(3), 1))].into();
    let plane = PeerPlane { cidr: "10.78.0.0/16".parse().unwrap(), port: 51821, ..PeerPlane::default() };
    PeersFile {
        epoch: 1,
        version: 4,
        planes: [("wg1".to_owned(), plane)].into(),
        nodes,
        countersign: Some(Countersigned { key: Some(text(5)), serial: 0, changes: Vec::new(), nodes: signatures }),
        ..PeersFile::default()
    }
}

fn verdict(pin: &Pin, list: &PeersFile) -> Vec<Hostname> {
    let (site, seed) = (site(), name("seed"));
    let seed_addresses = [("wg1".to_owned(), Ipv4Addr::new(10, 78, 0, 1))].into();
    let planes = vec!["10.78.0.0/16".parse().unwrap()];
    refused(Some(pin), &Known { site: &site, seed: &seed, seed_addresses, planes }, list)
}

fn pinned(list: &PeersFile) -> Pin {
    follow(None, &site(), list).unwrap().unwrap()
}

fn signatures(list: &mut PeersFile) -> &mut BTreeMap<Hostname, Countersignature> {
    &mut list.countersign.as_mut().unwrap().nodes
}

#[test]
fn without_a_key_every_list_of_the_site_counts() {
    let plain = PeersFile { countersign: None, ..list() };
    assert_eq!(follow(None, &site(), &plain), Ok(None));
    let (site, seed) = (site(), name("seed"));
    let known = Known { site: &site, seed: &seed, seed_addresses: BTreeMap::new(), planes: Vec::new() };
    assert!(refused(None, &known, &plain).is_empty());
}

#[test]
fn a_stolen_seed_adds_nobody() {
    let pin = pinned(&list());
    assert!(verdict(&pin, &list()).is_empty());
    // Without a signature, with one of the seed's own key, and with one that was made for another node, name, role or site.
    let thief = node(9);
    let elsewhere = NodeStatement::of(&key(2).verifying_key(), &name("n9"), &thief, (1, 9)).sign(&key(5)).unwrap();
    let ruler = PeerNode { role: "control".into(), ..thief.clone() };
    for signature in [
        None,
        Some(signed(1, "n9", &thief, 9)),
        Some(signed(5, "n2", &node(2), 1)),
        Some(signed(5, "n9", &node(2), 9)),
        Some(signed(5, "n8", &thief, 9)),
        Some(signed(5, "n9", &ruler, 9)),
        Some(elsewhere),
    ] {
        let mut forged = list();
        forged.nodes.insert(name("n9"), thief.clone());
        signatures(&mut forged).extend(signature.map(|s| (name("n9"), s)));
        assert_eq!(verdict(&pin, &forged), [name("n9")]);
        assert_eq!(without(forged, &[name("n9")]).nodes, list().nodes);
    }
    let mut good = list();
    good.nodes.insert(name("n9"), thief.clone());
    signatures(&mut good).insert(name("n9"), signed(5, "n9", &thief, 9));
    assert!(verdict(&pin, &good).is_empty());
}

#[test]
fn a_second_key_of_a_node_does_not_count() {
    let mut forged = list();
    let second = Rotating { serial: 1, other: Some(WgPublicKey([9; 32])), switched: false };
    forged.rotating.insert(name("n2"), [("wg1".to_owned(), second)].into());
    assert!(without(forged.clone(), &[]).rotating.is_empty());
    forged.countersign = None;
    assert_eq!(without(forged.clone(), &[]), forged, "a site without countersigning replaces keys");
}

#[test]
fn a_node_whose_keys_were_replaced_does_not_count() {
    let mut forged = list();
    forged.nodes.get_mut(&name("n2")).unwrap().keys.insert("wg1".into(), WgPublicKey([9; 32]));
    forged.nodes.get_mut(&name("n3")).unwrap().keys.insert("wg2".into(), WgPublicKey([9; 32]));
    assert_eq!(verdict(&pinned(&list()), &forged), [name("n2"), name("n3")]);
}

#[test]
fn the_seed_needs_no_signature_and_gets_no_other_address() {
    let mut changed = list();
    changed.nodes.get_mut(&name("seed")).unwrap().keys.insert("wg1".into(), WgPublicKey([8; 32]));
    assert!(verdict(&pinned(&list()), &changed).is_empty());
    let stolen = Ipv4Addr::new(10, 78, 0, 2);
    changed.nodes.get_mut(&name("seed")).unwrap().addresses.insert("wg1".into(), stolen);
    assert_eq!(verdict(&pinned(&list()), &changed), [name("seed")]);
}

#[test]
fn a_removal_needs_no_signature_and_the_old_one_brings_nobody_back() {
    let mut pin = pinned(&list());
    let mut fewer = list();
    fewer.nodes.remove(&name("n3"));
    signatures(&mut fewer).remove(&name("n3"));
    assert!(verdict(&pin, &fewer).is_empty());
    raise(&mut pin, &list(), &fewer, &[]);
    assert_eq!(verdict(&pin, &list()), [name("n3")]);
    // The name again, on another machine: a later statement.
    let mut again = list();
    again.nodes.insert(name("n3"), node(3));
    signatures(&mut again).insert(name("n3"), signed(5, "n3", &node(3), 2));
    assert!(verdict(&pin, &again).is_empty());
    // A node with other keys ends those that it replaces.
    let mut replaced = list();
    let new = PeerNode { keys: [("wg1".to_owned(), WgPublicKey([7; 32]))].into(), ..node(2) };
    signatures(&mut replaced).insert(name("n2"), signed(5, "n2", &new, 3));
    replaced.nodes.insert(name("n2"), new);
    let mut pin = pinned(&list());
    raise(&mut pin, &list(), &replaced, &[]);
    assert_eq!((verdict(&pin, &replaced), verdict(&pin, &list())), (vec![], vec![name("n2")]));
    // The same, with a list that calls it the same node.
    let mut claimed = replaced.clone();
    claimed.rotated.insert(name("n2"), crate::ids::NodeId([1; 16]));
    let mut pin = pinned(&list());
    raise(&mut pin, &list(), &claimed, &[]);
    assert_eq!(verdict(&pin, &list()), [name("n2")]);
    // An entry that does not count ends nothing.
    let mut forged = list();
    forged.nodes.get_mut(&name("n2")).unwrap().keys.insert("wg1".into(), WgPublicKey([9; 32]));
    let mut pin = pinned(&list());
    let names = verdict(&pin, &forged);
    raise(&mut pin, &list(), &forged, &names);
    assert_eq!((names, verdict(&pin, &list())), (vec![name("n2")], vec![]));
}

#[test]
fn pods_get_no_address_of_a_plane() {
    let with = |cidr: &str, who: &str, range: &str| {
        let nodes = [(name(who), range.parse().unwrap())].into();
        let services = "10.96.0.0/16".parse().unwrap();
        let pods = Pods { plane: "wg1".into(), cidr: cidr.parse().unwrap(), services, domain: "c".into(), nodes };
        verdict(&pinned(&list()), &PeersFile { pods: Some(pods), ..list() })
    };
    assert!(with("10.244.0.0/16", "n2", "10.244.2.0/24").is_empty());
    assert_eq!(with("10.244.0.0/16", "n2", "10.78.0.3/32"), [name("n2")]);
    assert_eq!(with("10.78.0.0/24", "n2", "10.78.0.3/32"), [name("n2")]);
    assert_eq!(with("10.0.0.0/8", "n2", "10.78.0.3/32"), [name("n2")]);
    assert_eq!(with("10.244.0.0/16", "seed", "10.244.2.0/24"), [name("seed")]);
}

fn change(from: u8, to: Option<u8>, serial: u64) -> Sealed<KeyChange> {
    let change = KeyChange { site: key_text(&site()), from: text(from), to: to.map(text), serial };
    Sealed::sign(&change, &key(from)).unwrap()
}

fn with_key(key: Option<u8>, serial: u64, changes: Vec<Sealed<KeyChange>>) -> PeersFile {
    let mut list = list();
    list.countersign = Some(Countersigned { key: key.map(text), serial, changes, nodes: BTreeMap::new() });
    list
}

#[test]
fn a_list_without_the_key_that_is_known_is_refused() {
    let pin = pinned(&list());
    let plain = PeersFile { countersign: None, ..list() };
    assert_eq!(follow(Some(&pin), &site(), &plain), Err(CountersignError::Missing));
    let forged = KeyChange { site: key_text(&site()), from: text(5), to: Some(text(6)), serial: 1 };
    for other in [
        with_key(Some(6), 0, vec![]),
        with_key(None, 0, vec![]),
        with_key(Some(6), 1, vec![]),
        with_key(Some(5), 7, vec![]),
        // Signed by the new key, or by the site.
        with_key(Some(6), 1, vec![Sealed::sign(&forged, &key(6)).unwrap()]),
        with_key(Some(6), 1, vec![Sealed::sign(&forged, &key(1)).unwrap()]),
        // Of another site, and with another number.
        with_key(Some(6), 1, vec![Sealed::sign(&KeyChange { site: text(2), ..forged.clone() }, &key(5)).unwrap()]),
        with_key(Some(6), 2, vec![Sealed::sign(&KeyChange { serial: 2, ..forged.clone() }, &key(5)).unwrap()]),
    ] {
        assert_eq!(follow(Some(&pin), &site(), &other), Err(CountersignError::OtherKey(text(5))), "{other:?}");
    }
}

#[test]
fn the_old_key_hands_over_to_the_new_one() {
    let pin = pinned(&list());
    let once = with_key(Some(6), 1, vec![change(5, Some(6), 1)]);
    let next = follow(Some(&pin), &site(), &once).unwrap().unwrap();
    assert_eq!((next.key.clone(), next.serial), (Some(text(6)), 1));
    // Off for two changes; and one that is there already reads past what it knows.
    let twice = with_key(Some(5), 2, vec![change(5, Some(6), 1), change(6, Some(5), 2)]);
    let last = follow(Some(&pin), &site(), &twice).unwrap().unwrap();
    assert_eq!((last.key.clone(), last.serial), (Some(text(5)), 2));
    assert_eq!(follow(Some(&next), &site(), &twice).unwrap().unwrap(), last);
    assert_eq!(follow(Some(&last), &site(), &twice).unwrap().unwrap(), last);
    // The first change again, now that its key is in force for the second time.
    assert!(follow(Some(&last), &site(), &once).is_err());
}

#[test]
fn only_the_key_itself_ends_countersigning() {
    let pin = Pin { floors: [(name("n9"), (1, 1))].into(), ..pinned(&list()) };
    let ended = with_key(None, 1, vec![change(5, None, 1)]);
    let last = follow(Some(&pin), &site(), &ended).unwrap().unwrap();
    assert_eq!((last.key.clone(), last.serial, last.floors.len()), (None, 1, 1));
    assert!(verdict(&last, &PeersFile { countersign: None, ..list() }).is_empty());
    // Another key may begin.
    let again = with_key(Some(6), 0, vec![]);
    assert_eq!(follow(Some(&last), &site(), &again).unwrap().unwrap().key, Some(text(6)));
}
