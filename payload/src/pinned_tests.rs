use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use camino::Utf8PathBuf;
use cluster_seed::countersign::file::{FORMAT, Request};
use cluster_seed::countersign::list::{Countersigned, KeyChange};
use cluster_seed::countersign::statement::NodeStatement;
use cluster_seed::identity::{DarksiteSource, IdentityInfo, PlaneAddress};
use cluster_seed::ids::{EnrollmentId, NodeId};
use cluster_seed::peers::{PeerNode, PeerPlane};
use cluster_seed::seal::{SigningKey, key_text};
use cluster_seed::wireguard::{WgPrivateKey, WgPublicKey};

use super::*;
use crate::state::{NodeDir, StateError};

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn text(n: u8) -> String {
    key_text(&key(n).verifying_key())
}

fn name(host: u8) -> Hostname {
    if host == 1 { "seed.lan".parse().unwrap() } else { format!("n{host}.lan").parse().unwrap() }
}

/// Keys of the node n2 are those of its identity, so that it knows itself.
fn node(host: u8) -> PeerNode {
    let own = WgPrivateKey::from_random([9; 32]).public();
    PeerNode {
        endpoint: None,
        role: "base".into(),
        keys: [("wg1".to_owned(), if host == 2 { own } else { WgPublicKey([host; 32]) })].into(),
        addresses: [("wg1".to_owned(), Ipv4Addr::new(10, 78, 0, host))].into(),
    }
}

/// A list with the seed and these nodes, of which those of `signed` have a signature of key 5.
fn list(version: u64, hosts: &[u8], signed: &[u8]) -> PeersFile {
    let site = key(1).verifying_key();
    let plane = PeerPlane { cidr: "10.78.0.0/16".parse().unwrap(), port: 51821, ..PeerPlane::default() };
    let signature = |host: &u8| {
        let statement = NodeStatement::of(&site, &name(*host), &node(*host), (1, 1));
        (name(*host), statement.sign(&key(5)).unwrap())
    };
    PeersFile {
        epoch: 1,
        version,
        planes: [("wg1".to_owned(), plane)].into(),
        nodes: [1].iter().chain(hosts).map(|host| (name(*host), node(*host))).collect(),
        countersign: Some(Countersigned {
            key: Some(text(5)),
            serial: 0,
            changes: Vec::new(),
            nodes: signed.iter().map(signature).collect(),
        }),
        ..PeersFile::default()
    }
}

fn sealed(list: &PeersFile) -> Sealed<PeersFile> {
    Sealed::sign(list, &key(1)).unwrap()
}

fn identity(first: &PeersFile) -> NodeIdentity {
    let place = PlaneAddress { cidr: "10.78.0.0/16".parse().unwrap(), address: Ipv4Addr::new(10, 78, 0, 2), port: 51821 };
    NodeIdentity {
        info: IdentityInfo {
            node: NodeId([1; 16]),
            enrollment: EnrollmentId([2; 16]),
            site: "a".into(),
            epoch: 1,
            site_key: text(1),
            hostname: name(2),
            role: "base".into(),
            seed_url: "http://10.44.0.1".into(),
            seed_hostname: name(1),
            planes: [("wg1".to_owned(), place)].into(),
            authorized_keys: vec![],
            darksite: DarksiteSource::default(),
            peers: sealed(first),
            grub: None,
            apt: None,
            operator: None,
        },
        keys: BTreeMap::from([("wg1".to_owned(), WgPrivateKey::from_random([9; 32]))]),
    }
}

fn dir() -> (tempfile::TempDir, NodeDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, NodeDir::new(&path), path)
}

fn names(list: &PeersFile) -> Vec<&str> {
    list.nodes.keys().map(Hostname::as_str).collect()
}

#[test]
fn a_site_without_the_key_leaves_no_file() {
    let plain = |version| PeersFile { countersign: None, ..list(version, &[2], &[]) };
    let (_keep, node, path) = dir();
    let identity = identity(&plain(1));
    assert!(node.accept_peers(&identity, &sealed(&plain(2))).unwrap().1);
    assert_eq!(names(&node.peers(&identity).unwrap()), ["n2.lan", "seed.lan"]);
    assert!(!path.join(FILE).exists());
}

#[test]
fn a_stolen_seed_adds_nobody_to_a_node() {
    let (_keep, node, _path) = dir();
    let identity = identity(&list(1, &[2, 3], &[2, 3]));
    assert_eq!(names(&node.peers(&identity).unwrap()), ["n2.lan", "n3.lan", "seed.lan"]);
    // Signed by the site key, and n9 by nobody else. The rest of the list counts: n3 was removed.
    let forged = list(2, &[2, 9], &[2]);
    let (taken, changed) = node.accept_peers(&identity, &sealed(&forged)).unwrap();
    assert!(changed);
    for peers in [taken, node.peers(&identity).unwrap(), node.newest(&identity).unwrap().0] {
        assert_eq!(names(&peers), ["n2.lan", "seed.lan"]);
        assert_eq!(peers.plane_peers("wg1", &name(2)).len(), 1, "WireGuard gets the seed only");
    }
    assert_eq!(node.refused(&identity).unwrap(), [name(9)]);
    // The node reports the list that it holds, and the same list again is no change.
    assert_eq!(node.newest(&identity).unwrap().1.digest(), sealed(&forged).digest());
    assert!(!node.accept_peers(&identity, &sealed(&forged)).unwrap().1);
    // n3's old signature does not bring it back; n9 comes in once it has one.
    let (again, _) = node.accept_peers(&identity, &sealed(&list(3, &[2, 3, 9], &[2, 3, 9]))).unwrap();
    assert_eq!((names(&again), node.refused(&identity).unwrap()), (vec!["n2.lan", "n9.lan", "seed.lan"], vec![name(3)]));
}

#[test]
fn a_list_without_the_key_is_refused_and_the_old_one_stays() {
    let (_keep, node, path) = dir();
    let plain = |version| PeersFile { countersign: None, ..list(version, &[2], &[]) };
    let identity = identity(&plain(1));
    node.accept_peers(&identity, &sealed(&list(2, &[2, 3], &[2, 3]))).unwrap();
    assert!(path.join(FILE).exists());
    let mut other = list(3, &[2], &[2]);
    other.countersign.as_mut().unwrap().key = Some(text(6));
    for refused in [plain(3), other] {
        let error = node.accept_peers(&identity, &sealed(&refused)).unwrap_err();
        assert!(matches!(error, StateError::Countersign(PinError::Refused(_))), "{error:?}");
        assert_eq!(node.peers(&identity).unwrap().version, 2);
    }
}

#[test]
fn a_damaged_file_does_not_give_the_key_up() {
    let (_keep, node, path) = dir();
    let identity = identity(&list(1, &[2], &[2]));
    node.accept_peers(&identity, &sealed(&list(2, &[2], &[2]))).unwrap();
    std::fs::write(path.join(FILE), b"{").unwrap();
    assert!(matches!(node.peers(&identity), Err(StateError::Countersign(PinError::Json(_)))));
    let plain = PeersFile { countersign: None, ..list(3, &[2, 9], &[]) };
    assert!(node.accept_peers(&identity, &sealed(&plain)).is_err());
}

#[test]
fn the_new_key_follows_from_the_old_one_and_a_power_cut_between_the_files_loses_nothing() {
    let (_keep, node, path) = dir();
    let identity = identity(&list(1, &[2, 3], &[2, 3]));
    node.accept_peers(&identity, &sealed(&list(2, &[2, 3], &[2, 3]))).unwrap();
    let before = std::fs::read(path.join("peers.json")).unwrap();
    let request =
        Request { format: FORMAT, name: "a".parse().unwrap(), site: text(1), key: text(5), serial: 0, nodes: Vec::new() };
    let change: Sealed<KeyChange> = request.hand_over(&key(5), Some(text(6))).unwrap().change.unwrap();
    let mut next = list(3, &[2, 3], &[2, 3]);
    let site = key(1).verifying_key();
    let part = next.countersign.as_mut().unwrap();
    let by_six = |host: u8| NodeStatement::of(&site, &name(host), &self::node(host), (1, 2)).sign(&key(6)).unwrap();
    part.nodes = [(name(2), by_six(2)), (name(3), by_six(3))].into();
    (part.key, part.serial, part.changes) = (Some(text(6)), 1, vec![change]);
    node.accept_peers(&identity, &sealed(&next)).unwrap();
    assert_eq!(names(&node.peers(&identity).unwrap()), ["n2.lan", "n3.lan", "seed.lan"]);
    // The old list beside the new key.
    std::fs::write(path.join("peers.json"), before).unwrap();
    assert_eq!(names(&node.peers(&identity).unwrap()), ["n2.lan", "n3.lan", "seed.lan"]);
    // The old key is of no use any more.
    assert!(node.accept_peers(&identity, &sealed(&list(4, &[2, 3], &[2, 3]))).is_err());
    node.accept_peers(&identity, &sealed(&next)).unwrap();
}

#[test]
fn a_node_that_waits_shows_the_fingerprint_that_the_offline_machine_shows() {
    let without = list(1, &[3], &[3]);
    let identity = identity(&without);
    let statement = NodeStatement::of(&key(1).verifying_key(), &name(2), &node(2), (1, 7));
    assert_eq!(waiting(&identity, &without), Some(statement.fingerprint()));
    assert_eq!(waiting(&identity, &list(2, &[2, 3], &[2, 3])), None);
    assert_eq!(waiting(&identity, &PeersFile { countersign: None, ..without }), None);
}
