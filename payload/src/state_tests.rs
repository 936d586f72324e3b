use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use cluster_seed::identity::{DarksiteSource, IdentityInfo};
use cluster_seed::ids::{EnrollmentId, NodeId};
use cluster_seed::seal::key_text;
use cluster_seed::wireguard::WgPrivateKey;

use super::*;

fn peers(epoch: u64, version: u64) -> PeersFile {
    PeersFile { epoch, version, planes: BTreeMap::new(), nodes: BTreeMap::new(), pods: None, countersign: None }
}

fn site() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn identity() -> NodeIdentity {
    NodeIdentity {
        info: IdentityInfo {
            node: NodeId([1; 16]),
            enrollment: EnrollmentId([2; 16]),
            site: "a".into(),
            epoch: 1,
            site_key: key_text(&site().verifying_key()),
            hostname: "n1.lan".parse().unwrap(),
            role: "base".into(),
            seed_url: "http://10.44.0.1".into(),
            seed_hostname: "seed.lan".parse().unwrap(),
            planes: BTreeMap::new(),
            authorized_keys: vec![],
            darksite: DarksiteSource { suite: "trixie".into(), ..DarksiteSource::default() },
            peers: Sealed::sign(&peers(1, 5), &site()).unwrap(),
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

#[test]
fn identity_and_key_are_read_back_and_readable_by_root_only() {
    let (_keep, node, path) = dir();
    let key = SigningKey::from_bytes(&[7; 32]);
    write_state_files(&path, &state_files(&identity(), &key).unwrap()).unwrap();
    assert_eq!(node.identity().unwrap().info, identity().info);
    assert_eq!(node.node_key().unwrap().to_bytes(), key.to_bytes());
    for name in [IDENTITY, NODE_KEY] {
        assert_eq!(fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o7777, 0o600, "{name}");
    }
    assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "a temporary file was left");
    fs::write(path.join(NODE_KEY), "abc").unwrap();
    assert!(matches!(node.node_key(), Err(StateError::Key(_))));
}

#[test]
fn an_older_or_foreign_peer_list_is_refused() {
    let (_keep, node, path) = dir();
    let me = identity();
    let sign = |p: &PeersFile, key: &SigningKey| Sealed::sign(p, key).unwrap();
    assert_eq!(node.peers(&me).unwrap(), peers(1, 5));
    assert!(!node.accept_peers(&me, &sign(&peers(1, 5), &site())).unwrap().1);
    assert!(node.accept_peers(&me, &sign(&peers(1, 6), &site())).unwrap().1);
    for old in [peers(1, 5), peers(0, 9)] {
        assert!(matches!(node.accept_peers(&me, &sign(&old, &site())), Err(StateError::OldPeers { .. })));
    }
    let other = SigningKey::from_bytes(&[2; 32]);
    assert!(matches!(node.accept_peers(&me, &sign(&peers(9, 9), &other)), Err(StateError::Seal(_))));
    assert_eq!(node.peers(&me).unwrap(), peers(1, 6));
    // A damaged file falls back to the identity's own list, and can be replaced.
    fs::write(path.join(PEERS), "{").unwrap();
    assert_eq!(node.peers(&me).unwrap(), peers(1, 5));
    assert!(node.accept_peers(&me, &sign(&peers(2, 1), &site())).unwrap().1);
    assert_eq!(node.peers(&me).unwrap(), peers(2, 1));
}

/// Two seeds sign for one site, or one was restored from an old copy: the node does not accept either blindly.
#[test]
fn a_different_list_with_the_same_version_is_refused() {
    let (_keep, node, path) = dir();
    let me = identity();
    let mut other = peers(1, 5);
    other.planes.insert("wg9".into(), serde_json::from_str(r#"{"cidr":"10.99.0.0/16","port":1}"#).unwrap());
    let refused = node.accept_peers(&me, &Sealed::sign(&other, &site()).unwrap());
    assert!(matches!(refused, Err(StateError::Fork { epoch: 1, version: 5 })), "{refused:?}");
    assert!(!path.join(PEERS).exists());
    assert_eq!(node.peers(&me).unwrap(), peers(1, 5));
    other.version = 6;
    assert!(node.accept_peers(&me, &Sealed::sign(&other, &site()).unwrap()).unwrap().1, "a higher version is accepted");
}

#[test]
fn numbers_of_two_processes_differ() {
    let (_keep, node, _) = dir();
    let numbers: Vec<u64> = (0..3).map(|_| NodeDir::new(node.path()).held_number().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b) && numbers[0] > 0, "{numbers:?}");
}

#[test]
fn numbers_are_never_reused() {
    let (_keep, node, path) = dir();
    let mut first = node.sequence(10);
    let used: Vec<_> = (0..RESERVE + 1).map(|_| first.take().unwrap()).collect();
    assert_eq!((used[0], used[RESERVE as usize]), (10, 10 + RESERVE));
    let mut again = node.sequence(10);
    assert!(again.take().unwrap() > used[RESERVE as usize]);
    fs::write(path.join(SEQ), "rubbish").unwrap();
    assert_eq!(node.sequence(DISK_SEQ).take().unwrap(), DISK_SEQ);
}

#[test]
fn a_node_gets_the_hash_of_grubs_password_beside_its_identity() {
    let key = SigningKey::from_bytes(&[9; 32]);
    let names = |identity: &NodeIdentity| state_files(identity, &key).unwrap().iter().map(|f| f.name).collect::<Vec<_>>();
    let mut identity = identity();
    assert_eq!(names(&identity), ["node.key", "identity.json"]);
    let hash: cluster_seed::grub::GrubHash = "grub.pbkdf2.sha512.10000.AB.CD".parse().unwrap();
    identity.info.grub = Some(hash.clone());
    assert_eq!(names(&identity), ["node.key", "identity.json", "grub-user.cfg"]);
    assert_eq!(state_files(&identity, &key).unwrap()[2].bytes.expose(), hash.config().as_bytes());
    assert_eq!(NodeIdentity::from_secret(&identity.to_secret().unwrap()).unwrap().info.grub, Some(hash));
}

#[test]
fn release_certificates_are_replaced_by_later_ones_of_the_site_only() {
    let (_keep, node, path) = dir();
    let signed = |epoch, serial, keyring: &str, by: &SigningKey| {
        Sealed::sign(&AptKeys { epoch, serial, keyring: keyring.into() }, by).unwrap()
    };
    let mut me = identity();
    me.info.darksite.keyring = "Zmlyc3Q=".into();
    me.info.apt = Some(signed(1, 2, "Zmlyc3Q=", &site()));
    write_state_files(&path, &state_files(&me, &SigningKey::from_bytes(&[7; 32])).unwrap()).unwrap();
    let keyring = || node.identity().unwrap().info.darksite.keyring;
    assert_eq!(keyring(), "Zmlyc3Q=");
    // A statement from before this node was installed, and the one that it has.
    for serial in [1, 2] {
        assert!(!node.accept_apt_keys(&me, &signed(1, serial, "b2xk", &site())).unwrap());
    }
    assert!(matches!(
        node.accept_apt_keys(&me, &signed(1, 3, "bmV3", &SigningKey::from_bytes(&[3; 32]))),
        Err(StateError::Seal(_))
    ));
    for bad in ["", "?", "bmV3bg"] {
        assert!(matches!(node.accept_apt_keys(&me, &signed(1, 3, bad, &site())), Err(StateError::AptKeys(_))), "{bad:?}");
    }
    assert_eq!(keyring(), "Zmlyc3Q=");
    assert!(node.accept_apt_keys(&me, &signed(1, 3, "bmV3", &site())).unwrap());
    assert_eq!(keyring(), "bmV3");
    // A promoted seed counts from one again; the seed that it replaced is not listened to.
    assert!(node.accept_apt_keys(&me, &signed(2, 1, "c2Vjb25k", &site())).unwrap());
    assert!(!node.accept_apt_keys(&me, &signed(1, 9, "bmV3", &site())).unwrap());
    assert_eq!(keyring(), "c2Vjb25k");
    // A damaged file: the identity's own count again.
    fs::write(path.join(APT_KEYS), "{").unwrap();
    assert_eq!(keyring(), "Zmlyc3Q=");
}
