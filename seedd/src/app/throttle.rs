//! Slows down guessing without letting strangers lock out operators. `now` is monotonic ([`host::clock::steady`]): setting
//! the clock neither unlocks nor locks out anyone.
//!
//! Rules:
//! 1. Each purpose (set-up code, login, passkey, passphrase, pairing code) has its own records; a success resets only these.
//! 2. An address that failed [`FREE`] times has to wait after each further failure, up to [`MAX_WAIT`]. All users of a tunnel
//!    share its loopback address, so failures from there are counted per account.
//! 3. Logins are counted for each account as well, whatever the addresses. After [`ACCOUNT_FREE`] failures, an address from which the
//!    account never logged in has to wait [`ACCOUNT_WAIT`] before each attempt. The time counts from its own last attempt, so
//!    nobody else's attempts prolong it: the right password gets in after that time from anywhere.
//! 4. An address from which the account logged in before does not wait for other addresses' failures, and strangers leave it a
//!    slot ([`super::slots`]).
//! 5. Wrong passphrases are counted per administrator and address; trying one requires a login. Wrong pairing codes are
//!    counted per administrator.
//!
//! The control socket (`seedd unseal`, the console) is not throttled: whoever can reach it controls the seed anyway. All
//! tables are bounded; the oldest entry is evicted.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// Failures without a wait: people mistype.
const FREE: u32 = 5;
/// Longest wait of an address, in seconds.
const MAX_WAIT: u64 = 300;
/// Failures of one account before addresses without an earlier login to it have to wait.
const ACCOUNT_FREE: u32 = 20;
/// Their wait, in seconds.
const ACCOUNT_WAIT: u64 = 30;
/// Entries of each table.
const MAX_ENTRIES: usize = 4_096;
/// Number of counters for accounts, shared by hash: unknown names need no additional memory and behave like those of
/// administrators.
const ACCOUNTS: u64 = 1_024;
/// Failures are forgotten after this many quiet seconds.
const FORGET: u64 = 3_600;

/// What is being tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    SetUp,
    Login,
    /// Logins without a name, so per address.
    Passkey,
    Passphrase,
    /// Pairing codes, per account: each wrong one ends a machine's attempt.
    PairingCode,
}

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    pub purpose: Purpose,
    pub from: IpAddr,
    /// The administrator's name, as given; empty for the set-up code.
    pub account: &'a str,
}

impl<'a> Attempt<'a> {
    pub fn pairing_code(account: &'a str) -> Self {
        Attempt { purpose: Purpose::PairingCode, from: IpAddr::from([0; 4]), account }
    }
}

#[derive(Default)]
pub struct Throttle {
    tables: Mutex<Tables>,
    /// Wrong pairing codes without a wait; see [`FREE`] for the other purposes.
    free_codes: u32,
    /// Random per process, so nobody can choose a name that shares another account's counter.
    places: RandomState,
}

/// Whose failures are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Address(Purpose, IpAddr),
    /// An account: at a loopback address, or for the passphrase.
    Account(Purpose, u64),
}

#[derive(Default)]
struct Tables {
    failures: HashMap<Key, Record>,
    /// When an address last tried an account, or was refused.
    asked: HashMap<(u64, IpAddr), Record>,
    /// Addresses from which an account has logged in.
    known: HashMap<(u64, IpAddr), Record>,
}

#[derive(Clone, Copy)]
struct Record {
    failures: u32,
    last: u64,
}

fn wait_after(failures: u32, free: u32) -> u64 {
    match failures.checked_sub(free) {
        None => 0,
        Some(n) => (1u64 << n.min(10)).min(MAX_WAIT),
    }
}

/// A host can use any address of its /64 (RFC 4291); all link-local addresses share one.
pub(super) fn whole(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) if !v6.is_unicast_link_local() => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        other => other,
    }
}

/// The entry, created if missing; the least recently used one is evicted.
fn entry<K: Hash + Eq + Copy>(table: &mut HashMap<K, Record>, key: K, now: u64) -> &mut Record {
    if table.len() >= MAX_ENTRIES && !table.contains_key(&key) {
        let oldest = table.iter().min_by_key(|(_, r)| r.last).map(|(k, _)| *k);
        oldest.map(|k| table.remove(&k));
    }
    let record = table.entry(key).or_insert(Record { failures: 0, last: now });
    if now.saturating_sub(record.last) >= FORGET {
        record.failures = 0;
    }
    record
}

impl Throttle {
    /// As many wrong pairing codes cost an account nothing.
    pub fn with_free_codes(free_codes: u32) -> Self {
        Throttle { free_codes, ..Throttle::default() }
    }

    fn free(&self, purpose: Purpose) -> u32 {
        if purpose == Purpose::PairingCode { self.free_codes } else { FREE }
    }

    fn tables(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, account: &str) -> u64 {
        self.places.hash_one(account) % ACCOUNTS
    }

    /// The records that limit an attempt and that its success resets.
    fn own(&self, attempt: &Attempt<'_>) -> Vec<Key> {
        let address = Key::Address(attempt.purpose, whole(attempt.from));
        let account = Key::Account(attempt.purpose, self.place(attempt.account));
        match (attempt.purpose, attempt.from.to_canonical().is_loopback()) {
            (Purpose::SetUp | Purpose::Passkey, _) | (Purpose::Login, false) => vec![address],
            (Purpose::Login | Purpose::Passphrase, true) | (Purpose::PairingCode, _) => vec![account],
            (Purpose::Passphrase, false) => vec![address, account],
        }
    }

    /// Seconds the attempt still has to wait; 0 if it may be made.
    pub fn wait(&self, attempt: &Attempt<'_>, now: u64) -> u64 {
        let keys = self.own(attempt);
        let mut tables = self.tables();
        let free = self.free(attempt.purpose);
        let left = |r: &Record| (r.last + wait_after(r.failures, free)).saturating_sub(now).min(MAX_WAIT);
        let own = keys.iter().filter_map(|k| tables.failures.get(k)).filter(|r| now.saturating_sub(r.last) < FORGET).map(left);
        let own = own.max().unwrap_or_default();
        own.max(self.wait_for_account(&mut tables, attempt, now))
    }

    /// Rule 3.
    fn wait_for_account(&self, tables: &mut Tables, attempt: &Attempt<'_>, now: u64) -> u64 {
        let place = self.place(attempt.account);
        let pair = (place, whole(attempt.from));
        let record = tables.failures.get(&Key::Account(attempt.purpose, place));
        let many = record.is_some_and(|r| r.failures >= ACCOUNT_FREE && now.saturating_sub(r.last) < FORGET);
        let loopback = attempt.from.to_canonical().is_loopback();
        if attempt.purpose != Purpose::Login || loopback || !many || tables.known.contains_key(&pair) {
            return 0;
        }
        let asked = entry(&mut tables.asked, pair, now).last;
        (asked + ACCOUNT_WAIT).saturating_sub(now).min(ACCOUNT_WAIT)
    }

    pub fn failed(&self, attempt: &Attempt<'_>, now: u64) {
        let place = self.place(attempt.account);
        let mut keys = self.own(attempt);
        let mut tables = self.tables();
        if attempt.purpose == Purpose::Login {
            entry(&mut tables.asked, (place, whole(attempt.from)), now).last = now;
            let account = Key::Account(Purpose::Login, place);
            if !keys.contains(&account) {
                keys.push(account);
            }
        }
        for key in keys {
            let record = entry(&mut tables.failures, key, now);
            record.failures = record.failures.saturating_add(1);
            record.last = now;
        }
    }

    pub fn succeeded(&self, attempt: &Attempt<'_>, now: u64) {
        let keys = self.own(attempt);
        let mut tables = self.tables();
        for key in keys {
            tables.failures.remove(&key);
        }
        if attempt.purpose == Purpose::Login {
            entry(&mut tables.known, (self.place(attempt.account), whole(attempt.from)), now).last = now;
        }
    }

    /// Whether the account has logged in from this address.
    pub fn knows(&self, attempt: &Attempt<'_>) -> bool {
        self.tables().known.contains_key(&(self.place(attempt.account), whole(attempt.from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(purpose: Purpose, from: &str, account: &'static str) -> Attempt<'static> {
        Attempt { purpose, from: from.parse().unwrap(), account }
    }

    fn login(from: &str, account: &'static str) -> Attempt<'static> {
        at(Purpose::Login, from, account)
    }

    #[test]
    fn waits_grow_up_to_the_limit_and_expire() {
        let t = Throttle::default();
        let ada = login("192.0.2.1", "ada");
        for _ in 0..FREE - 1 {
            t.failed(&ada, 100);
            assert_eq!(t.wait(&ada, 100), 0);
        }
        t.failed(&ada, 100);
        assert_eq!(t.wait(&ada, 100), 1);
        for _ in 0..40 {
            t.failed(&ada, 100);
        }
        assert_eq!(t.wait(&ada, 100), MAX_WAIT);
        assert_eq!(t.wait(&login("192.0.2.2", "bob"), 100), 0);
        assert_eq!(t.wait(&ada, 100 + MAX_WAIT), 0);
        t.succeeded(&ada, 100);
        assert_eq!(t.wait(&ada, 101), 0);
    }

    #[test]
    fn a_login_does_not_reset_wrong_passphrases() {
        let t = Throttle::default();
        let (ada, guess) = (login("192.0.2.1", "ada"), at(Purpose::Passphrase, "192.0.2.1", "ada"));
        for _ in 0..FREE + 3 {
            t.failed(&guess, 100);
            t.succeeded(&ada, 100);
        }
        assert_eq!(t.wait(&guess, 100), 8);
        assert_eq!(t.wait(&at(Purpose::Passphrase, "192.0.2.7", "ada"), 100), 8, "nor does a login from another address");
        assert_eq!((t.wait(&ada, 100), t.wait(&at(Purpose::Passphrase, "192.0.2.2", "bob"), 100)), (0, 0));
    }

    #[test]
    fn behind_a_tunnel_one_account_does_not_lock_out_another() {
        let t = Throttle::default();
        for _ in 0..FREE + 5 {
            t.failed(&login("127.0.0.1", "eve"), 100);
        }
        assert_eq!((t.wait(&login("127.0.0.1", "eve"), 100), t.wait(&login("::1", "ada"), 100)), (32, 0));
    }

    #[test]
    fn strangers_cannot_lock_an_operator_out() {
        let t = Throttle::default();
        let (home, away) = (login("192.0.2.1", "ada"), login("198.51.100.1", "ada"));
        t.succeeded(&home, 0);
        let stranger =
            |n: u32| Attempt { purpose: Purpose::Login, from: IpAddr::from((0x0a00_0000 + n).to_be_bytes()), account: "ada" };
        for n in 0..ACCOUNT_FREE {
            assert_eq!(t.wait(&stranger(n), 100), 0);
            t.failed(&stranger(n), 100);
        }
        assert_eq!(t.wait(&home, 100), 0, "her own address is known");
        assert_eq!(t.wait(&away, 100), ACCOUNT_WAIT);
        // The guessing continues without a pause, and she keeps trying.
        for second in 100..100 + ACCOUNT_WAIT {
            t.failed(&stranger(second as u32), second);
            assert_eq!(t.wait(&away, second), 100 + ACCOUNT_WAIT - second);
        }
        assert_eq!(t.wait(&away, 100 + ACCOUNT_WAIT), 0, "the wait is bounded, whatever others do");
        t.failed(&away, 130);
        assert_eq!(t.wait(&away, 130), ACCOUNT_WAIT, "one attempt each time");
        assert_eq!(t.wait(&login("198.51.100.1", "bob"), 130), 0);
    }

    #[test]
    fn a_flood_of_addresses_fills_a_bounded_table() {
        let t = Throttle::default();
        let known = login("192.0.2.1", "ada");
        t.succeeded(&known, 0);
        for n in 0..MAX_ENTRIES as u32 + 20 {
            let from = IpAddr::from(n.to_be_bytes());
            let attempt = Attempt { purpose: Purpose::Login, from, account: "ada" };
            let _ = t.wait(&attempt, 100);
            t.failed(&attempt, 100);
        }
        let tables = t.tables();
        assert!(tables.failures.len() <= MAX_ENTRIES && tables.asked.len() <= MAX_ENTRIES);
        drop(tables);
        assert!(t.knows(&known) && t.wait(&known, 100) == 0);
        // All addresses of one IPv6 host count as one.
        for n in 0..FREE + 1 {
            t.failed(&Attempt { account: "bob", ..login(["2001:db8::1", "2001:db8::2"][n as usize % 2], "") }, 200);
        }
        assert!(t.wait(&login("2001:db8::ffff", "carol"), 200) > 0);
    }
}
