//! The peer lists that nodes hold: a revocation that does not arrive is seen, and a seed that was restored from an old
//! copy learns what it has forgotten.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cluster_seed::enrollment::EnrollmentState as S;
use cluster_seed::events::{EventKind, Tone};
use cluster_seed::held::{Held, HeldReply, LATE};
use cluster_seed::identity::NodeIdentity;
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::{Sealed, SigningKey};
use payload::http::Http;
use payload::state::NodeDir;
use seedd::app::App;
use site::{Site, setting};
use web::api::{ApiError, MachineRow, Via};

use crate::epoch::{installed, serve};
use crate::support::sites::*;

static SEQ: AtomicU64 = AtomicU64::new(1);

/// A node that runs, and what it needs to ask for lists.
struct Running {
    machine: Machine,
    identity: NodeIdentity,
    dir: NodeDir,
}

impl Running {
    /// Enrolls, installs, and keeps its files below `t`.
    fn start(n: u8, app: &App, t: &Temp) -> Self {
        let (machine, identity, dir) = installed(n, app, t);
        Running { machine, identity, dir }
    }

    fn id(&self) -> EnrollmentId {
        self.identity.info.enrollment
    }

    /// One period of its timer; the version that it holds then.
    fn refresh(&self, url: &str) -> u64 {
        if let Err(e) = period(&self.dir, &self.identity, &self.machine.key, &Http::new(url)) {
            println!("n: {}", payload::http::chain(&e));
        }
        self.version()
    }

    fn version(&self) -> u64 {
        self.dir.peers(&self.identity).unwrap().version
    }

    /// Says by itself what it holds.
    fn says(&self, app: &App, epoch: u64, version: u64, digest: Digest) -> Result<HeldReply, ApiError> {
        let seq = 1_000_000 + SEQ.fetch_add(1, Ordering::Relaxed);
        let held = Held { enrollment: self.id(), seq, epoch, version, digest, next: [].into(), refused: None };
        app.hear_held(ip(), self.id(), &Sealed::sign(&held, &self.machine.key).unwrap())
    }
}

/// As if the seed had signed its list so many seconds ago.
fn pass(app: &App, seconds: u64) {
    let text = app.store.setting(setting::PEERS_SIGNED).unwrap().unwrap();
    let mut signed: serde_json::Value = serde_json::from_str(&text).unwrap();
    for field in ["at", "revokedAt"] {
        signed[field] = (signed[field].as_u64().unwrap().saturating_sub(seconds)).into();
    }
    app.store.set(setting::PEERS_SIGNED, &signed.to_string()).unwrap();
}

fn row(app: &App, id: EnrollmentId) -> MachineRow {
    app.view_machines().unwrap().into_iter().find(|m| m.enrollment.as_ref().is_some_and(|e| e.id == id)).unwrap()
}

fn events(app: &App, kind: EventKind) -> usize {
    app.store.read(|tx| tx.events_after(0, 1000)).unwrap().iter().filter(|e| e.kind == kind.as_str()).count()
}

fn current(app: &App) -> PeersFile {
    app.signed_peers().unwrap().open(&app.site_key).unwrap()
}

/// M5: three nodes, one is revoked, one sits behind a host that replays the list of before.
#[test]
fn a_node_that_does_not_learn_of_a_revocation_is_seen() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let app = unsealed(&site, A);
    let seed = serve(&app);
    let nodes: Vec<Running> = (1..=3).map(|n| Running::start(n, &app, &t)).collect();
    for n in &nodes {
        assert_eq!(n.refresh(&seed), current(&app).version);
    }
    // What the replaying host has recorded: a seed that stands still.
    let copy = restored(&site, &t, "replay");
    let replay = serve(&copy);
    assert!(app.view_overview().unwrap().lists.behind == 0);

    let before = current(&app).version;
    app.revoke_by(&admin(), nodes[2].id(), "stolen").unwrap();
    let version = current(&app).version;
    assert!(version > before);
    assert_eq!(nodes[0].refresh(&seed), version);
    assert_eq!(nodes[1].refresh(&replay), before, "kept from it");
    let view = app.view_overview().unwrap();
    assert_eq!((view.lists.nodes, view.lists.unaware), (2, 0), "it may still be within its period");
    pass(&app, LATE);
    assert_eq!(nodes[0].refresh(&seed), version);
    assert_eq!(nodes[1].refresh(&replay), before);
    let view = app.view_overview().unwrap();
    assert_eq!((view.lists.nodes, view.lists.behind, view.lists.unaware, view.lists.version), (2, 1, 1, version));
    let says = |w: &&String| w.contains("1 of 2 nodes have not received this revocation yet (n2.kubedos.lan)");
    assert!(view.warnings.iter().find(says).is_some_and(|w| w.starts_with("n3.kubedos.lan revoked")), "{:?}", view.warnings);
    let held = row(&app, nodes[1].id()).list.unwrap();
    assert_eq!((held.version, held.current, held.behind), (Some(before), version, true));
    assert!(!row(&app, nodes[0].id()).list.unwrap().behind);
    assert!(row(&app, nodes[2].id()).list.is_none(), "a revoked node holds whatever it likes");
    assert!(app.metrics().unwrap().contains("kubedos_nodes_behind 1"));
    // The replay ends.
    assert_eq!(nodes[1].refresh(&seed), version);
    let view = app.view_overview().unwrap();
    assert_eq!((view.lists.behind, view.lists.unaware), (0, 0));
    assert!(!view.warnings.iter().any(|w| w.contains("do not know")));
}

/// L7: names, addresses and keys of the fleet are for members, on proof.
#[test]
fn strangers_do_not_get_the_list() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let app = unsealed(&site, A);
    let n1 = Running::start(1, &app, &t);
    let plane: IpAddr = n1.identity.info.planes["wg1"].address.into();
    let other: IpAddr = n1.identity.info.planes["wg2"].address.into();
    let stranger: IpAddr = "10.44.0.66".parse().unwrap();
    let refused = |r: Result<_, ApiError>| assert!(matches!(r, Err(ApiError::Forbidden { .. })));
    for (from, via) in [
        (stranger, Via::Underlay),
        (stranger, Via::ControlPlane),
        // A source address of the plane proves nothing on the boot network, nor does one of another plane.
        (plane, Via::Underlay),
        (other, Via::ControlPlane),
        ("10.78.0.99".parse().unwrap(), Via::ControlPlane),
    ] {
        refused(app.peers_for(from, via).map(|_| ()));
    }
    assert!(app.peers_for(plane, Via::ControlPlane).is_ok());
    // An agent of version 0.1 cannot sign; one that signed once is not asked less again.
    assert!(app.peers_for(ip(), Via::Underlay).is_ok());
    n1.says(&app, 1, 1, Digest([0; 32])).unwrap();
    refused(app.peers_for(ip(), Via::Underlay).map(|_| ()));

    // A message signed by another, of another, or said before.
    let held = |enrollment, seq, key: &SigningKey| {
        Sealed::sign(
            &Held { enrollment, seq, epoch: 1, version: 1, digest: Digest([0; 32]), next: [].into(), refused: None },
            key,
        )
    };
    let stolen = SigningKey::from_bytes(&[66; 32]);
    let nobody = EnrollmentId([9; 16]);
    refused(app.hear_held(stranger, n1.id(), &held(n1.id(), 9_000_000, &stolen).unwrap()).map(|_| ()));
    refused(app.hear_held(stranger, n1.id(), &held(nobody, 9_000_000, &n1.machine.key).unwrap()).map(|_| ()));
    refused(app.hear_held(stranger, nobody, &held(nobody, 9_000_000, &stolen).unwrap()).map(|_| ()));
    let once = held(n1.id(), 9_000_001, &n1.machine.key).unwrap();
    let rows = app.store.read(|tx| tx.last_event()).unwrap();
    assert!(app.hear_held(ip(), n1.id(), &once).unwrap().peers.is_some());
    for _ in 0..2 {
        assert!(matches!(app.hear_held(stranger, n1.id(), &once), Err(ApiError::Conflict { .. })), "a replay gets nothing");
    }
    // Also after a restart of the daemon.
    assert!(app.reopened().unwrap().hear_held(stranger, n1.id(), &once).is_err());
    let huge = held(n1.id(), u64::MAX, &n1.machine.key).unwrap();
    assert!(matches!(app.hear_held(ip(), n1.id(), &huge), Err(ApiError::BadRequest { .. })));
    refused(app.take_list(stranger, n1.id(), &app.signed_peers().unwrap()).map(|_| ()));
    assert_eq!(app.store.read(|tx| tx.last_event()).unwrap(), rows, "counted, not recorded");
    assert!(app.heard.refused() >= 9, "{}", app.heard.refused());
}

/// A second installation of the site's files as they are now.
pub(crate) fn restored(site: &Site, t: &Temp, name: &str) -> Arc<App> {
    let to = t.path.join(name);
    // The database is in WAL mode: what is committed may still be beside it.
    let (from, copy) = (site.data.as_std_path(), to.as_std_path());
    copy_tree(from, copy);
    unsealed(&Site::new(&to), A)
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (kind, to) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &to);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// M6: a seed that was restored from last week's copy revokes again whom it had revoked, and goes on above.
#[test]
fn a_restored_seed_learns_the_newest_list_from_its_nodes() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let app = unsealed(&site, A);
    let nodes: Vec<Running> = (1..=2).map(|n| Running::start(n, &app, &t)).collect();
    let copy = restored(&site, &t, "copy");
    let old = current(&copy).version;
    assert_eq!(current(&app).version, old);

    app.revoke_by(&admin(), nodes[1].id(), "stolen").unwrap();
    let late = Running::start(3, &app, &t);
    let newest = current(&app).version;
    assert!(newest > old);
    let seed = serve(&app);
    assert_eq!((nodes[0].refresh(&seed), late.refresh(&seed)), (newest, newest));

    // The real one is gone; the copy is taken for it.
    drop(app);
    let back = serve(&copy);
    assert_eq!(copy.view_of(nodes[1].id()).unwrap().state, S::Installed, "the copy thinks that it lives");
    assert_eq!(late.refresh(&back), newest, "the copy knows nothing of it");
    assert_eq!(nodes[0].refresh(&back), newest + 1);
    let list = current(&copy);
    assert_eq!(list.version, newest + 1);
    let names: Vec<_> = list.nodes.keys().map(|n| n.label().to_owned()).collect();
    assert_eq!(names, ["n1", "seed"], "neither the revoked nor the unknown node");
    assert_eq!(copy.view_of(nodes[1].id()).unwrap().state, S::Revoked);
    assert_eq!((events(&copy, EventKind::PeersOvertaken), events(&copy, EventKind::NodeRevoked)), (1, 1));
    assert_eq!(EventKind::PeersOvertaken.tone(), Tone::Bad);
    // It stands on the pages until somebody has looked at it, also after a restart.
    let again = Arc::new(copy.reopened().unwrap());
    let warned = again.view_overview().unwrap().warnings;
    let about = warned.iter().find(|w| w.contains("restored from an old copy")).expect("a warning");
    assert!(about.contains("n2.kubedos.lan") && about.contains("n3.kubedos.lan"), "{about}");
    // And it happens once.
    assert_eq!(nodes[0].refresh(&back), newest + 1);
    assert_eq!(events(&again, EventKind::PeersOvertaken), 1);
    assert!(again.revoke_by(&admin(), nodes[0].id(), "").is_ok());
    assert_eq!(current(&again).version, newest + 2);
}

/// M6: a sealed seed cannot sign; it takes over what it was brought, and serves that.
#[test]
fn a_sealed_seed_keeps_revoked_nodes_off_before_it_is_unsealed() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let at_work = unsealed(&site, A);
    let nodes: Vec<Running> = (1..=2).map(|n| Running::start(n, &at_work, &t)).collect();
    let copy = t.path.join("copy");
    copy_tree(site.data.as_std_path(), copy.as_std_path());
    at_work.revoke_by(&admin(), nodes[1].id(), "").unwrap();
    let newest = nodes[0].refresh(&serve(&at_work));
    let sealed = app(&Site::new(&copy));
    assert_eq!(nodes[0].refresh(&serve(&sealed)), newest);
    assert_eq!(current(&sealed).version, newest);
    assert_eq!(sealed.view_of(nodes[1].id()).unwrap().state, S::Revoked);
    sealed.unseal_with(A, "test").unwrap();
    assert!(current(&sealed).nodes.keys().all(|n| n.label() != "n2"));
}

/// M6: two lists under one number: the node refuses, the seed is told and decides nothing.
#[test]
fn two_lists_under_one_number_are_an_alarm() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let at_work = unsealed(&site, A);
    let nodes: Vec<Running> = (1..=3).map(|n| Running::start(n, &at_work, &t)).collect();
    let copy = restored(&site, &t, "copy");
    at_work.revoke_by(&admin(), nodes[1].id(), "").unwrap();
    copy.revoke_by(&admin(), nodes[2].id(), "").unwrap();
    let version = current(&at_work).version;
    assert_eq!(current(&copy).version, version);
    assert_eq!(nodes[0].refresh(&serve(&at_work)), version);
    let held = nodes[0].dir.peers(&nodes[0].identity).unwrap();
    let back = serve(&copy);
    for _ in 0..3 {
        nodes[0].refresh(&back);
    }
    assert_eq!(nodes[0].dir.peers(&nodes[0].identity).unwrap(), held, "the node keeps what it has");
    assert_eq!(events(&copy, EventKind::PeersForked), 1, "told once");
    assert!(copy.view_overview().unwrap().warnings.iter().any(|w| w.contains("two seeds are signing")));
    assert_eq!(copy.view_of(nodes[1].id()).unwrap().state, S::Installed, "nothing is decided by it");
    // A node that only claims another list is no alarm: the site's own signature is the proof.
    let fresh = restored(&site, &t, "third");
    let own = current(&fresh);
    assert!(nodes[0].says(&fresh, own.epoch, own.version, Digest([9; 32])).unwrap().send);
    let forged = Sealed::sign(&own, &SigningKey::from_bytes(&[66; 32])).unwrap();
    assert!(matches!(fresh.take_list(ip(), nodes[0].id(), &forged), Err(ApiError::Forbidden { .. })));
    assert_eq!(events(&fresh, EventKind::PeersForked), 0);
}
