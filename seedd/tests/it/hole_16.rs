//! Hole 16 of the field's list: approval races and wipe loops. One approval is one installation, whoever asks at once and
//! however often; and nothing that waits for a person or for a machine waits for ever.

use std::sync::Arc;

use cluster_seed::agent::ReportBody;
use cluster_seed::enrollment::EnrollmentState as S;
use cluster_seed::ids::{Digest, EnrollmentId};
use seedd::app::{App, Seed};
use web::api::{ApiError, BootQuery, MachineApi as _};

use crate::support::sites::{A, Machine, admin, filled, form, ip, temp, unsealed};

fn began() -> ReportBody {
    ReportBody::InstallBegan { artifact: Digest([1; 32]), disk: "vda".into(), total: 100 }
}

/// How many of eight threads that begin together succeed.
fn at_once(f: impl Fn(u8) -> bool + Sync) -> usize {
    let barrier = std::sync::Barrier::new(8);
    let one = |n: u8| {
        barrier.wait();
        f(n)
    };
    let one = &one;
    std::thread::scope(|s| {
        let threads: Vec<_> = (0..8).map(|n| s.spawn(move || one(n))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).filter(|ok| *ok).count()
    })
}

#[test]
fn hole_16_of_many_at_once_one_is_approved_and_one_gets_the_identity() {
    let dir = temp();
    let app = unsealed(&filled(&dir.path, "site-a", A, 1, 4096), A);
    let machine = Machine::new(1);
    let (id, code) = machine.enroll(&app);
    let approve = |n: u8| app.approve_by(&admin(), id, &form(&code, &format!("n{n}"), false)).is_ok();
    assert_eq!(at_once(approve), 1);
    assert_eq!(machine.confirm(&app, id).unwrap(), S::Approved);
    assert_eq!(app.store.read(|tx| tx.live_nodes()).unwrap().len(), 1);
    // Each with a nonce of its own, as several agents under one key would ask.
    let claim = |n: u8| machine.claim_with(&app, id, n).is_ok();
    assert_eq!(at_once(claim), 1);
    assert_eq!(app.status_of(id).unwrap().state, S::Issued);
}

#[test]
fn hole_16_a_wipe_is_allowed_once_and_only_while_the_approval_stands() {
    let dir = temp();
    let app = unsealed(&filled(&dir.path, "site-a", A, 1, 4096), A);
    let (first, second) = (Machine::new(1), Machine::new(2));
    // Revoked between the identity and the wipe: the agent asks before it writes, and is told no.
    let (id, code) = first.enroll(&app);
    first.approve(&app, id, &form(&code, "n1", false)).unwrap();
    first.claim(&app, id).unwrap();
    app.revoke_by(&admin(), id, "a mistake").unwrap();
    assert!(matches!(first.report(&app, id, 1, began()), Err(ApiError::Conflict { .. })));
    assert_eq!(app.status_of(id).unwrap().state, S::Revoked);

    // Once it began, the approval is used up: the same claim again, as an agent that started anew would send it, gets nothing.
    let (id, code) = second.enroll(&app);
    second.approve(&app, id, &form(&code, "n2", false)).unwrap();
    second.claim(&app, id).unwrap();
    second.report(&app, id, 1, began()).unwrap();
    assert!(second.claim(&app, id).is_err());
    assert!(app.approve_by(&admin(), id, &form(&code, "n2", false)).is_err(), "nor is it approved a second time");
    second.report(&app, id, 2, ReportBody::InstallDone { seconds: 1 }).unwrap();
    assert!(matches!(second.report(&app, id, 3, began()), Err(ApiError::Conflict { .. })), "an installed disk is not wiped");
}

/// A machine that starts from the network again and again, with the network first in its boot order.
#[test]
fn hole_16_an_installed_machine_is_sent_to_its_disk_every_time() {
    let dir = temp();
    let app = unsealed(&filled(&dir.path, "site-a", A, 1, 4096), A);
    let (machine, mac) = (Machine::new(1), "02:00:00:00:00:01");
    let query = BootQuery { mac: Some(mac.into()), ..BootQuery::default() };
    let agent = Seed(app.clone()).boot_script(ip(), &query).unwrap();
    assert!(agent.contains("vmlinuz"), "first the agent:\n{agent}");
    // Another server's netboot bundle starts the agent itself, and asks only about what is installed.
    let of_bundle = |format: Option<&str>| {
        let query = BootQuery { only: Some("installed".into()), format: format.map(str::to_owned), ..query.clone() };
        Seed(app.clone()).boot_script(ip(), &query).ok()
    };
    assert_eq!((of_bundle(None), of_bundle(Some("grub")).as_deref()), (None, Some("")));
    machine.install(&app, "n1", false);
    let disk = Seed(app.clone()).boot_script(ip(), &query).unwrap();
    assert_eq!(of_bundle(None).as_ref(), Some(&disk));
    assert!(of_bundle(Some("grub")).unwrap().contains("local disk"));
    for round in 0..20 {
        assert_eq!(Seed(app.clone()).boot_script(ip(), &query).unwrap(), disk, "{round}");
        // A stranger under its address asks to be installed: what is on the disk stays, and still starts.
        Machine::under(2 + round, 1).hello(&app).ok();
    }
    assert_ne!(disk, agent);
    assert!(!disk.contains("kernel http"), "no agent, so nothing that could wipe:\n{disk}");
}

#[test]
fn hole_16_a_watchdog_ends_every_state_that_waits() {
    let dir = temp();
    let mut app = unsealed(&filled(&dir.path, "site-a", A, 1, 4096), A);
    let waiting = at_every_state(&app);
    assert_eq!(app.watch().unwrap(), 0, "their time is not over");
    for (id, state, _) in &waiting {
        assert_eq!(app.status_of(*id).unwrap().state, *state);
    }
    let policy = &mut Arc::get_mut(&mut app).unwrap().spec.spec.enrollment;
    (policy.pending_minutes, policy.install_minutes) = (0, 0);
    assert_eq!(app.watch().unwrap() as usize, waiting.len());
    for (id, before, after) in waiting {
        assert_eq!(app.status_of(id).unwrap().state, after, "{before:?}");
    }
    assert_eq!(app.watch().unwrap(), 0, "once");
    assert!(app.store.read(|tx| tx.live_nodes()).unwrap().is_empty(), "and none of them stays a member");
}

/// One machine in each state that waits for somebody, and what it ends in.
fn at_every_state(app: &Arc<App>) -> Vec<(EnrollmentId, S, S)> {
    let discovered = Machine::new(1).hello(app).unwrap().enrollment;
    let (pending, _) = Machine::new(2).enroll(app);
    let approved = |n: u8| {
        let machine = Machine::new(n);
        let (id, code) = machine.enroll(app);
        machine.approve(app, id, &form(&code, &format!("n{n}"), false)).unwrap();
        (machine, id)
    };
    let (confirming, code) = Machine::new(6).enroll(app);
    app.approve_by(&admin(), confirming, &form(&code, "n6", false)).unwrap();
    let (_, fetched_nothing) = approved(3);
    let (issued, issued_id) = approved(4);
    issued.claim(app, issued_id).unwrap();
    let (installing, installing_id) = approved(5);
    installing.claim(app, installing_id).unwrap();
    installing.report(app, installing_id, 1, began()).unwrap();
    let all = vec![
        (discovered, S::Discovered, S::Expired),
        (pending, S::Pending, S::Expired),
        (confirming, S::Confirming, S::Denied),
        (fetched_nothing, S::Approved, S::Expired),
        (issued_id, S::Issued, S::Failed),
        (installing_id, S::Installing, S::Failed),
    ];
    // The others are ends, or nodes: those are the metrics' and the gate's affair.
    let rest = S::ALL.iter().filter(|s| !all.iter().any(|(_, state, _)| state == *s));
    assert!(rest.clone().all(|s| s.is_final() || s.boots_from_disk()), "{:?}", rest.collect::<Vec<_>>());
    all
}
