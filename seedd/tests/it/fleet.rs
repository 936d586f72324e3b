//! The heartbeat of nodes, the list of many machines, and what operators note about them.

use std::net::SocketAddr;
use std::sync::Arc;

use cluster_seed::enrollment::EnrollmentEvent;
use cluster_seed::events::EventKind;
use cluster_seed::fleet::{Label, MAX_LABELS, PAGE, Query, Stage};
use cluster_seed::held::{Held, SILENT};
use cluster_seed::ids::{Digest, EnrollmentId, Mac};
use cluster_seed::seal::Sealed;
use seedd::app::{App, Seed};
use site::store::StoreError;
use web::api::{ApiError, MachinesApi as _, OperatorApi as _, Origin, Setup};

use crate::support::sites::*;

/// Seconds between two rounds of the watchdog.
const ROUND: u64 = 20;

/// A node behind its fabric gate.
fn running(n: u8, app: &App) -> (Machine, EnrollmentId) {
    let machine = Machine::new(n);
    let id = machine.install(app, &format!("n{n}"), false);
    let done: Result<_, StoreError> = app.store.write(|tx| {
        let record = tx.enrollment(id)?;
        tx.advance(&record, EnrollmentEvent::GatePassed, None, host::clock::now())
    });
    done.unwrap();
    (machine, id)
}

fn says(machine: &Machine, id: EnrollmentId, app: &App, seq: u64) {
    let held = Held { enrollment: id, seq, epoch: 1, version: 1, digest: Digest([0; 32]), next: [].into(), refused: None };
    app.hear_held(ip(), id, &Sealed::sign(&held, &machine.key).unwrap()).unwrap();
}

fn count(app: &App, kind: EventKind) -> usize {
    app.store.read(|tx| tx.events_after(0, 1000)).unwrap().iter().filter(|e| e.kind == kind.as_str()).count()
}

fn stage(app: &Arc<App>, id: EnrollmentId) -> Stage {
    let page = Seed(app.clone()).machine_page(&Query::default()).unwrap();
    page.machines.iter().find(|m| m.row.enrollment.as_ref().is_some_and(|e| e.id == id)).unwrap().stage
}

/// Rounds of the watchdog for so many seconds; the time after them.
fn rounds(app: &App, from: u64, seconds: u64) -> u64 {
    let mut at = from;
    while at < from + seconds {
        app.beat(at, true).unwrap();
        at += ROUND;
    }
    at
}

#[test]
fn a_node_that_is_not_heard_is_silent_until_it_is_heard_again() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let app = unsealed(&site, A);
    let (quiet, quiet_id) = running(1, &app);
    let (_, never) = running(2, &app);
    says(&quiet, quiet_id, &app, 1);
    let mut at = rounds(&app, 1000, SILENT);
    assert_eq!((count(&app, EventKind::NodeSilent), stage(&app, quiet_id)), (0, Stage::Joining), "it still has time");
    at = rounds(&app, at, 3 * ROUND);
    assert_eq!((count(&app, EventKind::NodeSilent), stage(&app, quiet_id)), (1, Stage::Silent));
    assert_eq!(stage(&app, never), Stage::Joining, "an agent that never reported a list has no heartbeat");
    at = rounds(&app, at, 2 * SILENT);
    assert_eq!(count(&app, EventKind::NodeSilent), 1, "once");
    let metrics = app.metrics().unwrap();
    assert!(metrics.contains("kubedos_nodes_silent 1\n"), "{metrics}");
    assert!(metrics.contains("kubedos_node_unheard_seconds{node=\"n1.kubedos.lan\"}"), "{metrics}");
    let home = Seed(app.clone()).home(&admin()).unwrap();
    assert_eq!((home.silent.len(), home.silent[0].name.as_str()), (1, "n1.kubedos.lan"));

    // A restart of the seed tells nothing about nodes: neither that this one is back, nor that others are silent.
    let again = unsealed(&site, A);
    let (other, other_id) = running(3, &again);
    says(&other, other_id, &again, 1);
    rounds(&again, 50_000, SILENT);
    assert_eq!((count(&again, EventKind::NodeBack), stage(&again, quiet_id)), (0, Stage::Silent));
    assert_eq!(stage(&again, other_id), Stage::Joining);

    says(&quiet, quiet_id, &app, 2);
    rounds(&app, at, ROUND);
    assert_eq!((count(&app, EventKind::NodeBack), stage(&app, quiet_id)), (1, Stage::Joining));
    assert!(app.metrics().unwrap().contains("kubedos_nodes_silent 0\n"));
}

#[test]
fn a_seed_that_does_not_listen_raises_no_alarm_and_a_revoked_node_is_not_silent() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let app = unsealed(&site, A);
    let (machine, id) = running(1, &app);
    says(&machine, id, &app, 1);
    for n in 0..20 {
        app.beat(1000 + n * ROUND, false).unwrap();
    }
    app.beat(1000 + 20 * ROUND, true).unwrap();
    assert_eq!(count(&app, EventKind::NodeSilent), 0);
    rounds(&app, 1000 + 21 * ROUND, SILENT + ROUND);
    assert_eq!(stage(&app, id), Stage::Silent);
    app.revoke_by(&admin(), id, "stolen").unwrap();
    assert_eq!(stage(&app, id), Stage::Ended);
    rounds(&app, 9000, ROUND);
    assert_eq!((count(&app, EventKind::NodeSilent), count(&app, EventKind::NodeBack)), (1, 0));
}

#[test]
fn labels_are_set_for_all_machines_or_for_none() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let app = unsealed(&site, A);
    let seed = Seed(app.clone());
    let ids: Vec<i64> = (1..=2)
        .map(|n| Machine::new(n).enroll(&app).0)
        .map(|id| app.store.read(|tx| tx.enrollment(id)).unwrap().machine)
        .collect();
    let list = |text: &str| Label::list(text).unwrap();
    seed.set_labels(&admin(), &ids, &list("a, b"), &[]).unwrap();
    let many: Vec<Label> = (0..MAX_LABELS - 1).map(|n| format!("l{n}").parse().unwrap()).collect();
    seed.set_labels(&admin(), &ids[..1], &[], &list("b")).unwrap();
    let refused = seed.set_labels(&admin(), &ids, &many, &[]);
    assert!(matches!(refused, Err(ApiError::BadRequest { .. })), "{refused:?}");
    let labels = |n: usize| seed.machines_of(&ids[n..=n]).unwrap().remove(0).labels;
    assert_eq!((labels(0), labels(1)), (vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]));
    seed.set_machine_place(&admin(), ids[1], "hall 2").unwrap();
    assert!(seed.set_machine_place(&admin(), 99, "x").is_err());
    let found = seed.machine_page(&Query::read("label:b place:hall", "", "", "")).unwrap();
    assert_eq!(found.machines.iter().map(|m| m.row.id).collect::<Vec<_>>(), ids[1..]);
    assert_eq!(count(&app, EventKind::MachineLabelled), 4);
}

/// The pages of an operator, served on a loopback address until the test ends.
pub fn pages(app: &Arc<App>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at: SocketAddr = listener.local_addr().unwrap();
    let router = web::operator_router(Arc::new(Seed(app.clone())), web::OperatorOptions::default());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            web::listener::serve(listener, router, std::future::pending()).await;
        });
    });
    format!("http://{at}")
}

/// 10,000 machines, 900 of which wait: every page stays small, and shows 50 of them.
#[test]
fn pages_of_ten_thousand_machines_are_small() {
    const MACHINES: u32 = 10_000;
    const WAITING: u32 = 900;
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let app = unsealed(&site, A);
    let mut facts = Machine::new(1).facts();
    facts.vendor = "A vendor with a long name, Inc.".into();
    facts.product = "A product with a name that is not short either".into();
    let done: Result<(), StoreError> = app.store.write(|tx| {
        for n in 0..MACHINES {
            let [_, b, c, d] = n.to_be_bytes();
            let id =
                tx.see_machine(Mac([2, 9, 0, b, c, d]), Some(format!("10.{b}.{c}.{d}").parse().unwrap()), n.into())?.unwrap();
            facts.serial = format!("SERIAL-NUMBER-{n:06}");
            tx.set_facts(id, &facts)?;
            if n < WAITING {
                let mut enrollment = [7; 16];
                enrollment[..4].copy_from_slice(&n.to_be_bytes());
                let number = tx.take_number()?.unwrap();
                tx.insert_enrollment(EnrollmentId(enrollment), id, number, ip(), 1)?;
                let record = tx.enrollment(EnrollmentId(enrollment))?;
                tx.advance(&record, EnrollmentEvent::Revealed, None, n.into())?;
            }
        }
        Ok(())
    });
    done.unwrap();
    let setup = Setup { code: app.setup_code().unwrap(), user: "ada".into(), password: "a long password".into() };
    let token = Seed(app.clone()).setup(&Origin::new("127.0.0.1".parse().unwrap(), "test"), &setup).unwrap();
    let base = pages(&app);
    let page = |path: &str| {
        let request = ureq::get(format!("{base}{path}")).header("authorization", format!("Bearer {token}"));
        request.call().unwrap().body_mut().read_to_string().unwrap()
    };
    for (path, rows) in [
        ("/machines", 50),
        ("/machines?page=200&sort=-heard", 50),
        ("/machines?state=waiting&sort=serial", 50),
        ("/machines?q=SERIAL-NUMBER-000042", 1),
        ("/", 0),
    ] {
        let text = page(path);
        assert!(text.len() < 300_000, "{path}: {} bytes", text.len());
        assert_eq!(text.matches("<tr id=\"m").count(), rows, "{path}");
    }
    assert!(page("/").contains("(900) Home") && page("/machines").contains(&format!("{MACHINES} machines")));
    let found = Seed(app).machine_page(&Query::read("", "waiting", "", "2")).unwrap();
    assert_eq!((found.total, found.pages, found.machines.len()), (WAITING, WAITING.div_ceil(PAGE), PAGE as usize));
}
