//! Tests of the counters in user space.

use super::*;
use crate::names::tests::{names, peers};

struct World {
    names: Names,
    units: Units,
    reasons: Reasons,
    allowed: Allowed,
}

impl World {
    fn new() -> Self {
        let mut list = peers();
        list.planes.insert("wg3".to_owned(), list.planes["wg2"].clone());
        World {
            names: names(),
            units: Units::new("/nowhere".into()),
            reasons: Reasons::default(),
            allowed: Allowed::defaults(&list, 8080),
        }
    }

    fn context(&self) -> Context<'_> {
        Context { names: &self.names, units: &self.units, reasons: &self.reasons, allowed: &self.allowed }
    }
}

/// Of the interface 6, wg2.
fn flow(node: u32, port: u16, direction: u8, role: u8) -> FlowBytes {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&6u32.to_ne_bytes());
    bytes[4..8].copy_from_slice(&node.to_ne_bytes());
    bytes[8..10].copy_from_slice(&port.to_ne_bytes());
    bytes[10..13].copy_from_slice(&[TCP, direction, role]);
    bytes
}

fn conn(cgroup: u64, port: u16) -> ConnBytes {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&cgroup.to_ne_bytes());
    bytes[8..12].copy_from_slice(&2u32.to_ne_bytes());
    bytes[16..18].copy_from_slice(&port.to_ne_bytes());
    bytes[18] = 1;
    bytes
}

fn flows(rows: Vec<(FlowBytes, [u64; 5], u64)>) -> Raw {
    Raw { flows: rows, ..Raw::default() }
}

fn packets(sums: &Sums) -> u64 {
    sums.flows.rows().map(|(_, n)| n[0]).sum()
}

#[test]
fn counters_become_rows_of_the_minute_and_sums() {
    let (world, mut book) = (World::new(), Book::default());
    let raw = |n| flows(vec![(flow(2, 9100, 1, 1), [n, n * 100, n * 60, 0, 0], 0)]);
    book.take(&raw(5), &world.context(), 1_000_000, 0);
    book.take(&raw(7), &world.context(), 1_000_019, 19);
    book.take(&raw(9), &world.context(), 1_000_020, 20);
    assert_eq!(book.minutes.iter().map(|m| (m.at, packets(&m.sums))).collect::<Vec<_>>(), [(999_960, 7), (1_000_020, 2)]);
    let (row, sums) = book.totals.flows.rows().next().unwrap();
    assert_eq!(sums, &[9, 900, 540, 0, 0]);
    // The list is sorted by name, and this node is 1.
    assert_eq!((&*row.plane, &*row.peer, row.port, row.role), ("wg2", "n2", 9100, Role::Server));
    assert!(book.violations.is_empty());
}

#[test]
fn the_ring_has_the_last_hour() {
    let (world, mut book) = (World::new(), Book::default());
    for minute in 0..100u64 {
        book.take(
            &flows(vec![(flow(2, 9100, 1, 1), [minute + 1, 0, 0, 0, 0], 0)]),
            &world.context(),
            6000 + minute * 60,
            minute * 60,
        );
    }
    assert_eq!(book.minutes.len(), MINUTES);
    assert_eq!(book.minutes.front().unwrap().at, 6000 + 40 * 60);
    assert_eq!(packets(&book.totals), 100);
    // The clock was set back: minutes of the future are dropped, and counting goes on.
    book.take(&flows(vec![(flow(2, 9100, 1, 1), [101, 0, 0, 0, 0], 0)]), &world.context(), 6000, 6001);
    assert_eq!(book.minutes.iter().map(|m| m.at).collect::<Vec<_>>(), [6000]);
}

#[test]
fn a_service_on_the_wrong_plane_is_a_violation_once_it_carries_payload() {
    let (world, mut book) = (World::new(), Book::default());
    let raw = |payload| flows(vec![(flow(2, 10_250, 0, 1), [payload + 1, 60, payload, 0, 0], 0)]);
    book.take(&raw(0), &world.context(), 6000, 0);
    assert!(book.violations.is_empty(), "an attempt that was refused");
    book.take(&raw(10), &world.context(), 6010, 10);
    book.take(&raw(30), &world.context(), 6020, 20);
    let (what, seen) = book.violations.iter().next().unwrap();
    assert_eq!((&*what.plane, &*what.peer, what.port, what.role), ("wg2", "n2", 10_250, Role::Server));
    assert_eq!(*seen, Occurred { first: 6010, last: 6020, payload: 30 });
    for (now, left) in [(6020 + FORGET_VIOLATION - 1, 1), (6020 + FORGET_VIOLATION, 0)] {
        book.take(&raw(30), &world.context(), now, now);
        assert_eq!(book.violations.len(), left);
    }
}

#[test]
fn violations_have_a_limit() {
    let (world, mut book) = (World::new(), Book::default());
    let first = 20_000;
    let one = |port| (flow(2, port, 0, 1), [1, 100, 50, 0, 0], 0);
    for (n, lost) in [(MAX_VIOLATIONS - 1, 0), (MAX_VIOLATIONS, 0), (MAX_VIOLATIONS + 1, 1)] {
        let rows = (first..first + n as u16).map(one).collect();
        book.take(&flows(rows), &world.context(), 6000, 0);
        assert_eq!((book.violations.len(), book.violations_lost), (n.min(MAX_VIOLATIONS), lost));
    }
}

#[test]
fn rows_are_bounded_and_nothing_is_lost() {
    let (world, mut book) = (World::new(), Book::default());
    for n in [MAX_MINUTE_ROWS, MAX_MINUTE_ROWS + 1, MAX_ROWS, MAX_ROWS + 1, MAX_ROWS + 500] {
        let rows = (0..n as u16).map(|port| (flow(2, port + 1, 1, 1), [n as u64, 0, 0, 0, 0], 0)).collect();
        book.take(&flows(rows), &world.context(), 6000, 0);
        let minute = &book.minutes.back().unwrap().sums;
        let bounded = |limit: usize| if n <= limit { n } else { limit + 1 };
        assert_eq!((minute.flows.len(), book.totals.flows.len()), (bounded(MAX_MINUTE_ROWS), bounded(MAX_ROWS)));
        assert_eq!((packets(minute), packets(&book.totals)), ((n * n) as u64, (n * n) as u64));
    }
    let other = book.totals.flows.rows().find(|(row, _)| &*row.peer == OTHER_NAME).unwrap();
    assert_eq!((other.0.port, &*other.0.plane, &*other.0.unit), (0, "wg2", "other"));
}

#[test]
fn what_is_received_belongs_to_the_unit_that_answers() {
    let dir = tempfile::tempdir().unwrap();
    let root = camino::Utf8Path::from_path(dir.path()).unwrap();
    std::fs::create_dir_all(root.join("system.slice/etcd.service")).unwrap();
    let id = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(root.join("system.slice/etcd.service")).unwrap());
    let mut world = World::new();
    world.units = Units::new(root);
    world.units.learn([id], 0);
    let mut book = Book::default();
    let mut raw = flows(vec![
        (flow(2, 2379, 0, 1), [1, 1, 1, 0, 0], 0),
        (flow(2, 2379, 1, 1), [1, 1, 1, 0, 0], id),
        (flow(3, 2379, 0, 1), [1, 1, 1, 0, 0], 0),
    ]);
    raw.conns = vec![(conn(id, 2379), [3, 0, 1, 900, 2])];
    book.take(&raw, &world.context(), 6000, 0);
    let units: Vec<_> = book.totals.flows.rows().map(|(row, _)| (row.peer.to_string(), row.unit.to_string())).collect();
    let pair = |peer: &str, unit: &str| (peer.to_owned(), unit.to_owned());
    assert_eq!(units, [pair("n2", "etcd.service"), pair("n2", "etcd.service"), pair("seed", "")]);
    let (row, sums) = book.totals.conns.rows().next().unwrap();
    assert_eq!((&*row.unit, row.port, sums), ("etcd.service", 2379, &[3, 0, 1, 900, 2]));
}

#[test]
fn drops_have_a_reason_and_an_interface_that_was_watched() {
    let (world, mut book) = (World::new(), Book::default());
    let mut drop = [0; 16];
    drop[..4].copy_from_slice(&6u32.to_ne_bytes());
    drop[8..12].copy_from_slice(&7u32.to_ne_bytes());
    drop[12..14].copy_from_slice(&9999u16.to_ne_bytes());
    drop[14] = UDP;
    let mut elsewhere = drop;
    elsewhere[0] = 99;
    book.take(&Raw { drops: vec![(drop, [2, 80]), (elsewhere, [1, 40])], ..Raw::default() }, &world.context(), 6000, 0);
    let rows: Vec<_> = book.totals.drops.rows().collect();
    assert_eq!(rows.len(), 1);
    assert_eq!((&*rows[0].0.reason, &*rows[0].0.plane, rows[0].0.port, rows[0].1), ("reason 7", "wg2", 9999, &[2, 80]));
}

#[test]
fn entries_that_do_not_change_are_removed_from_the_kernel() {
    let (world, mut book) = (World::new(), Book::default());
    let rows = |n| flows(vec![(flow(2, 22, 1, 1), [n, 0, 0, 0, 0], 0), (flow(2, 23, 1, 1), [1, 0, 0, 0, 0], 0)]);
    book.take(&rows(1), &world.context(), 6000, 0);
    book.take(&rows(2), &world.context(), 6000, 100);
    assert_eq!(book.idle(IDLE - 1), Idle::default());
    assert_eq!(book.idle(IDLE), Idle { flows: vec![flow(2, 23, 1, 1)], ..Idle::default() });
}
