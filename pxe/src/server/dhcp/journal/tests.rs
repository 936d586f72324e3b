use cluster_seed::ids::Mac;

use super::*;

fn record(n: u8, expires_at: u64) -> LeaseRecord {
    LeaseRecord { mac: Mac([2, 0, 0, 0, 0, n]), ip: [10, 0, 0, n].into(), expires_at, hostname: None, client_id: None }
}

fn only_file(dir: &Path) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.into_iter().find(|f| fs::read(f).unwrap()[0] != 0).unwrap()
}

#[test]
fn records_are_read_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, found) = Journal::open(dir.path()).unwrap();
    assert!(found.is_empty() && journal.is_empty());
    let full = LeaseRecord { hostname: Some("a b".into()), client_id: Some(vec![0, 255]), ..record(1, 7) };
    journal.append(std::slice::from_ref(&full)).unwrap();
    journal.append(&[record(2, 8), record(1, 9)]).unwrap();
    drop(journal);
    let (journal, found) = Journal::open(dir.path()).unwrap();
    assert_eq!(found, [full, record(2, 8), record(1, 9)]);
    assert!(!journal.is_empty());
}

#[test]
fn a_file_cut_at_any_byte_loses_only_the_torn_line() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    journal.append(&[record(1, 7), record(2, 8), record(3, 9)]).unwrap();
    let mut whole = fs::read(only_file(dir.path())).unwrap();
    assert_eq!(whole.len() as u64, CAPACITY);
    whole.truncate(whole.iter().position(|b| *b == 0).unwrap() + 3);
    for cut in 0..=whole.len() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(path(dir.path(), 1), &whole[..cut]).unwrap();
        let (mut journal, found) = Journal::open(dir.path()).unwrap();
        // Some cuts end in the zeros after the lines.
        let lines = whole[..cut].iter().filter(|b| **b == b'\n').count();
        assert_eq!(found.len(), lines, "{cut}");
        // The next run writes to a new file, so its first line is not joined to the torn one.
        journal.append(&[record(4, 10)]).unwrap();
        drop(journal);
        assert_eq!(Journal::open(dir.path()).unwrap().1.len(), lines + 1, "{cut}");
    }
}

#[test]
fn sealing_keeps_the_files_until_they_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    journal.append(&[record(1, 7), record(1, 8)]).unwrap();
    let next = journal.next().make().unwrap();
    let sealed = journal.seal(next).unwrap();
    assert_eq!(sealed.records, [record(1, 8)], "the last record");
    assert!(journal.is_empty() && journal.length() == 0);
    journal.append(&[record(2, 9)]).unwrap();
    assert_eq!(Journal::open(dir.path()).unwrap().1.len(), 3, "a crash before the removal");
    sealed.remove().unwrap();
    let (_, found) = Journal::open(dir.path()).unwrap();
    assert_eq!(found, [record(2, 9)]);
}

#[test]
fn a_journal_that_failed_while_the_next_file_was_created_continues() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    journal.append(&[record(1, 7)]).unwrap();
    let next = journal.next().make().unwrap();
    journal.file = File::open(only_file(dir.path())).unwrap();
    assert!(journal.append(&[record(1, 8)]).is_err());
    journal.append(&[record(1, 9)]).unwrap();
    let sealed = journal.seal(next).unwrap();
    assert_eq!(sealed.records, [record(1, 9)]);
    journal.append(&[record(1, 10)]).unwrap();
    // Read again before anything is removed: the last record still wins.
    assert_eq!(Journal::open(dir.path()).unwrap().1.last(), Some(&record(1, 10)));
    sealed.remove().unwrap();
    assert_eq!(Journal::open(dir.path()).unwrap().1, [record(1, 10)]);
}

#[test]
fn a_full_file_is_extended() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    let many: Vec<_> = (0..1_000).map(|n| record(n as u8, u64::from(n as u32))).collect();
    let mut count = 0;
    while journal.length() <= CAPACITY {
        journal.append(&many).unwrap();
        count += many.len();
    }
    assert_eq!(fs::metadata(only_file(dir.path())).unwrap().len(), 2 * CAPACITY);
    assert_eq!(Journal::open(dir.path()).unwrap().1.len(), count);
}

#[test]
fn starts_without_leases_leave_no_files_behind() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        Journal::open(dir.path()).unwrap();
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn after_a_failure_the_journal_continues_in_a_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    journal.append(&[record(1, 7)]).unwrap();
    // A file that can no longer be written, as after disk errors.
    journal.file = File::open(only_file(dir.path())).unwrap();
    assert!(journal.append(&[record(2, 8)]).is_err());
    journal.append(&[record(3, 9)]).unwrap();
    drop(journal);
    assert_eq!(Journal::open(dir.path()).unwrap().1, [record(1, 7), record(3, 9)]);
}

#[test]
fn a_full_disk_is_an_error_and_nothing_is_lost() {
    // /dev/full accepts no data (full(4)).
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    journal.append(&[record(1, 7)]).unwrap();
    journal.file = File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(journal.append(&[record(2, 8)]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    drop(journal);
    assert_eq!(Journal::open(dir.path()).unwrap().1, [record(1, 7)]);
}
