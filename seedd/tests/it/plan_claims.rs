//! Several machines that claim one row of the plan, and what the row says of the one that became its node.

use cluster_seed::enrollment::EnrollmentState as S;
use cluster_seed::fleet::Label;
use web::api::{CodeLeads, InventoryApi as _, MachinesApi as _, OperatorApi as _, PlanApi as _, PlanHow, RowState};

use crate::enrollment::{Machine, admin};
use crate::plan::{keep, seed, state, tell, why, with};

fn impostor_of(m: &Machine, n: u8) -> Machine {
    Machine { mac: m.mac, from: "10.44.0.66".parse().unwrap(), ..Machine::new(n) }
}

#[test]
fn a_second_claimant_of_a_planned_row_is_listed_as_a_conflict_and_a_click_approves_neither() {
    let bench = with("    policy: planned-click\n");
    let m = Machine::new(1);
    keep(&bench, &format!(",{},r01u07,base,\n", m.mac));
    let (first, code) = m.enroll(&bench.app);
    tell(&bench, &m, first, &code).unwrap();
    let row = || seed(&bench).plan().unwrap().check.rows.remove(0);
    assert!(row().state == RowState::Waiting && row().suggestion.unwrap().click);
    let impostor = impostor_of(&m, 2);
    let (second, second_code) = impostor.enroll(&bench.app);
    tell(&bench, &impostor, second, &second_code).unwrap();
    let conflict = row();
    assert_eq!((conflict.state, conflict.enrollment, conflict.machine), (RowState::Conflict, None, None));
    assert_eq!(conflict.claimants.iter().map(|c| c.enrollment).collect::<Vec<_>>(), [first, second]);
    for id in [first, second] {
        assert!(why(seed(&bench).click(&admin(), id)).contains("2 machines claim the planned name r01u07"));
        assert_eq!(state(&bench, id), S::Pending);
    }
    let machine = conflict.claimants[0].machine;
    let waiting = seed(&bench).machine(machine).unwrap().waiting;
    assert!(waiting.iter().all(|w| w.suggestion.as_ref().is_some_and(|s| s.rivals.len() == 1 && !s.click)), "{waiting:?}");
    let events = bench.app.store.read(|tx| tx.events_after(0, 99)).unwrap();
    let told: Vec<_> = events.iter().filter(|e| e.kind == "enrollment.conflict").collect();
    assert!(!told.is_empty() && told[0].text.contains("10.44.0.66") && told[0].text.contains("10.44.0.100"), "{told:?}");
}

#[test]
fn the_code_of_one_claimant_chooses_it_and_the_others_still_get_no_click() {
    let bench = with("    policy: planned-click\n");
    let m = Machine::new(1);
    keep(&bench, &format!(",{},r01u07,base,\n", m.mac));
    let (first, code) = m.enroll(&bench.app);
    let impostor = impostor_of(&m, 2);
    let (second, second_code) = impostor.enroll(&bench.app);
    tell(&bench, &impostor, second, &second_code).unwrap();
    assert!(matches!(seed(&bench).lead(&admin(), &code).unwrap(), CodeLeads::Approved(_)));
    assert_eq!(state(&bench, first), S::Confirming);
    assert!(why(seed(&bench).click(&admin(), second)).contains("claim the planned name"), "before the first one is a node");
    assert_eq!(m.confirm(&bench.app, first).unwrap(), S::Approved);
    assert!(seed(&bench).click(&admin(), second).is_err(), "the name is taken");
    assert_eq!(state(&bench, second), S::Pending);
}

#[test]
fn denying_the_others_chooses_the_one_that_is_left_and_a_click_approves_it() {
    let bench = with("    policy: planned-click\n");
    let m = Machine::new(1);
    keep(&bench, &format!(",{},r01u07,base,\n", m.mac));
    let (first, code) = m.enroll(&bench.app);
    tell(&bench, &m, first, &code).unwrap();
    let (second, _) = impostor_of(&m, 2).enroll(&bench.app);
    seed(&bench).deny(&admin(), second, "not the planned machine").unwrap();
    let plan = seed(&bench).plan().unwrap();
    assert!(plan.verdicts.is_empty(), "the address is that of the machine that still waits");
    assert_eq!((plan.check.rows[0].state, plan.check.rows[0].enrollment), (RowState::Waiting, Some(first)));
    assert_eq!(seed(&bench).click(&admin(), first).unwrap().state, S::Confirming);
}

#[test]
fn an_approved_planned_machine_has_the_place_and_labels_of_its_row() {
    let bench = with("");
    let m = Machine::new(1);
    let plan = format!("mac,name,role,place,labels\n{},r01u07,base,hall 2,rack=r1 gpu=a\n", m.mac);
    seed(&bench).keep_plan(&admin(), &plan, PlanHow::Set).unwrap();
    let (id, code) = m.enroll(&bench.app);
    let machine = bench.app.store.read(|tx| tx.enrollment(id)).unwrap().machine;
    seed(&bench).set_labels(&admin(), &[machine], &Label::list("rack=r9, mine").unwrap(), &[]).unwrap();
    assert!(matches!(seed(&bench).lead(&admin(), &code).unwrap(), CodeLeads::Approved(_)));
    assert_eq!(seed(&bench).machine(machine).unwrap().place, "", "nothing before the machine has proved its code");
    assert_eq!(m.confirm(&bench.app, id).unwrap(), S::Approved);
    let labels = ["gpu=a", "mine", "rack=r1"];
    let detail = seed(&bench).machine(machine).unwrap();
    assert_eq!((detail.place.as_str(), detail.labels.as_slice()), ("hall 2", &labels.map(str::to_owned)[..]));
    let row = seed(&bench).machines_of(&[machine]).unwrap().remove(0);
    assert_eq!((row.place.as_str(), row.labels.len()), ("hall 2", 3), "the machine's page");
    let node = seed(&bench).nodes(1).unwrap().rows.remove(0);
    assert_eq!((node.place.as_str(), node.labels), ("hall 2", labels.map(str::to_owned).to_vec()));
    let events = bench.app.store.read(|tx| tx.events_after(0, 99)).unwrap();
    assert!(events.iter().any(|e| e.kind == "machine.labelled" && e.text.starts_with("from the plan: place: hall 2; labels: ")));
}

#[test]
fn a_machine_approved_under_another_name_than_its_rows_takes_nothing_from_the_plan() {
    let bench = with("");
    let m = Machine::new(1);
    let plan = format!("mac,name,role,place\n{},r01u07,base,hall 2\n", m.mac);
    seed(&bench).keep_plan(&admin(), &plan, PlanHow::Set).unwrap();
    let (id, code) = m.enroll(&bench.app);
    m.approve(&bench.app, id, &crate::enrollment::form(&code, "other")).unwrap();
    assert_eq!(seed(&bench).nodes(1).unwrap().rows.remove(0).place, "");
}
