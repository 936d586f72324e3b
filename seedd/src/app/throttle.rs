//! Slows down guessing: after a few failures an address (or an account) has to wait, longer each time. `now` counts steadily
//! ([`host::clock::steady`]): setting the clock neither frees nor locks out anybody.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Failures that cost nothing: people mistype.
const FREE: u32 = 5;
/// Longest wait, in seconds.
const MAX_WAIT: u64 = 300;
/// Addresses remembered; beyond that, all strangers share one record.
const MAX_ADDRESSES: usize = 4_096;
/// Failures are forgotten after this many quiet seconds.
const FORGET: u64 = 3_600;

pub struct Throttle<K = IpAddr> {
    free: u32,
    records: Mutex<HashMap<Option<K>, Record>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Throttle::with_free(FREE)
    }
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

impl<K: Hash + Eq> Throttle<K> {
    /// `free` failures cost nothing.
    pub fn with_free(free: u32) -> Self {
        Throttle { free, records: Mutex::default() }
    }

    fn with<T>(&self, from: K, now: u64, work: impl FnOnce(&mut Record) -> T) -> T {
        let mut map = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= MAX_ADDRESSES {
            map.retain(|_, r| now.saturating_sub(r.last) < FORGET);
        }
        let from = Some(from);
        let known = map.contains_key(&from) || map.len() < MAX_ADDRESSES;
        let record = map.entry(if known { from } else { None }).or_insert(Record { failures: 0, last: now });
        if now.saturating_sub(record.last) >= FORGET {
            record.failures = 0;
        }
        work(record)
    }

    /// Seconds `from` still has to wait; 0 if it may try.
    pub fn wait(&self, from: K, now: u64) -> u64 {
        self.with(from, now, |r| (r.last + wait_after(r.failures, self.free)).saturating_sub(now).min(MAX_WAIT))
    }

    pub fn failed(&self, from: K, now: u64) {
        self.with(from, now, |r| {
            r.failures = r.failures.saturating_add(1);
            r.last = now;
        });
    }

    pub fn succeeded(&self, from: K, now: u64) {
        self.with(from, now, |r| r.failures = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let t = Throttle::default();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..FREE - 1 {
            t.failed(ip, 100);
            assert_eq!(t.wait(ip, 100), 0);
        }
        t.failed(ip, 100);
        assert_eq!(t.wait(ip, 100), 1);
        for _ in 0..40 {
            t.failed(ip, 100);
        }
        assert_eq!(t.wait(ip, 100), MAX_WAIT);
        assert_eq!(t.wait("192.0.2.2".parse().unwrap(), 100), 0);
        assert_eq!(t.wait(ip, 100 + MAX_WAIT), 0);
        t.succeeded(ip, 100);
        assert_eq!(t.wait(ip, 101), 0);
    }

    #[test]
    fn a_flood_of_addresses_shares_one_record() {
        let t = Throttle::default();
        for n in 0..MAX_ADDRESSES as u32 + 20 {
            for _ in 0..FREE + 1 {
                t.failed(IpAddr::from(n.to_be_bytes()), 100);
            }
        }
        assert!(t.records.lock().unwrap().len() <= MAX_ADDRESSES + 1);
        assert!(t.wait("203.0.113.1".parse().unwrap(), 100) > 0);
    }
}
