//! Enrollment by plan: a code that is enough, a click, the join window, and machines that were denied or set aside.

use std::sync::Arc;

use cluster_seed::agent::{Hello, PROTOCOL, TellCode};
use cluster_seed::enrollment::EnrollmentState as S;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::seal::Sealed;
use cluster_seed::trouble::Trouble;
use seedd::app::{App, Seed};
use web::api::{ApiError, CodeLeads, OperatorApi as _, PlanApi as _, PlanHow, RowState, Say};

use crate::enrollment::{Bench, Machine, PASSPHRASE, admin, bench, form, ip};

/// An unsealed seed with these lines under `enrollment:`.
pub(crate) fn with(lines: &str) -> Bench {
    let before = bench();
    let file = before.app.site.cluster_file();
    let text = std::fs::read_to_string(&file).unwrap();
    let changed = text.replacen("  enrollment:\n", &format!("  enrollment:\n{lines}"), 1);
    assert!(changed != text || lines.is_empty());
    std::fs::write(&file, changed).unwrap();
    let app = App::open(before.app.site.clone(), "10.44.0.1:80".parse().unwrap()).unwrap();
    app.unseal_with(PASSPHRASE, "test").unwrap();
    Bench { _dir: before._dir, app: Arc::new(app) }
}

pub(crate) fn seed(bench: &Bench) -> Seed {
    Seed(bench.app.clone())
}

pub(crate) fn keep(bench: &Bench, rows: &str) {
    seed(bench).keep_plan(&admin(), &format!("serial,mac,name,role,disk\n{rows}"), PlanHow::Set).unwrap();
}

pub(crate) fn state(bench: &Bench, id: EnrollmentId) -> S {
    bench.app.store.read(|tx| tx.enrollment(id)).unwrap().state
}

fn refusal(lead: CodeLeads) -> Option<String> {
    match lead {
        CodeLeads::Form { why, .. } => why.map(|r| r.why),
        CodeLeads::Approved(view) => panic!("approved: {view:?}"),
    }
}

pub(crate) fn why<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn the_code_of_a_planned_machine_is_enough_and_makes_the_planned_node() {
    let bench = with("");
    let m = Machine::new(1);
    keep(&bench, &format!(",{},r01u07,base,smallest\n", m.mac));
    let (id, code) = m.enroll(&bench.app);
    let view = seed(&bench).plan().unwrap();
    assert_eq!((view.check.rows[0].state, view.check.rows[0].enrollment), (RowState::Waiting, Some(id)));
    let CodeLeads::Approved(view) = seed(&bench).lead(&admin(), &code).unwrap() else { panic!("a form") };
    assert_eq!((view.id, view.state, view.role.as_deref()), (id, S::Confirming, Some("base")));
    let typed = seed(&bench).typed(&[id, EnrollmentId([9; 16])]).unwrap();
    assert_eq!((typed.len(), typed[0].disk.as_str(), typed[0].disk_serial.as_str()), (1, "vda", "s1"));
    assert_eq!(m.confirm(&bench.app, id).unwrap(), S::Approved);
    let node = bench.app.store.read(|tx| tx.node_of(id)).unwrap().unwrap();
    assert_eq!(node.hostname.label(), "r01u07");
    let view = seed(&bench).plan().unwrap();
    assert_eq!((view.check.rows[0].state, view.check.problems.len()), (RowState::Node, 0), "its own name is no contradiction");
    assert!(seed(&bench).typed(&[id]).unwrap()[0].state == S::Approved);
}

#[test]
fn a_wrong_secret_is_found_by_the_machine_as_ever() {
    let bench = with("");
    let m = Machine::new(1);
    keep(&bench, &format!(",{},r01u07,base,\n", m.mac));
    let (id, code) = m.enroll(&bench.app);
    let number = code.split('-').next().unwrap();
    let wrong = if code.ends_with("000-000") { format!("{number}-000-001") } else { format!("{number}-000-000") };
    assert!(matches!(seed(&bench).lead(&admin(), &wrong).unwrap(), CodeLeads::Approved(_)));
    assert_eq!(m.confirm(&bench.app, id).unwrap(), S::Denied);
    // Not an operator's denial: the machine may try again.
    assert!(seed(&bench).plan().unwrap().verdicts.is_empty());
    // With new keys, as each try has.
    Machine { mac: m.mac, from: m.from, ..Machine::new(9) }.enroll(&bench.app);
}

#[test]
fn what_stands_against_a_plan_is_told_and_the_code_alone_is_refused() {
    let bench = with("");
    for (n, rows, word, trouble) in [
        (1, ",{},n1,base,vdb\n", "no disk vdb", Trouble::DiskMissing),
        (2, "SN9,{},n2,base,\n", "serial number SN9", Trouble::NotAsPlanned),
        (3, ",{},taken,base,\n", "already exists", Trouble::NameTaken),
        (4, ",{},n4,base,\n", "needs 4294967296", Trouble::DiskTooSmall),
    ] {
        let mut m = Machine::new(n);
        m.from = format!("10.44.0.{}", 100 + n).parse().unwrap();
        m.disk = if n == 4 { 1 << 30 } else { m.disk };
        keep(&bench, &rows.replace("{}", &m.mac.to_string()));
        if n == 3 {
            let other = Machine::new(9);
            let (id, code) = other.enroll(&bench.app);
            other.approve(&bench.app, id, &form(&code, "taken")).unwrap();
        }
        let (id, code) = m.enroll(&bench.app);
        let told = refusal(seed(&bench).lead(&admin(), &code).unwrap()).unwrap();
        assert!(told.contains(word), "{told}");
        assert_eq!(state(&bench, id), S::Pending);
        let machine = bench.app.store.read(|tx| tx.enrollment(id)).unwrap().machine;
        let suggestion = seed(&bench).machine(machine).unwrap().waiting[0].suggestion.clone().unwrap();
        assert_eq!(suggestion.trouble.unwrap().word, trouble);
        assert!(suggestion.planned && !suggestion.ready);
    }
    // Its own form still approves it: a person has looked. With new keys, as each try has.
    let m = Machine { mac: Machine::new(2).mac, ..Machine::new(12) };
    let (id, code) = m.enroll(&bench.app);
    assert_eq!(m.approve(&bench.app, id, &form(&code, "n2")).unwrap().state, S::Approved);
}

#[test]
fn unplanned_machines_need_their_form_and_a_rule_fills_it_in() {
    let bench =
        with("    rules: [{match: {vendor: HP*}, role: base}, {match: {disks: 1}, role: base, name: 'u{n}', disk: only}]\n");
    keep(&bench, "SN1,,u1,base,\n");
    let m = Machine::new(1);
    let (id, code) = m.enroll(&bench.app);
    assert_eq!(refusal(seed(&bench).lead(&admin(), &code).unwrap()), None);
    let view = seed(&bench).plan().unwrap();
    let by = view.check.unplanned[0].suggestion.clone().unwrap();
    // u1 is a row's.
    assert_eq!((by.source.as_str(), by.hostname.as_deref(), by.disk.as_deref()), ("by rule 2", Some("u2"), Some("vda")));
    assert!(!by.planned && !by.ready && state(&bench, id) == S::Pending);
    assert_eq!(view.check.rows[0].state, RowState::NotSeen);
}

#[test]
fn a_plan_that_contradicts_the_site_is_not_kept_and_rows_are_added_and_removed() {
    let bench = with("");
    let seed = seed(&bench);
    let set = |how, text: &str| seed.keep_plan(&admin(), text, how);
    assert!(why(set(PlanHow::Set, "serial,name,role\nSN1,a,nosuch\n")).contains("line 2: a: there is no role"));
    assert!(why(set(PlanHow::Set, "serial,name,role\nSN1,a,base\nSN1,b,base\n")).contains("line 3"));
    assert_eq!(seed.check_plan("serial,name,role\nSN1,a,nosuch\n").unwrap().problems[0].line, 2);
    assert!(seed.plan().unwrap().check.rows.is_empty());
    set(PlanHow::Set, "serial,name,role\nSN1,a,base\nSN2,b,base\n").unwrap();
    let view = set(PlanHow::Add, "serial,name,role\nsn2,c,base\nSN3,d,base\n").unwrap();
    let names: Vec<_> = view.check.rows.iter().map(|r| (r.row.name.as_str(), r.row.line)).collect();
    assert_eq!(names, [("a", 2), ("c", 5), ("d", 6)], "the row of SN2 was replaced, and no line is there twice");
    assert_eq!(seed.drop_plan(&admin(), Some("c")).unwrap(), 1);
    assert!(seed.drop_plan(&admin(), Some("c")).is_err());
    assert_eq!(seed.drop_plan(&admin(), None).unwrap(), 2);
    let told: Vec<String> = bench.app.store.read(|tx| tx.events_after(0, 99)).unwrap().into_iter().map(|e| e.kind).collect();
    assert_eq!(told.iter().filter(|k| *k == "plan.changed").count(), 4);
}

pub(crate) fn tell(bench: &Bench, m: &Machine, id: EnrollmentId, code: &str) -> Result<S, ApiError> {
    use web::api::MachineApi as _;
    let told = Sealed::sign(&TellCode { enrollment: id, code: code.to_owned() }, &m.key).unwrap();
    seed(bench).tell_code(id, &told).map(|r| r.state)
}

#[test]
fn a_click_approves_a_planned_machine_that_was_asked_for_its_code_and_no_other() {
    let bench = with("    policy: planned-click\n");
    let (m, other) = (Machine::new(1), Machine::new(2));
    keep(&bench, &format!(",{},r01u07,base,\n", m.mac));
    let ((id, code), (second, second_code)) = (m.enroll(&bench.app), other.enroll(&bench.app));
    let asked = |id| bench.app.status_of(id).unwrap().tell_code;
    assert!(asked(id) && !asked(second), "only the planned one");
    assert!(why(tell(&bench, &other, second, &second_code)).contains("not requested"));
    assert!(why(tell(&bench, &other, id, &code)).contains("not signed"), "by another machine");
    assert!(why(tell(&bench, &m, id, "99-000-000")).contains("another enrollment"));
    assert!(why(seed(&bench).click(&admin(), id)).contains("has not sent its code"));
    assert_eq!(tell(&bench, &m, id, &code).unwrap(), S::Pending);
    assert!(!asked(id), "once");
    assert!(seed(&bench).plan().unwrap().check.rows[0].suggestion.as_ref().unwrap().click);
    assert!(why(seed(&bench).click(&admin(), second)).contains("does not name"));
    assert_eq!(seed(&bench).click(&admin(), id).unwrap().state, S::Confirming);
    assert_eq!(m.confirm(&bench.app, id).unwrap(), S::Approved);
    assert!(why(seed(&bench).click(&admin(), id)).contains("not Pending"));
}

#[test]
fn without_the_policy_nobody_is_asked_for_a_code_and_no_click_counts() {
    let bench = with("");
    let m = Machine::new(1);
    keep(&bench, &format!(",{},r01u07,base,\n", m.mac));
    let (id, code) = m.enroll(&bench.app);
    assert!(!bench.app.status_of(id).unwrap().tell_code);
    assert!(tell(&bench, &m, id, &code).is_err());
    assert!(why(seed(&bench).click(&admin(), id)).contains("by their codes"));
}

fn hello(bench: &Bench, m: &Machine) -> Result<EnrollmentId, ApiError> {
    let hello = Hello { protocol: PROTOCOL, boot_mac: Some(m.mac), token: None };
    bench.app.say_hello(ip(), &hello).map(|r| r.enrollment)
}

#[test]
fn outside_of_a_window_unknown_machines_are_seen_and_planned_ones_and_nodes_may_ask() {
    let bench = with("    window: manual\n");
    let seed = seed(&bench);
    let (stranger, planned, node) = (Machine::new(1), Machine::new(2), Machine::new(3));
    assert!(!seed.plan().unwrap().window.open);
    assert!(matches!(hello(&bench, &stranger), Err(ApiError::Unavailable { .. })));
    let seen = bench.app.store.read(|tx| tx.machine_by_mac(stranger.mac)).unwrap().unwrap();
    assert!(bench.app.store.read(|tx| tx.enrollments_of(seen.id)).unwrap().is_empty(), "seen, and no more");
    keep(&bench, &format!(",{},r01u07,base,\n", planned.mac));
    assert!(hello(&bench, &planned).is_ok());
    assert!(seed.set_window(&admin(), Some(3_600)).unwrap().open);
    let (id, code) = node.enroll(&bench.app);
    node.approve(&bench.app, id, &form(&code, "n3")).unwrap();
    assert!(hello(&bench, &stranger).is_ok());
    assert!(!seed.set_window(&admin(), None).unwrap().open);
    assert!(hello(&bench, &stranger).is_err() && hello(&bench, &node).is_ok(), "a node that is installed again");
    let always = with("");
    assert!(why(Seed(always.app.clone()).set_window(&admin(), Some(60))).contains("always open"));
}

#[test]
fn a_denied_machine_is_told_so_and_stays_out_until_it_is_allowed() {
    let bench = with("");
    let seed = seed(&bench);
    let m = Machine::new(1);
    let (id, _) = m.enroll(&bench.app);
    let view = seed.deny(&admin(), id, "not ours").unwrap();
    assert_eq!((view.state, view.trouble.map(|t| (t.word, t.retryable))), (S::Denied, Some((Trouble::Denied, false))));
    let told = why(hello(&bench, &m));
    assert_eq!(told, "an operator denied this machine: not ours");
    let verdicts = seed.plan().unwrap().verdicts;
    assert!(verdicts.len() == 1 && verdicts[0].denied && verdicts[0].mac == m.mac && verdicts[0].by == "ada");
    let machine = verdicts[0].machine.unwrap();
    assert!(seed.machine(machine).unwrap().row.verdict.unwrap().denied);
    // With the key that was denied, under another address.
    let disguised = Machine { mac: Machine::new(7).mac, ..Machine::new(1) };
    let reply = bench.app.say_hello(ip(), &Hello { protocol: PROTOCOL, boot_mac: Some(disguised.mac), token: None }).unwrap();
    let random = cluster_seed::ids::Digest([3; 32]).0;
    let (_, reveal, _) =
        crate::support::paired::Paired::start(&reply, &m.key, &m.age.recipient(), &disguised.facts(), random).unwrap();
    assert!(bench.app.take_reveal(ip(), reply.enrollment, &reveal).is_err());
    seed.say_of(&admin(), machine, Say::Allow).unwrap();
    assert!(seed.say_of(&admin(), machine, Say::Allow).is_err(), "nothing to allow");
    assert!(hello(&bench, &m).is_ok() && seed.plan().unwrap().verdicts.is_empty());
}

#[test]
fn denying_who_claims_a_nodes_address_does_not_lock_the_node_out() {
    let bench = with("");
    let m = Machine::new(1);
    let (id, code) = m.enroll(&bench.app);
    m.approve(&bench.app, id, &form(&code, "n1")).unwrap();
    let impostor = Machine { mac: m.mac, ..Machine::new(2) };
    let (second, _) = impostor.enroll(&bench.app);
    seed(&bench).deny(&admin(), second, "").unwrap();
    assert!(hello(&bench, &m).is_ok());
}

#[test]
fn a_machine_that_is_set_aside_waits_and_is_approved_when_somebody_types_its_code() {
    let bench = with("");
    let seed = seed(&bench);
    let m = Machine::new(1);
    let (id, code) = m.enroll(&bench.app);
    let machine = bench.app.store.read(|tx| tx.enrollment(id)).unwrap().machine;
    seed.say_of(&admin(), machine, Say::NotNow { seconds: 3_600 }).unwrap();
    let row = seed.machines().unwrap().into_iter().find(|r| r.id == machine).unwrap();
    assert!(row.verdict.is_some_and(|v| !v.denied && v.until.is_some()));
    assert_eq!(state(&bench, id), S::Pending);
    m.approve(&bench.app, id, &form(&code, "n1")).unwrap();
    assert!(seed.plan().unwrap().verdicts.is_empty(), "approved: nothing is left of it");
    assert!(seed.say_of(&admin(), machine, Say::NotNow { seconds: 60 }).is_err(), "a node");
}

#[test]
fn the_cause_of_a_failed_installation_is_kept_and_says_whether_waiting_helps() {
    use cluster_seed::agent::ReportBody;
    let bench = with("");
    let m = Machine::new(1);
    let (id, code) = m.enroll(&bench.app);
    m.approve(&bench.app, id, &form(&code, "n1")).unwrap();
    m.claim(&bench.app, id, 1).unwrap();
    let failed = |cause| ReportBody::Failed { step: "disk".into(), why: "it is too small".into(), cause };
    m.report(&bench.app, id, 1, failed(Some(Trouble::DiskTooSmall))).unwrap();
    let view = bench.app.view_of(id).unwrap();
    let trouble = view.trouble.unwrap();
    assert_eq!((view.state, trouble.word, trouble.retryable), (S::Failed, Trouble::DiskTooSmall, false));
    assert!(trouble.hint.contains("larger disk"));
}

#[test]
fn a_machine_that_was_set_aside_is_not_counted_as_waiting_but_apart() {
    use cluster_seed::fleet::Stage;
    use web::api::MachinesApi as _;
    let bench = with("");
    let seed = seed(&bench);
    let all = [Machine::new(1), Machine::new(2), Machine::new(3)];
    keep(&bench, &format!(",{},r01u07,base,\n", all[0].mac));
    let ids: Vec<i64> = all
        .iter()
        .map(|m| {
            let (id, _) = m.enroll(&bench.app);
            bench.app.store.read(|tx| tx.enrollment(id)).unwrap().machine
        })
        .collect();
    let counts = || {
        let (home, overview, check) = (seed.home(&admin()).unwrap(), seed.overview().unwrap(), seed.plan().unwrap().check);
        let waiting = home.counts.get(&Stage::Waiting).copied();
        let planned = check.rows.iter().filter(|r| r.state == RowState::Waiting && !r.aside).count();
        let others = check.unplanned.iter().filter(|u| !u.aside).count();
        assert_eq!((overview.waiting, overview.aside), (waiting.unwrap(), home.aside));
        (waiting, home.aside, planned, others, seed.candidates(&[]).unwrap().len(), home.oldest.map(|o| o.id))
    };
    assert_eq!(counts(), (Some(3), 0, 1, 2, 3, Some(ids[0])));
    for id in [ids[0], ids[1]] {
        seed.say_of(&admin(), id, Say::NotNow { seconds: 3_600 }).unwrap();
    }
    assert_eq!(counts(), (Some(1), 2, 0, 1, 1, Some(ids[2])));
    seed.say_of(&admin(), ids[0], Say::Allow).unwrap();
    assert_eq!(counts(), (Some(2), 1, 1, 1, 2, Some(ids[0])));
}
