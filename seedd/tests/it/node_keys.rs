//! Keys of nodes that are replaced: who holds which key at every stage, and that nobody else's changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_seed::events::EventKind;
use cluster_seed::held::{Held, NextKey};
use cluster_seed::identity::NodeIdentity;
use cluster_seed::ids::Hostname;
use cluster_seed::peers::PeersFile;
use cluster_seed::people::Rights;
use cluster_seed::seal::Sealed;
use cluster_seed::wireguard::WgPublicKey;
use payload::http::Http;
use payload::state::{NodeDir, state_files, write_state_files};
use seedd::app::{App, Seed};
use web::api::{Actor, ApiError, RotateWish, RotationApi as _, RotationRow, RotationStage};

use crate::epoch::{installed, serve};
use crate::lists::restored;
use crate::support::sites::*;

/// A node that runs.
struct Running {
    machine: Machine,
    identity: NodeIdentity,
    dir: NodeDir,
}

impl Running {
    fn start(n: u8, app: &App, t: &Temp) -> Self {
        let (machine, identity, dir) = installed(n, app, t);
        write_state_files(dir.path(), &state_files(&identity, &machine.key).unwrap()).unwrap();
        Running { machine, identity, dir }
    }

    fn name(&self) -> &Hostname {
        &self.identity.info.hostname
    }

    /// One period of its timer.
    fn refresh(&self, url: &str) {
        period(&self.dir, &self.dir.identity().unwrap(), &self.machine.key, &Http::new(url)).unwrap();
    }

    /// It gets the list, and its planes do not come up.
    fn fetch(&self, url: &str) {
        fetch(&self.dir, &self.dir.identity().unwrap(), &self.machine.key, &Http::new(url)).unwrap();
    }

    /// They do at last.
    fn act(&self, url: &str) {
        act(&self.dir, &self.dir.identity().unwrap(), &self.machine.key, &Http::new(url)).unwrap();
    }

    /// What it would set on its interfaces now.
    fn keys(&self) -> BTreeMap<String, WgPublicKey> {
        self.dir.identity().unwrap().keys.iter().map(|(plane, key)| (plane.clone(), key.public())).collect()
    }

    fn list(&self) -> PeersFile {
        self.dir.peers(&self.identity).unwrap()
    }

    /// Both keys of another node's plane, as this one has them.
    fn knows(&self, of: &Running, plane: &str, key: &WgPublicKey) -> bool {
        self.list().peers_at(plane, self.name(), "").iter().any(|peer| peer.key == *key && peer.address == of.address(plane))
    }

    fn address(&self, plane: &str) -> std::net::Ipv4Addr {
        self.identity.info.planes[plane].address
    }

    fn says(&self, app: &App, next: BTreeMap<String, NextKey>) {
        let seq = self.dir.held_number().unwrap();
        let (list, sealed) = self.dir.newest(&self.identity).unwrap();
        let id = self.identity.info.enrollment;
        let held =
            Held { enrollment: id, seq, epoch: list.epoch, version: list.version, digest: sealed.digest(), next, refused: None };
        app.hear_held(ip(), id, &Sealed::sign(&held, &self.machine.key).unwrap()).unwrap();
    }
}

fn wish(node: Option<&str>, plane: Option<&str>) -> RotateWish {
    let all = node.is_none() && plane.is_none();
    RotateWish { node: node.map(str::to_owned), plane: plane.map(str::to_owned), all }
}

fn rotate(app: &Arc<App>, wish: &RotateWish) -> Result<Vec<RotationRow>, ApiError> {
    Seed(app.clone()).rotate(&admin(), wish)
}

fn stages(app: &Arc<App>) -> Vec<(String, String, RotationStage)> {
    let rows = Seed(app.clone()).rotations().unwrap();
    rows.into_iter().map(|r| (r.node.split('.').next().unwrap_or_default().to_owned(), r.plane, r.stage)).collect()
}

fn current(app: &App) -> PeersFile {
    app.signed_peers().unwrap().open(&app.site_key).unwrap()
}

fn done(app: &App) -> usize {
    app.store.read(|tx| tx.events_after(0, 1000)).unwrap().iter().filter(|e| e.kind == EventKind::NodeKeyRotated.as_str()).count()
}

fn started(n: u8) -> (Temp, Arc<App>, String, Vec<Running>) {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let app = unsealed(&site, A);
    let url = serve(&app);
    let nodes: Vec<Running> = (1..=n).map(|n| Running::start(n, &app, &t)).collect();
    nodes.iter().for_each(|n| n.refresh(&url));
    (t, app, url, nodes)
}

#[test]
fn rotation_of_one_node_leaves_the_keys_of_others_untouched() {
    let (_t, app, url, nodes) = started(3);
    let [a, b, c] = &nodes[..] else { panic!("three nodes") };
    let before: Vec<_> = nodes.iter().map(Running::keys).collect();
    rotate(&app, &wish(Some("n1"), Some("wg2"))).unwrap();
    let (_, _, stage) = stages(&app).remove(0);
    assert_eq!(stage, RotationStage::Asked);
    assert!(matches!(rotate(&app, &wish(Some("n1"), Some("wg2"))), Err(ApiError::Conflict { .. })), "it is being replaced");

    // The node says its new key, and uses the old one: the others do not have the new one yet.
    a.refresh(&url);
    assert_eq!(stages(&app), [("n1".to_owned(), "wg2".to_owned(), RotationStage::Announced)]);
    assert_eq!(a.keys(), before[0]);
    let new = current(&app).rotating[a.name()]["wg2"].other.unwrap();
    a.refresh(&url);
    b.refresh(&url);
    assert_eq!(stages(&app)[0].2, RotationStage::Announced, "n3 has not got it");
    assert_eq!(a.keys(), before[0]);
    c.refresh(&url);
    assert_eq!(stages(&app)[0].2, RotationStage::Switched);

    // Whoever uses the new key is known to all, and the old one too.
    let old = before[0]["wg2"];
    b.refresh(&url);
    a.refresh(&url);
    assert_eq!(a.keys()["wg2"], new);
    for other in [b, c] {
        assert!(other.knows(a, "wg2", &new) && other.knows(a, "wg2", &old), "{}", other.name());
    }
    c.refresh(&url);
    assert!(stages(&app).is_empty());
    nodes.iter().for_each(|n| n.refresh(&url));
    for other in [b, c] {
        assert!(other.knows(a, "wg2", &new) && !other.knows(a, "wg2", &old), "the old key is gone");
    }
    let after: Vec<_> = nodes.iter().map(Running::keys).collect();
    assert_eq!(after[1..], before[1..]);
    for (plane, key) in &before[0] {
        assert_eq!(after[0][plane] == *key, plane != "wg2", "{plane}");
    }
    assert_eq!(current(&app).nodes[a.name()].keys, after[0]);
    assert_eq!(done(&app), 1);
    // Nobody was revoked by that.
    assert!(app.view_overview().unwrap().lists.revoked.is_empty());
}

#[test]
fn a_key_goes_one_stage_further_when_every_kernel_has_the_list_and_not_when_every_disk_has() {
    let (_t, app, url, nodes) = started(2);
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let before = a.keys()["wg2"];
    rotate(&app, &wish(Some("n1"), Some("wg2"))).unwrap();
    a.refresh(&url);
    let new = current(&app).rotating[a.name()]["wg2"].other.unwrap();
    a.refresh(&url);
    b.fetch(&url);
    assert!(b.knows(a, "wg2", &new), "it is in the stored list");
    assert_eq!(stages(&app)[0].2, RotationStage::Announced, "n2 would not hear the new key yet");
    assert_eq!(a.keys()["wg2"], before);
    b.act(&url);
    assert_eq!(stages(&app)[0].2, RotationStage::Switched);
    // The same with the change-over: the old key stays until n1 uses the new one.
    b.refresh(&url);
    a.fetch(&url);
    assert_eq!(stages(&app)[0].2, RotationStage::Switched, "n1 still uses the old key");
    b.refresh(&url);
    assert!(b.knows(a, "wg2", &before) && b.knows(a, "wg2", &new));
    a.act(&url);
    assert!(stages(&app).is_empty());
    b.refresh(&url);
    assert!(b.knows(a, "wg2", &new) && !b.knows(a, "wg2", &before));
}

#[test]
fn a_plane_is_replaced_before_the_next_and_every_node_ends_with_new_keys() {
    let (_t, app, url, nodes) = started(2);
    let before: Vec<_> = nodes.iter().map(Running::keys).collect();
    assert_eq!(rotate(&app, &wish(None, None)).unwrap().len(), 6);
    let mut planes = Vec::new();
    for _ in 0..40 {
        let moving: Vec<_> = stages(&app).into_iter().filter(|s| s.2 != RotationStage::Queued).map(|s| s.1).collect();
        assert!(moving.windows(2).all(|two| two[0] == two[1]), "one plane at a time: {moving:?}");
        planes.extend(moving);
        nodes.iter().for_each(|n| n.refresh(&url));
    }
    planes.dedup();
    assert_eq!(planes, ["wg1", "wg2", "wg3"]);
    assert!(stages(&app).is_empty());
    for (node, before) in nodes.iter().zip(before) {
        assert!(node.keys().iter().all(|(plane, key)| before[plane] != *key));
        assert_eq!(current(&app).nodes[node.name()].keys, node.keys());
    }
    // Once more: the file of the node keeps the key in force.
    rotate(&app, &wish(Some("n2"), Some("wg1"))).unwrap();
    let held = nodes[1].keys();
    for _ in 0..6 {
        nodes.iter().for_each(|n| n.refresh(&url));
    }
    assert!(stages(&app).is_empty() && nodes[1].keys()["wg1"] != held["wg1"] && nodes[1].keys()["wg2"] == held["wg2"]);
}

#[test]
fn a_node_answers_only_for_itself_and_only_what_was_asked() {
    let (_t, app, url, nodes) = started(2);
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let before = current(&app).nodes.clone();
    let own = WgPublicKey([77; 32]);
    let answer = |serial, key| BTreeMap::from([("wg1".to_owned(), NextKey { serial, key })]);
    a.says(&app, answer(1, own));
    rotate(&app, &wish(Some("n1"), Some("wg1"))).unwrap();
    let serial = current(&app).rotating[a.name()]["wg1"].serial;
    a.says(&app, answer(serial.wrapping_add(1), own));
    a.says(&app, answer(u64::MAX, own));
    // The key of somebody else, and an answer by somebody else.
    a.says(&app, answer(serial, before[b.name()].keys["wg1"]));
    b.says(&app, answer(serial, own));
    assert_eq!(stages(&app), [("n1".to_owned(), "wg1".to_owned(), RotationStage::Asked)]);
    assert_eq!(current(&app).nodes, before);
    a.says(&app, answer(serial, own));
    assert_eq!(current(&app).rotating[a.name()]["wg1"].other, Some(own));
    // Twice: the second one is too late.
    a.says(&app, answer(serial, WgPublicKey([78; 32])));
    assert_eq!(current(&app).rotating[a.name()]["wg1"].other, Some(own));
    assert_eq!(current(&app).nodes, before, "and it does not count yet");
    // A node that is revoked takes its replacement with it.
    app.revoke_by(&admin(), a.identity.info.enrollment, "").unwrap();
    assert!(stages(&app).is_empty() && current(&app).rotating.is_empty());
    b.refresh(&url);
}

/// With it, WireGuard would take the seed's addresses from its own entry, at every member.
#[test]
fn a_node_does_not_get_a_key_of_the_seed() {
    let (_t, app, _, nodes) = started(1);
    let [a] = &nodes[..] else { panic!("one node") };
    rotate(&app, &wish(Some("n1"), Some("wg1"))).unwrap();
    let serial = current(&app).rotating[a.name()]["wg1"].serial;
    for key in app.public.planes.values() {
        a.says(&app, BTreeMap::from([("wg1".to_owned(), NextKey { serial, key: *key })]));
    }
    assert!(!app.public.planes.is_empty());
    assert_eq!(stages(&app), [("n1".to_owned(), "wg1".to_owned(), RotationStage::Asked)]);
    assert_eq!(current(&app).rotating[a.name()]["wg1"].other, None);
}

#[test]
fn who_may_not_approve_replaces_no_keys_and_a_wish_says_what_it_means() {
    let (_t, app, _, _nodes) = started(1);
    let seed = Seed(app.clone());
    let viewer = Actor::session("vic", Rights::Viewer, true);
    assert!(matches!(seed.rotate(&viewer, &wish(None, None)), Err(ApiError::Forbidden { .. })));
    for bad in [RotateWish::default(), RotateWish { all: true, ..wish(Some("n1"), None) }] {
        assert!(matches!(seed.rotate(&admin(), &bad), Err(ApiError::BadRequest { .. })), "{bad:?}");
    }
    for (node, plane) in [(Some("n9"), None), (Some("../n1"), None), (None, Some("wg9")), (Some("n1"), Some("eth0"))] {
        assert!(matches!(seed.rotate(&admin(), &wish(node, plane)), Err(ApiError::NotFound { .. })), "{node:?} {plane:?}");
    }
    assert!(stages(&app).is_empty());
    assert!(app.seal("test"));
    assert!(matches!(seed.rotate(&admin(), &wish(None, None)), Err(ApiError::Sealed)));
}

#[test]
fn a_restored_seed_takes_over_the_new_keys_and_revokes_nobody() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let app = unsealed(&site, A);
    let url = serve(&app);
    let nodes: Vec<Running> = (1..=2).map(|n| Running::start(n, &app, &t)).collect();
    nodes.iter().for_each(|n| n.refresh(&url));
    let copy = restored(&site, &t, "copy");
    rotate(&app, &wish(Some("n1"), None)).unwrap();
    for _ in 0..20 {
        nodes.iter().for_each(|n| n.refresh(&url));
    }
    assert!(stages(&app).is_empty());
    let keys = nodes[0].keys();
    let back = serve(&copy);
    nodes.iter().for_each(|n| n.refresh(&back));
    let list = current(&copy);
    assert_eq!(list.nodes[nodes[0].name()].keys, keys);
    assert_eq!(list.nodes.len(), 3);
    let revoked = copy.store.read(|tx| tx.events_after(0, 1000)).unwrap();
    assert!(!revoked.iter().any(|e| e.kind == EventKind::NodeRevoked.as_str()));
}
