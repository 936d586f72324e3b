use std::collections::BTreeMap;

use cluster_seed::arch::Arch;
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::fleet::Label;
use cluster_seed::machine::{Firmware, HardwareFacts};
use rusqlite::StatementStatus;

use super::super::Store;
use super::super::machines::MAX_MACHINES;
use super::*;

/// A machine with an enrollment in this state, which is a node if the state is one of a member.
fn add(tx: &Tx<'_>, n: i64, state: Option<EnrollmentState>) {
    let facts = HardwareFacts {
        vendor: "Dell Inc.".into(),
        product: "PowerEdge R650".into(),
        serial: format!("SN{n:05}"),
        uuid: String::new(),
        firmware: Firmware::Bios,
        firmware_date: String::new(),
        cpu: String::new(),
        cpus: 1,
        memory_mib: 1024,
        disks: Vec::new(),
        disks_left_out: 0,
        root_disk: None,
        nics: Vec::new(),
        boot_mac: None,
        kernel: String::new(),
        arch: Arch::default(),
    };
    let facts = serde_json::to_string(&facts).unwrap();
    let (mac, ip) = (format!("52:54:00:00:{:02x}:{:02x}", n >> 8, n & 255), format!("10.44.{}.{}", n >> 8, n & 255));
    let sql = "INSERT INTO machine (id, mac, ip, first_seen, last_seen, facts) VALUES (?1, ?2, ?3, 1, ?4, ?5)";
    tx.tx.prepare_cached(sql).unwrap().execute(params![n, mac, ip, n, facts]).unwrap();
    let Some(state) = state else { return };
    let hex = |kind: u8, len: usize| format!("{kind:02x}{n:0width$x}", width = len * 2 - 2);
    let sql = "INSERT INTO enrollment (id, machine, state, ip, facts, reason, created, since, touched)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?7)";
    let reason = (state == EnrollmentState::Failed).then_some(if n % 4 == 1 { "no disk" } else { "disk too small" });
    let row = params![hex(1, 16), n, state.as_str(), ip, facts, reason, 1000 + n];
    tx.tx.prepare_cached(sql).unwrap().execute(row).unwrap();
    if state.is_member() {
        let sql =
            "INSERT INTO node (id, enrollment, hostname, role, host, artifact, vault) VALUES (?1, ?2, ?3, ?4, ?5, ?6, x'00')";
        let role = if n % 2 == 0 { "lb" } else { "core" };
        let row = params![hex(2, 16), hex(1, 16), format!("n{n}.lab.lan"), role, n + 1, hex(3, 32)];
        tx.tx.prepare_cached(sql).unwrap().execute(row).unwrap();
        let sql = "INSERT INTO node_plane (node, plane, address, public) VALUES (?1, 'wg1', ?2, ?1)";
        tx.tx.prepare_cached(sql).unwrap().execute(params![hex(2, 16), format!("10.78.{}.{}", n >> 8, n & 255)]).unwrap();
    }
}

fn node_of(n: i64) -> cluster_seed::ids::NodeId {
    format!("02{n:030x}").parse().unwrap()
}

/// One machine of every state; machine 1 has no enrollment.
fn one_of_each() -> (Store, BTreeMap<i64, Option<EnrollmentState>>) {
    let store = Store::in_memory().unwrap();
    let states = std::iter::once(None).chain(EnrollmentState::ALL.iter().copied().map(Some));
    let all: BTreeMap<i64, _> = (1..).zip(states).collect();
    let done: Result<(), StoreError> = store.write(|tx| {
        all.iter().for_each(|(n, state)| add(tx, *n, *state));
        Ok(())
    });
    done.unwrap();
    (store, all)
}

fn ids(store: &Store, text: &str, stage: &str, sort: &str) -> Vec<i64> {
    let page = store.read(|tx| tx.fleet_page(&Query::read(text, stage, sort, ""))).unwrap();
    assert_eq!(page.total as usize, page.rows.len(), "{text} {stage}");
    page.rows.iter().map(|r| r.machine).collect()
}

#[test]
fn the_database_and_the_program_mean_the_same_stages() {
    let (store, all) = one_of_each();
    let done: Result<(), StoreError> = store.write(|tx| {
        for silent in [false, true] {
            for (n, state) in &all {
                let row = tx.fleet_of(&[*n])?.remove(0);
                assert_eq!((row.stage, row.state), (Stage::of(*state, silent), *state), "{state:?} {silent}");
                assert_eq!(row.member, state.is_some_and(EnrollmentState::is_member));
                if row.member {
                    tx.set_silent(node_of(*n), 1, 1)?;
                }
            }
        }
        let silent = tx.count_silent()?;
        assert_eq!(silent, 2, "FabricReady and Converged");
        tx.prune_silence()?;
        assert_eq!(tx.count_silent()?, silent);
        for n in all.keys() {
            tx.end_silence(node_of(*n))?;
        }
        assert_eq!(tx.count_silent()?, 0);
        Ok(())
    });
    done.unwrap();
}

#[test]
fn searches_find_what_they_say() {
    let (store, all) = one_of_each();
    let done: Result<(), StoreError> = store.write(|tx| {
        tx.set_place(3, "Hall 2, rack 7")?;
        tx.set_labels(3, &Label::list("rack=r7, \u{fc}ber <b>").unwrap(), &[])?;
        Ok(())
    });
    done.unwrap();
    let of = |state: EnrollmentState| all.iter().find(|(_, s)| **s == Some(state)).map(|(n, _)| *n).unwrap();
    let (pending, converged) = (of(EnrollmentState::Pending), of(EnrollmentState::Converged));
    assert_eq!(pending, 3);
    for (text, stage, found) in [
        ("serial:sn00003", "", vec![3]),
        ("SN00003", "", vec![3]),
        ("r650 rack", "", vec![3]),
        ("model:r650 name:n10", "", vec![10]),
        ("mac:52-54-00-00-00-03", "", vec![3]),
        ("ip:10.44.0.3", "", vec![3]),
        ("ip:10.78.0.10", "", vec![10]),
        ("ip:44.0.3", "", vec![]),
        ("label:rack=r7", "", vec![3]),
        ("label:rack", "", vec![]),
        ("label:\"\u{fc}ber <b>\"", "", vec![3]),
        ("place:\"hall 2\"", "", vec![3]),
        ("state:pending", "", vec![3]),
        ("state:waiting", "waiting", vec![3]),
        ("state:pending", "working", vec![]),
        ("", "working", vec![converged]),
        ("' OR 1=1 --", "", vec![]),
        ("\"' OR 1=1 --\"", "", vec![]),
        ("%", "", vec![]),
        ("_", "", vec![]),
    ] {
        assert_eq!(ids(&store, text, stage, ""), found, "{text} {stage}");
    }
    assert_eq!(ids(&store, "", "", "").len(), all.len());
    assert_eq!(ids(&store, "role:lb", "", "address"), [6, 8, 10]);
    assert_eq!(ids(&store, "role:lb", "", "-address"), [10, 8, 6]);
    assert_eq!(ids(&store, "", "", "").first(), Some(&pending), "what waits comes first");
    let counts = store.read(|tx| tx.fleet_counts(&[])).unwrap();
    assert_eq!(counts.iter().map(|(_, n)| *n as usize).sum::<usize>(), all.len());
}

#[test]
fn the_list_follows_every_change() {
    let store = Store::in_memory().unwrap();
    let row = |tx: &Tx<'_>, n: i64| tx.fleet_of(&[n]).unwrap().pop();
    let done: Result<(), StoreError> = store.write(|tx| {
        add(tx, 1, Some(EnrollmentState::Pending));
        add(tx, 2, Some(EnrollmentState::Converged));
        assert_eq!(row(tx, 1).unwrap().title, "SN00001");
        tx.touch_machines(&[(1, 500), (2, 5000)])?;
        assert_eq!((row(tx, 1).unwrap().heard, row(tx, 2).unwrap().heard), (500, 1002), "a node is heard by its own messages");
        let held = super::super::held::HeldRecord { epoch: 1, version: 1, seq: 1, at: 7000 };
        tx.set_held(node_of(2), &held)?;
        assert_eq!(row(tx, 2).unwrap().heard, 7000);
        // A stranger under the node's MAC address changes nothing.
        let number = tx.take_number()?.unwrap();
        let (ip, other) = ("10.44.9.9".parse().unwrap(), EnrollmentId([9; 16]));
        tx.insert_enrollment(other, 2, number, ip, 9000)?;
        let node = row(tx, 2).unwrap();
        assert_eq!((node.stage, node.heard, node.ip), (Stage::Working, 7000, Some("10.44.0.2".parse().unwrap())));
        let beats = tx.beats()?;
        assert_eq!((beats.len(), beats[0].machine, beats[0].mark, beats[0].heard), (1, 2, 1, 7000));
        tx.revoke_node(node_of(2), 9001)?;
        let record = tx.member_of(2)?.unwrap();
        tx.advance(&record, cluster_seed::enrollment::EnrollmentEvent::Revoked, Some("stolen"), 9001)?;
        assert!(tx.beats()?.is_empty());
        assert_eq!(row(tx, 2).unwrap().enrollment, Some(other), "the newest of what is left");
        tx.forget_machine(2, 9002)?;
        assert_eq!(row(tx, 2), None);
        tx.see_machine("52:54:00:00:00:02".parse().unwrap(), None, 9003)?;
        assert_eq!(row(tx, 2).unwrap().stage, Stage::Ended);
        tx.forget_machine(1, 9002)?;
        assert_eq!(row(tx, 1), None);
        Ok(())
    });
    done.unwrap();
    // Built again, it is the same.
    let rows = |store: &Store| store.read(|tx| tx.fleet_page(&Query::default())).unwrap().rows;
    let kept = rows(&store);
    {
        let mut connection = store.lock();
        super::super::derived::remove(&connection).unwrap();
        super::super::derived::ensure(&mut connection).unwrap();
    }
    assert_eq!(rows(&store), kept);
}

/// 10,000 machines: a page reads its own rows, and a search compares each row once.
#[test]
fn a_page_of_many_machines_reads_few_rows() {
    let store = Store::in_memory().unwrap();
    let states = [None, Some(EnrollmentState::Pending), Some(EnrollmentState::Converged), Some(EnrollmentState::Failed)];
    let done: Result<(), StoreError> = store.write(|tx| {
        (1..=MAX_MACHINES).for_each(|n| add(tx, n, states[n as usize % states.len()]));
        Ok(())
    });
    done.unwrap();
    let steps = |query: &Query| {
        store.read(|tx| {
            let (sql, values) = page_of(query);
            let mut q = tx.tx.prepare(&sql).unwrap();
            let rows = q.query(params_from_iter(values)).unwrap().mapped(|r| r.get::<_, i64>(0)).count();
            let of = |status| q.get_status(status);
            Ok::<_, StoreError>((rows, of(StatementStatus::VmStep), of(StatementStatus::FullscanStep), of(StatementStatus::Sort)))
        })
    };
    // Some twenty steps for each row shown.
    for (stage, sort) in [("", ""), ("waiting", "name"), ("", "name"), ("", "-heard"), ("", "-state")] {
        let (rows, vm, _, sorts) = steps(&Query::read("", stage, sort, "")).unwrap();
        assert_eq!((rows, sorts), (PAGE as usize, 0), "{stage} {sort}");
        assert!(vm < 3000, "{stage} {sort}: {vm} steps");
    }
    let (rows, vm, _, _) = steps(&Query::read("sn00", "", "model", "")).unwrap();
    assert_eq!(rows, PAGE as usize);
    assert!(vm < 60 * MAX_MACHINES as i32, "{vm} steps");
    let page = store.read(|tx| tx.fleet_page(&Query::read("", "", "", "200"))).unwrap();
    assert_eq!((page.rows.len(), page.total, page.counts.len()), (PAGE as usize, MAX_MACHINES as u32, 4));
    let past = store.read(|tx| tx.fleet_page(&Query::read("", "", "", "999999"))).unwrap();
    assert!(past.rows.is_empty());
    let failures = store.read(|tx| tx.fleet_failures()).unwrap();
    assert_eq!(failures, [("disk too small".to_owned(), 2500)]);
    let oldest = store.read(|tx| tx.fleet_oldest(Stage::Waiting, 1)).unwrap();
    assert_eq!((oldest.len(), oldest[0].1), (1, 1001));
}

#[test]
fn numbers_that_a_node_chooses_do_not_hide_the_others() {
    let store = Store::in_memory().unwrap();
    let done: Result<(), StoreError> = store.write(|tx| {
        for n in 1..=2 {
            add(tx, n, Some(EnrollmentState::Converged));
            let seq = if n == 1 { i64::MAX as u64 } else { 7 };
            tx.set_held(node_of(n), &super::super::held::HeldRecord { epoch: 1, version: 1, seq, at: 7000 })?;
        }
        tx.tx.execute("UPDATE node SET converge_seq = held_seq", [])?;
        assert_eq!(tx.beats()?.len(), 2);
        Ok(())
    });
    done.unwrap();
}
