//! Searches of the log, and how much they read.

use cluster_seed::events::EventKind;

use super::super::Store;
use super::super::events::NewEvent;
use super::*;

/// `count` events: every tenth is a login by ada, the others are packets of machine 7 and some more.
fn filled(count: u64) -> Store {
    let store = Store::in_memory().unwrap();
    let done: Result<(), StoreError> = store.write(|tx| {
        for n in 1..=count {
            let event = match n % 10 {
                0 => NewEvent { actor: Some("ada"), ..NewEvent::new(EventKind::Login, "Logged in from 10.0.0.9") },
                1 => NewEvent { machine: Some(7), ..NewEvent::new(EventKind::DhcpAck, "ack") },
                _ => NewEvent { machine: Some(8), ..NewEvent::new(EventKind::DhcpDiscover, "discover") },
            };
            tx.event(n * 1000, &event)?;
        }
        Ok(())
    });
    done.unwrap();
    store
}

fn page(store: &Store, filter: &AuditFilter, before: Option<i64>, limit: u32) -> AuditRows<EventRow> {
    store.read(|tx| tx.audit_page(filter, before, limit)).unwrap()
}

fn ids(found: &AuditRows<EventRow>) -> Vec<i64> {
    found.rows.iter().map(|r| r.id).collect()
}

#[test]
fn pages_follow_each_other_without_gap_or_repetition() {
    let store = filled(25);
    let all = AuditFilter::default();
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let found = page(&store, &all, before, 10);
        seen.extend(ids(&found));
        before = found.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=25).rev().collect::<Vec<i64>>());
    let exact = page(&store, &all, None, 25);
    assert_eq!((exact.rows.len(), exact.next), (25, None), "no empty page follows");
}

#[test]
fn every_filter_fits_alone_and_with_others() {
    let store = filled(40);
    let of = |filter: AuditFilter| ids(&page(&store, &filter, None, 50));
    let word = |w: &str| Some(w.to_owned());
    assert_eq!(of(AuditFilter { kind: word("login"), ..Default::default() }), [40, 30, 20, 10]);
    assert_eq!(of(AuditFilter { kind: word("dhcp.ack"), ..Default::default() }), [31, 21, 11, 1]);
    assert_eq!(of(AuditFilter { kind: word("dhcp"), ..Default::default() }).len(), 36);
    assert!(of(AuditFilter { kind: word("dhc"), ..Default::default() }).is_empty(), "half a word is not a family");
    assert_eq!(of(AuditFilter { actor: word("ada"), ..Default::default() }), [40, 30, 20, 10]);
    assert_eq!(of(AuditFilter { machine: Some(7), ..Default::default() }), [31, 21, 11, 1]);
    let words = vec!["10.0.0.9".to_owned(), "logged".to_owned()];
    assert_eq!(of(AuditFilter { words, ..Default::default() }), [40, 30, 20, 10]);
    assert_eq!(of(AuditFilter { since: Some(39_000), ..Default::default() }), [40, 39]);
    assert_eq!(of(AuditFilter { until: Some(2_000), ..Default::default() }), [2, 1]);
    let both = AuditFilter { kind: word("login"), since: Some(15_000), until: Some(35_000), ..Default::default() };
    assert_eq!(of(both), [30, 20]);
    assert!(of(AuditFilter { machine: Some(7), kind: word("login"), ..Default::default() }).is_empty());
}

/// The clock was set back: numbers go up while times go down.
#[test]
fn a_time_is_found_whatever_the_clock_did() {
    let store = Store::in_memory().unwrap();
    for at in [100, 200, 50, 60, 300] {
        store.write(|tx| tx.event(at, &NewEvent::new(EventKind::SeedStarted, "t"))).unwrap();
    }
    let of = |since, until| ids(&page(&store, &AuditFilter { since, until, ..Default::default() }, None, 9));
    assert_eq!(of(Some(55), Some(150)), [4, 1]);
    assert_eq!(of(None, Some(60)), [4, 3]);
    assert_eq!(of(Some(301), None), [0; 0]);
}

/// By rows and not by time, which differs from machine to machine.
#[test]
fn a_page_of_a_long_log_reads_few_rows() {
    let store = filled(60_000);
    let word = |w: &str| Some(w.to_owned());
    for (name, filter) in [
        ("all", AuditFilter::default()),
        ("kind", AuditFilter { kind: word("dhcp.ack"), ..Default::default() }),
        ("family", AuditFilter { kind: word("login"), ..Default::default() }),
        ("actor", AuditFilter { actor: word("ada"), ..Default::default() }),
        ("machine", AuditFilter { machine: Some(7), ..Default::default() }),
        ("until", AuditFilter { until: Some(9_000_000), ..Default::default() }),
    ] {
        let newest = page(&store, &filter, None, 50);
        assert_eq!((newest.rows.len(), newest.read), (50, 50), "{name}");
        let deep = page(&store, &filter, Some(600), 50);
        assert_eq!(deep.read, 50, "{name}, deep in the log");
    }
    let nobody = AuditFilter { actor: word("eve"), ..Default::default() };
    assert_eq!(page(&store, &nobody, None, 50).read, 0);
}

/// What is counted above is what SQLite reads: it walks along one index or the table, from the number on, and sorts nothing.
#[test]
fn no_search_scans_or_sorts() {
    let store = Store::in_memory().unwrap();
    let word = |w: &str| Some(w.to_owned());
    for (filter, uses) in [
        (AuditFilter::default(), "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (AuditFilter { kind: word("dhcp.ack"), ..Default::default() }, "USING INDEX event_kind (kind=? AND id>? AND id<?)"),
        (AuditFilter { kind: word("dhcp"), ..Default::default() }, "USING INDEX event_family (<expr>=? AND id>? AND id<?)"),
        (AuditFilter { actor: word("ada"), ..Default::default() }, "USING INDEX event_actor (actor=? AND id>? AND id<?)"),
        (AuditFilter { machine: Some(7), ..Default::default() }, "USING INDEX event_machine (machine=? AND id>? AND id<?)"),
    ] {
        for order in ["DESC", "ASC"] {
            let plan = store.read(|tx| {
                let (sql, value) = filter.statement(order);
                let mut q = tx.tx.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
                let lines = q.query_map(params![0, 9, value, 9], |r| r.get::<_, String>(3))?;
                Ok::<_, StoreError>(lines.collect::<Result<Vec<_>, _>>()?.join("\n"))
            });
            let plan = plan.unwrap();
            assert!(plan.contains(uses) && !plan.contains("B-TREE"), "{filter:?}: {plan}");
        }
    }
}

#[test]
fn a_search_that_finds_nothing_stops_and_goes_on_where_it_was() {
    let count = u64::from(MAX_READ) + 5;
    let store = filled(count);
    let filter = AuditFilter { words: vec!["no such word".to_owned()], ..Default::default() };
    let first = page(&store, &filter, None, 50);
    assert_eq!((first.rows.len(), first.read, first.next), (0, MAX_READ, Some(6)));
    let rest = page(&store, &filter, first.next, 50);
    assert_eq!((rest.read, rest.next), (5, None));
}

#[test]
fn an_export_has_every_row_once_and_its_hash() {
    let store = filled(25);
    let (mut after, mut rows) = (0, Vec::new());
    loop {
        let part = store.read(|tx| tx.audit_rows(&AuditFilter::default(), after, 10)).unwrap();
        rows.extend(part.rows);
        match part.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(rows, store.read(|tx| tx.chained_rows(0, 99)).unwrap());
}

#[test]
fn an_event_is_shown_between_its_neighbours() {
    let store = filled(3);
    let one = store.read(|tx| tx.audit_event(1)).unwrap();
    assert_eq!((one.previous, one.next, one.previous_hash.as_str()), (None, Some(2), ""));
    let two = store.read(|tx| tx.audit_event(2)).unwrap();
    assert_eq!((two.previous, two.next), (Some(1), Some(3)));
    assert_eq!(two.previous_hash, one.row.hash);
    assert!(matches!(store.read(|tx| tx.audit_event(4)), Err(StoreError::NotFound("event"))));
}

#[test]
fn a_chain_is_checked_in_parts() {
    let store = filled(25);
    let mut link = store.read(|tx| tx.first_link()).unwrap();
    let mut seen = Vec::new();
    loop {
        let part = store.read(|tx| tx.check_chain(&link, 10)).unwrap();
        assert_eq!(part.broken, None);
        if part.rows == 0 {
            break;
        }
        seen.push(part.rows);
        link = part.link;
    }
    assert_eq!((seen, link.event), (vec![10, 10, 5], 25));
}
