//! Lists of peers on an installed node: from whom it takes one, and what it tells the seed.

use std::fs;

use cluster_seed::held::AptKeys;
use cluster_seed::seal::{Sealed, SigningKey};
use payload::http::Http;
use payload::node::applied::ListId;
use payload::node::lists::Lists;
use payload::state::{NodeDir, state_files, write_state_files};

use crate::mock::machine::Machine;
use crate::mock::{Lie, Mock};

#[test]
fn an_installed_node_refuses_an_older_seed() {
    let machine = Machine::new(16);
    let run = machine.root.join("run");
    let dir = NodeDir::new(&run);
    let (new, old) = (Mock::start(Lie::None), Mock::start(Lie::None));
    let identity = new.identity();
    new.state().epoch = Some(2);
    old.state().epoch = Some(1);
    let key = SigningKey::from_bytes(&[7; 32]);
    let lists = Lists { dir: &dir, identity: &identity, key: &key, applied: ListId::NONE };
    let refresh = |mock: &Mock| lists.refresh(None, &Http::new(&mock.url));
    assert_eq!(refresh(&old).unwrap().peers.epoch, 1);
    assert_eq!(refresh(&new).unwrap().peers.epoch, 2);
    let text = payload::http::chain(&refresh(&old).unwrap_err());
    assert!(text.contains("epoch 1") && text.contains("epoch 2"), "{text}");
    assert_eq!((old.state().told.clone(), new.state().told.len()), (vec![2], 0));
    // The proof alone is enough, even if the list itself was lost.
    fs::remove_file(run.join("peers.json")).unwrap();
    assert!(refresh(&old).is_err());
    assert_eq!(refresh(&new).unwrap().peers.epoch, 2);
}

/// M5: a host that impersonates the seed on the boot network cannot withhold a revocation from a node whose plane works.
#[test]
fn the_list_comes_over_the_control_plane_first() {
    let machine = Machine::new(16);
    let run = machine.root.join("run");
    let dir = NodeDir::new(&run);
    let (seed, replayed) = (Mock::start(Lie::None), Mock::start(Lie::None));
    replayed.state().version = 3;
    let (identity, key) = (seed.identity(), SigningKey::from_bytes(&[7; 32]));
    let lists = |applied| Lists { dir: &dir, identity: &identity, key: &key, applied };
    let refresh = |plane: Option<&str>, applied| lists(applied).refresh(plane.map(Http::new).as_ref(), &Http::new(&replayed.url));
    // While the plane is down, the node gets only the replayed list.
    let nobody = format!("http://{}", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let first = refresh(Some(&nobody), ListId::NONE).unwrap();
    assert_eq!((first.peers.version, first.changed, first.on_plane), (3, true, false));
    replayed.state().held.clear();
    let next = refresh(Some(&seed.url), first.id).unwrap();
    assert_eq!((next.peers.version, next.changed, next.on_plane), (9, true, true));
    assert!(replayed.state().held.is_empty(), "the boot network was not asked");
    // It reports the old version, and the new one as soon as the kernel has it.
    let told = || -> Vec<u64> { seed.state().held.iter().map(|h| h.version).collect() };
    assert_eq!(told(), [3]);
    lists(next.id).report(Some(&Http::new(&seed.url)), &Http::new(&replayed.url)).unwrap();
    assert_eq!(told(), [3, 9]);
    assert!(replayed.state().held.is_empty(), "the boot network was not told");
    assert!(!refresh(Some(&seed.url), next.id).unwrap().changed);
}

#[test]
fn a_list_that_is_stored_and_not_in_the_kernel_is_never_reported() {
    let machine = Machine::new(16);
    let run = machine.root.join("run");
    let dir = NodeDir::new(&run);
    let (seed, key) = (Mock::start(Lie::None), SigningKey::from_bytes(&[7; 32]));
    let identity = seed.identity();
    let lists = |applied| Lists { dir: &dir, identity: &identity, key: &key, applied };
    let http = Http::new(&seed.url);
    let first = lists(ListId::NONE).refresh(None, &http).unwrap();
    assert!(first.changed && dir.peers(&identity).unwrap().version == 9);
    // Its planes do not come up, and the agent is started again.
    for _ in 0..2 {
        let again = lists(ListId::NONE).refresh(None, &http).unwrap();
        assert!(!again.changed && again.id == first.id, "the stored list is the one to act on");
    }
    let told = || -> Vec<(u64, u64)> { seed.state().held.iter().map(|h| (h.epoch, h.version)).collect() };
    assert_eq!(told(), [(0, 0); 3]);
    lists(first.id).report(None, &http).unwrap();
    assert_eq!(told()[3..], [(1, 9)]);
    assert_eq!(seed.state().held[3].digest, first.id.digest);
}

/// M6: a node sends its newer list to a seed with an older one, and accepts the higher version in the answer.
#[test]
fn a_restored_seed_gets_the_newer_list() {
    let machine = Machine::new(16);
    let run = machine.root.join("run");
    let dir = NodeDir::new(&run);
    let (seed, key) = (Mock::start(Lie::None), SigningKey::from_bytes(&[7; 32]));
    let identity = seed.identity();
    let refresh = || {
        let (list, sealed) = dir.newest(&identity).unwrap();
        let applied = ListId::of(&list, &sealed);
        Lists { dir: &dir, identity: &identity, key: &key, applied }.refresh(None, &Http::new(&seed.url))
    };
    assert_eq!(refresh().unwrap().peers.version, 9);
    seed.state().version = 4;
    // The seed ignores it: the node keeps its list.
    assert!(refresh().is_err());
    assert_eq!(dir.peers(&identity).unwrap().version, 9);
    let mut above = dir.peers(&identity).unwrap();
    above.version = 10;
    seed.state().above = Some(above);
    assert_eq!(refresh().unwrap().peers.version, 10);
    let key = seed.state().site.verifying_key();
    let shown: Vec<u64> = seed.state().shown.iter().map(|s| s.open(&key).unwrap().version).collect();
    assert_eq!(shown, [9, 9]);
}

/// The release key of the seed was changed: its certificate comes with the list, and from no seed whose list is refused.
#[test]
fn a_new_release_certificate_comes_with_the_list() {
    let machine = Machine::new(16);
    let run = machine.root.join("run");
    let dir = NodeDir::new(&run);
    let (seed, old) = (Mock::start(Lie::None), Mock::start(Lie::None));
    let (identity, key) = (seed.identity(), SigningKey::from_bytes(&[7; 32]));
    write_state_files(&run, &state_files(&identity, &key).unwrap()).unwrap();
    let lists = Lists { dir: &dir, identity: &identity, key: &key, applied: ListId::NONE };
    let keyring = || dir.identity().unwrap().info.darksite.keyring;
    let sign = |mock: &Mock, serial, keyring: &str| {
        let signed = Sealed::sign(&AptKeys { epoch: 1, serial, keyring: keyring.into() }, &mock.state().site).unwrap();
        mock.state().apt = Some(signed);
    };
    assert!(lists.refresh(None, &Http::new(&seed.url)).unwrap().changed);
    sign(&seed, 2, "bmV3");
    assert!(!lists.refresh(None, &Http::new(&seed.url)).unwrap().changed, "the list is the same");
    assert_eq!(keyring(), "bmV3");
    sign(&old, 3, "b2xk");
    old.state().version = 4;
    assert!(lists.refresh(None, &Http::new(&old.url)).is_err());
    assert_eq!(keyring(), "bmV3");
}

#[test]
fn the_seed_is_found_on_the_control_plane() {
    let machine = Machine::new(16);
    let seed = Mock::start(Lie::None);
    let mut identity = seed.identity();
    let peers: cluster_seed::peers::PeersFile = serde_json::from_str(
        r#"{"epoch":1,"version":1,"planes":{},"nodes":{"seed.lan":{"endpoint":null,"role":"seed","wg1":"10.78.0.1","keys":{}}}}"#,
    )
    .unwrap();
    let url = |identity: &_| payload::node::lists::plane_url(&machine.root, identity, &peers);
    assert_eq!(url(&identity), None, "there is no interface yet");
    fs::create_dir_all(machine.root.join("sys/class/net/wg1")).unwrap();
    assert_eq!(url(&identity).as_deref(), Some("http://10.78.0.1"));
    identity.info.seed_url = "http://10.44.0.1:8080".into();
    assert_eq!(url(&identity).as_deref(), Some("http://10.78.0.1:8080"));
}
