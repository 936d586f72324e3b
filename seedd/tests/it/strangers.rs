//! What somebody with a cable and no identity may make the seed write down, and whom that must not hide.

use std::net::IpAddr;

use cluster_seed::agent::{Claim, Hello, PROTOCOL, ReportBody};
use cluster_seed::enrollment::EnrollmentState as S;
use cluster_seed::ids::{EnrollmentId, Mac};
use cluster_seed::pairing::Nonce;
use cluster_seed::seal::{Sealed, SigningKey};
use seedd::app::App;
use web::api::ApiError;

use crate::enrollment::{Bench, Machine, PASSPHRASE, admin, began, bench, form, ip};

fn address(n: u16) -> IpAddr {
    let [a, b] = n.to_be_bytes();
    IpAddr::from([10, 44, a, b])
}

fn made_up(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    Mac([6, 0, a, b, c, d])
}

fn hello(app: &App, from: IpAddr, mac: Mac) -> Option<EnrollmentId> {
    let hello = Hello { protocol: PROTOCOL, boot_mac: Some(mac), token: None };
    app.say_hello(from, &hello).ok().map(|r| r.enrollment)
}

fn rows(app: &App) -> i64 {
    app.store.read(|tx| tx.last_event()).unwrap()
}

/// H3: a node keeps its state, address, facts, name and Revoke button whatever is said under its MAC address.
#[test]
fn hellos_under_the_mac_address_of_a_node_hide_nothing_of_it() {
    let Bench { app, _dir } = &bench();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let node = Machine::new(1);
    let (id, code) = node.enroll(app);
    node.approve(app, id, &form(&code, "n1")).unwrap();
    node.claim(app, id, 1).unwrap();
    node.report(app, id, 1, began()).unwrap();
    let machine = app.view_machines().unwrap().remove(0).id;
    let before = app.view_machine(machine).unwrap();
    let mut stranger = Machine::new(66);
    (stranger.mac, stranger.from) = (node.mac, address(66));
    let (waiting, _) = stranger.enroll(app);
    for n in 0..300 {
        hello(app, address(67 + n % 60), node.mac);
    }
    let after = app.view_machine(machine).unwrap();
    let row = after.row;
    assert_eq!((row.ip, row.model), (Some(ip()), before.row.model));
    let member = row.enrollment.unwrap();
    assert_eq!((member.id, member.state, member.hostname.as_deref()), (id, S::Installing, Some("n1.kubedos.lan")));
    assert_eq!(after.facts, before.facts);
    assert!(app.view_machines().unwrap()[0].enrollment.as_ref().unwrap().id == id, "in the list, too");
    assert_eq!(app.revoke_by(&admin(), id, "stolen").unwrap().state, S::Revoked);
    assert_eq!(app.view_of(waiting).unwrap().state, S::Expired, "pushed out by the hellos, with a reason for its console");
}

/// H3: whoever opens enrollments under a machine's MAC address does not push out the one at the machine's own address.
#[test]
fn a_machine_that_waits_keeps_its_place_against_others_with_its_mac_address() {
    let Bench { app, _dir } = &bench();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let real = Machine::new(1);
    app.store.write(|tx| tx.see_machine(real.mac, Some(real.from), 1)).unwrap();
    let (id, code) = real.enroll(app);
    for n in 0..200 {
        hello(app, address(60 + n), real.mac);
    }
    assert_eq!(real.approve(app, id, &form(&code, "n1")).unwrap().state, S::Approved);
}

/// H4: made-up machines of some addresses take no place from a rack that enrolls.
#[test]
fn a_rack_enrolls_while_64_addresses_flood() {
    let Bench { app, _dir } = &bench();
    let mut flood = 0..;
    let mut waiting = Vec::new();
    for n in 1..=40u8 {
        for _ in 0..50 {
            let n: u32 = flood.next().unwrap();
            hello(app, address(1_000 + (n % 64) as u16), made_up(n));
        }
        let mut machine = Machine::new(n);
        machine.from = address(100 + u16::from(n));
        waiting.push(machine.enroll(app).0);
    }
    for id in waiting {
        assert_eq!(app.view_of(id).unwrap().state, S::Pending);
    }
    let open = app.store.read(|tx| tx.count_open(site::store::admission::Whose::Anybody)).unwrap();
    assert!(open <= app.spec.spec.enrollment.max_pending, "{open}");
}

/// H4: what an enrollment that was pushed out said of its hardware is not kept: it can be as large as a message.
#[test]
fn enrollments_that_are_pushed_out_leave_no_hardware_facts_behind() {
    let Bench { app, _dir } = &bench();
    let ids: Vec<EnrollmentId> = (1..=12).map(|n| Machine::new(n).enroll(app).0).collect();
    let open = ids.iter().filter(|id| app.view_of(**id).unwrap().state == S::Pending).count();
    assert_eq!(open, 8);
    let machines = app.store.read(|tx| tx.machines()).unwrap();
    assert_eq!((machines.len(), machines.iter().filter(|m| m.facts.is_some()).count()), (12, open));
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(app.store.read(|tx| tx.enrollment(*id)).unwrap().revealed.is_some(), n >= 4, "{n}");
    }
}

/// H5: claims of nothing are counted; claims of an identity that waits leave few rows.
#[test]
fn refused_claims_leave_hardly_a_row() {
    let Bench { app, _dir } = &bench();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let key = SigningKey::from_bytes(&[9; 32]);
    let nonce = Nonce::from_random([1; 32]);
    let claim = |id| Sealed::sign(&Claim { enrollment: id, challenge: nonce, nonce }, &key).unwrap();
    let nobody = EnrollmentId([9; 16]);
    let before = rows(app);
    for _ in 0..500 {
        assert!(app.hand_out(address(9), nobody, &claim(nobody)).is_err());
    }
    assert_eq!(rows(app), before, "of an enrollment that there is not");
    let m = Machine::new(1);
    let (id, code) = m.enroll(app);
    for _ in 0..100 {
        assert!(app.hand_out(address(9), id, &claim(id)).is_err());
    }
    m.approve(app, id, &form(&code, "n1")).unwrap();
    let before = rows(app);
    for _ in 0..500 {
        assert!(app.hand_out(address(9), id, &claim(id)).is_err());
    }
    assert!((1..10).contains(&(rows(app) - before)), "{}", rows(app) - before);
}

/// H5: who is no member reports nothing: not before an approval, not after a denial or a revocation.
#[test]
fn reports_are_taken_from_members_only() {
    let Bench { app, _dir } = &bench();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let (pending, denied, revoked) = (Machine::new(1), Machine::new(2), Machine::new(3));
    let (first, _) = pending.enroll(app);
    let (second, _) = denied.enroll(app);
    app.deny_by(&admin(), second, "").unwrap();
    let (third, code) = revoked.enroll(app);
    revoked.approve(app, third, &form(&code, "n3")).unwrap();
    app.revoke_by(&admin(), third, "").unwrap();
    let (before, touched) = (rows(app), app.store.read(|tx| tx.enrollment(first)).unwrap().touched);
    for (machine, id) in [(&pending, first), (&denied, second), (&revoked, third)] {
        for seq in 1..50 {
            let booted = ReportBody::Booted { kernel: "6".into(), boot_id: "x".into() };
            assert!(machine.report(app, id, seq, booted).is_err());
            assert!(machine.report(app, id, seq, ReportBody::InstallDone { seconds: 1 }).is_err());
        }
    }
    let record = app.store.read(|tx| tx.enrollment(first)).unwrap();
    assert_eq!((rows(app), record.touched, record.last_seq), (before, touched, 0), "not a row, and no time bought");
}

/// A node that was taken over does not push the rest out of the log at wire speed, and the others are heard.
#[test]
fn a_node_has_a_budget_for_what_becomes_events() {
    let Bench { app, _dir } = &bench();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let (loud, other) = (Machine::new(1), Machine::new(2));
    let ids = [(&loud, "n1"), (&other, "n2")].map(|(machine, name)| {
        let (id, code) = machine.enroll(app);
        machine.approve(app, id, &form(&code, name)).unwrap();
        machine.claim(app, id, 1).unwrap();
        id
    });
    let says =
        |machine: &Machine, id, seq| machine.report(app, id, seq, ReportBody::Booted { kernel: "6".into(), boot_id: "x".into() });
    let before = rows(app);
    let refused = (1..=20_000).find(|seq| matches!(says(&loud, ids[0], *seq), Err(ApiError::TooMany { .. }))).unwrap();
    assert!(refused > 600, "{refused}");
    assert_eq!(rows(app) - before, refused as i64 - 1);
    assert!(says(&other, ids[1], 1).is_ok());
}

/// H5: one row tells of a round of the fabric gate, however many checks it has.
#[test]
fn a_round_of_the_gate_is_one_row() {
    let Bench { app, _dir } = &bench();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    let m = Machine::new(1);
    let (id, code) = m.enroll(app);
    m.approve(app, id, &form(&code, "n1")).unwrap();
    m.claim(app, id, 1).unwrap();
    m.report(app, id, 1, began()).unwrap();
    let check = |n: usize| cluster_seed::agent::GateCheck { name: format!("check {n}"), ok: n != 3, detail: "d".into() };
    let before = rows(app);
    m.report(app, id, 2, ReportBody::Gate { checks: (0..60).map(check).collect() }).unwrap();
    assert_eq!(rows(app), before + 1);
    let last = app.store.read(|tx| tx.events_after(before, 9)).unwrap().remove(0);
    assert_eq!((last.kind.as_str(), last.text.as_str()), ("gate.check.failed", "1 of 60 checks failed: check 3 (d)"));
}

/// H4: no word of a machine that nobody approved moves the moment at which its enrollment ends.
#[test]
fn an_enrollment_that_was_not_revealed_ends_although_its_hello_is_said_again() {
    let Bench { app, _dir } = &bench();
    let id = hello(app, address(1), made_up(1)).unwrap();
    app.watch().unwrap();
    assert_eq!(app.view_of(id).unwrap().state, S::Discovered);
    let record = app.store.read(|tx| tx.enrollment(id)).unwrap();
    app.status_of(id).unwrap();
    assert_eq!(app.store.read(|tx| tx.enrollment(id)).unwrap().touched, record.touched);
}

/// The log is signed, shortened behind a signature, and what is left proves itself.
#[test]
fn the_log_is_bounded_behind_signed_checkpoints() {
    let Bench { app, _dir } = &bench();
    app.sign_log().unwrap();
    assert!(app.store.read(|tx| tx.checkpoints()).unwrap().is_empty(), "a sealed seed signs nothing");
    app.unseal_with(PASSPHRASE, "test").unwrap();
    for n in 0..30 {
        hello(app, address(n), made_up(u32::from(n)));
    }
    app.sign_log().unwrap();
    let signed = rows(app);
    for n in 30..60 {
        hello(app, address(n), made_up(u32::from(n)));
    }
    app.bound_log(1_000, 10).unwrap();
    assert_eq!(app.store.read(|tx| tx.log_rows()).unwrap(), rows(app), "few enough");
    app.bound_log(40, 10).unwrap();
    assert_eq!(app.store.read(|tx| tx.log_rows()).unwrap(), rows(app) - signed);
    assert_eq!(app.store.read(|tx| tx.events_after(0, 1)).unwrap()[0].id, signed + 1);
    assert_eq!(app.store.read(|tx| tx.broken_event()).unwrap(), None);
    assert_eq!(app.store.read(|tx| tx.broken_checkpoint(&app.site_key)).unwrap(), None);
}

/// M3: an operator takes a machine off the list; a node stays.
#[test]
fn a_machine_is_forgotten_and_a_node_is_not() {
    let Bench { app, _dir } = &bench();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    hello(app, address(1), made_up(1)).unwrap();
    let m = Machine::new(1);
    let (id, code) = m.enroll(app);
    m.approve(app, id, &form(&code, "n1")).unwrap();
    let find = |node: bool| app.view_machines().unwrap().into_iter().find(|m| (m.mac == Machine::new(1).mac) == node);
    app.forget_machine(&admin(), find(false).unwrap().id).unwrap();
    assert!(find(false).is_none());
    let node = find(true).unwrap().id;
    assert!(app.forget_machine(&admin(), node).is_err());
    app.revoke_by(&admin(), id, "").unwrap();
    app.forget_machine(&admin(), node).unwrap();
    assert!(app.view_machines().unwrap().is_empty(), "its name and addresses stay used, the row is hidden");
    hello(app, address(1), Machine::new(1).mac).unwrap();
    assert_eq!(app.view_machines().unwrap().len(), 1, "it is back when it is seen again");
}

/// H4: an operator denies a flood at once.
#[test]
fn all_of_an_address_are_denied_at_once() {
    let Bench { app, _dir } = &bench();
    for n in 0..20 {
        hello(app, address(5), made_up(n));
    }
    let (other, _) = Machine::new(1).enroll(app);
    assert_eq!(app.deny_address(&admin(), address(5)).unwrap(), 8, "no more than these were open");
    assert_eq!(app.view_of(other).unwrap().state, S::Pending);
}
