use cluster_seed::people::Rights;

use super::*;
use crate::store::Store;

const HOURS: u64 = 12 * 3600;
const IDLE: u64 = 3600;
const LIMITS: SessionLimits = SessionLimits { longest: HOURS, idle: IDLE };
const NOW: u64 = 1_795_377_600;

fn write<T>(store: &Store, work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>) -> T {
    store.write(work).unwrap_or_else(|e: StoreError| panic!("{e}"))
}

fn ada() -> Store {
    let store = Store::in_memory().unwrap();
    write(&store, |tx| tx.add_admin("ada", "x", 0));
    store
}

fn begin(store: &Store, token_hash: &str, now: u64) {
    let new = NewSession { token_hash, user: "ada", address: "10.0.0.9", browser: "b", lasts: HOURS };
    write(store, |tx| tx.add_session(&new, now));
}

fn lives(store: &Store, hash: &str, now: u64) -> bool {
    write(store, |tx| tx.live_session(hash, now, LIMITS)).is_some()
}

#[test]
fn a_session_ends_on_time_and_is_not_believed_under_another_clock() {
    let store = ada();
    begin(&store, "hash", NOW);
    let used = |at: u64| write(&store, |tx| tx.touch_session("hash", at));
    for (now, good) in [
        (NOW, true),
        (NOW + IDLE - 1, true),
        // Idle for too long.
        (NOW + IDLE, false),
        (NOW - 1, false),
        // The next start found the clock at 1970, or in 2099.
        (0, false),
        (4_070_908_800, false),
    ] {
        assert_eq!(lives(&store, "hash", now), good, "{now}");
    }
    // However busy, it ends.
    used(NOW + HOURS - 1);
    assert!(lives(&store, "hash", NOW + HOURS - 1) && !lives(&store, "hash", NOW + HOURS));
}

#[test]
fn sessions_are_listed_renewed_and_ended() {
    let store = ada();
    let (one, other) = ("1".repeat(64), "2".repeat(64));
    begin(&store, &one, NOW);
    begin(&store, &other, NOW + 5);
    let list = |user: Option<&str>| write(&store, |tx| tx.sessions(user, NOW + 9, LIMITS));
    let ids: Vec<String> = list(Some("ada")).into_iter().map(|s| s.id).collect();
    assert_eq!(ids, ["2".repeat(16), "1".repeat(16)]);
    assert_eq!((list(None).len(), list(Some("bob")).len()), (2, 0));
    write(&store, |tx| tx.renew_session(&one, NOW + 8));
    let (session, user) = write(&store, |tx| tx.live_session(&one, NOW + 9, LIMITS)).unwrap();
    assert_eq!((session.begun, session.used, session.authenticated), (NOW, NOW + 8, NOW + 8));
    assert_eq!((session.address.as_str(), user.rights), ("10.0.0.9", Rights::Administrator));
    let end = |id: &str, user: Option<&str>| write(&store, |tx| tx.end_session_named(id, user));
    assert_eq!(end(session_id(&one), Some("bob")), None, "of another user");
    assert_eq!(end(session_id(&one), Some("ada")).as_deref(), Some("ada"));
    assert!(!lives(&store, &one, NOW + 9) && lives(&store, &other, NOW + 9));
    assert_eq!(write(&store, |tx| tx.end_sessions_of("ada", Some(&other))), 0);
    assert_eq!(write(&store, |tx| tx.end_sessions_of("ada", None)), 1);
}

#[test]
fn the_session_that_was_not_used_for_longest_gives_way() {
    let store = ada();
    let hash = |n: u32| format!("{n:064}");
    for n in 0..MAX_SESSIONS {
        begin(&store, &hash(n), NOW + u64::from(n));
    }
    write(&store, |tx| tx.touch_session(&hash(0), NOW + 100));
    begin(&store, &hash(MAX_SESSIONS), NOW + 101);
    let now = NOW + 101;
    assert!(lives(&store, &hash(0), now) && !lives(&store, &hash(1), now) && lives(&store, &hash(2), now));
    assert_eq!(write(&store, |tx| tx.sessions(None, now, LIMITS)).len(), MAX_SESSIONS as usize);
}

#[test]
fn a_disabled_user_has_no_session_and_no_password() {
    let store = ada();
    write(&store, |tx| tx.add_user("bob", "y", Rights::Operator, 3));
    begin(&store, "hash", NOW);
    assert_eq!(write(&store, |tx| tx.other_administrators("ada")), 0);
    assert!(write(&store, |tx| tx.set_user("ada", Rights::Administrator, Some(9))));
    assert!(!lives(&store, "hash", NOW));
    assert_eq!(write(&store, |tx| tx.password_hash("ada")), None);
    assert_eq!(write(&store, |tx| tx.other_administrators("bob")), 0, "disabled ones do not count");
    assert!(write(&store, |tx| tx.set_user("bob", Rights::Administrator, None)));
    assert_eq!(write(&store, |tx| tx.other_administrators("ada")), 1);
    let names: Vec<String> = write(&store, |tx| tx.users()).into_iter().map(|u| u.user).collect();
    assert_eq!(names, ["ada", "bob"]);
    assert!(!write(&store, |tx| tx.set_user("eve", Rights::Viewer, None)) && !write(&store, |tx| tx.remove_user("eve")));
    assert!(write(&store, |tx| tx.remove_user("ada")) && write(&store, |tx| tx.user("ada")).is_none());
}
