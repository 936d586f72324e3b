//! Slots for transfers: which transfers may run, and which are evicted.
//!
//! A request costs its sender one packet, possibly with a forged address, so a transfer whose client never answered keeps its
//! slot only until another client needs it. If all have answered, an address with several transfers yields to one with none.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::tftp::packet::ReadRequest;

/// Most evictions per second for one address, and in total. Each makes this server send a packet to an address that may be
/// forged.
const MAX_PUSHED_BY_ONE: u32 = 256;
const MAX_PUSHED: u32 = 4_096;
/// If every transfer has a different address and has answered, the oldest one that has run for longer than this is evicted.
const LONG: Duration = Duration::from_secs(60);

/// A running transfer.
#[derive(Debug)]
pub(super) struct Active {
    /// Increasing number: the lowest is the oldest.
    pub id: u64,
    pub request: ReadRequest,
    pub contacted: Arc<AtomicBool>,
    pub worker: usize,
    /// Since the server started.
    pub since: Duration,
}

/// Whether there is a slot.
#[derive(Debug)]
pub(super) enum Place {
    Free,
    /// After ending this transfer, which is already removed from the running ones.
    Instead(Active),
    None,
}

#[derive(Debug)]
pub(super) struct Places {
    pub running: HashMap<SocketAddrV4, Active>,
    max: usize,
    per_address: usize,
    /// The current second, and the evictions in it, in total and per address.
    pushed: (u64, u32, HashMap<Ipv4Addr, u32>),
}

impl Places {
    pub fn new(max: usize, per_address: usize) -> Self {
        Places { running: HashMap::new(), max, per_address, pushed: (0, 0, HashMap::new()) }
    }

    /// Requests a slot for a transfer of this address.
    pub fn find(&mut self, ip: Ipv4Addr, now: Duration) -> Place {
        let held = self.running.keys().filter(|c| *c.ip() == ip).count();
        let out = if held >= self.per_address {
            self.oldest(|c, a| *c.ip() == ip && is_unanswered(a))
        } else if self.running.len() >= self.max {
            self.oldest(|_, a| is_unanswered(a)).or_else(|| if held == 0 { self.of_the_greediest(now) } else { None })
        } else {
            return Place::Free;
        };
        let Some(out) = out.filter(|_| self.may_push(ip, now)) else { return Place::None };
        self.running.remove(&out).map_or(Place::None, Place::Instead)
    }

    fn oldest(&self, which: impl Fn(&SocketAddrV4, &Active) -> bool) -> Option<SocketAddrV4> {
        self.running.iter().filter(|(c, a)| which(c, a)).min_by_key(|(_, a)| a.id).map(|(c, _)| *c)
    }

    /// The oldest transfer of the address with the most; if none has two, the oldest of all that is older than [`LONG`].
    fn of_the_greediest(&self, now: Duration) -> Option<SocketAddrV4> {
        let mut counts: HashMap<Ipv4Addr, usize> = HashMap::new();
        self.running.keys().for_each(|c| *counts.entry(*c.ip()).or_default() += 1);
        match counts.into_iter().max_by_key(|(ip, n)| (*n, *ip)) {
            Some((ip, 2..)) => self.oldest(|c, _| *c.ip() == ip),
            _ => self.oldest(|_, a| now.saturating_sub(a.since) > LONG),
        }
    }

    fn may_push(&mut self, ip: Ipv4Addr, now: Duration) -> bool {
        let (second, all, by) = &mut self.pushed;
        if *second != now.as_secs() {
            (*second, *all) = (now.as_secs(), 0);
            by.clear();
        }
        // At most one address per eviction is remembered.
        if *all >= MAX_PUSHED || by.get(&ip).is_some_and(|n| *n >= MAX_PUSHED_BY_ONE) {
            return false;
        }
        *all += 1;
        *by.entry(ip).or_default() += 1;
        true
    }
}

fn is_unanswered(a: &Active) -> bool {
    !a.contacted.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn ip(n: u16) -> Ipv4Addr {
        let [a, b] = n.to_be_bytes();
        Ipv4Addr::new(10, 0, a, b)
    }

    struct Server {
        places: Places,
        next: u64,
    }

    fn server(max: usize, per_address: usize) -> Server {
        Server { places: Places::new(max, per_address), next: 0 }
    }

    impl Server {
        /// A request of this address from a new port: whether it got a slot, and the number of the evicted transfer.
        fn ask(&mut self, address: u16, contacted: bool, now: Duration) -> Option<Option<u64>> {
            let pushed = match self.places.find(ip(address), now) {
                Place::Free => None,
                Place::Instead(old) => Some(old.id),
                Place::None => return None,
            };
            self.next += 1;
            let request = ReadRequest { name: "f".into(), options: Vec::new() };
            let contacted = Arc::new(AtomicBool::new(contacted));
            let active = Active { id: self.next, request, contacted, worker: 0, since: now };
            self.places.running.insert(SocketAddrV4::new(ip(address), 1_000 + self.next as u16), active);
            Some(pushed)
        }

        fn held(&self, address: u16) -> usize {
            self.places.running.keys().filter(|c| *c.ip() == ip(address)).count()
        }
    }

    #[test]
    fn transfers_without_an_answer_are_evicted_oldest_first() {
        let mut s = server(4, 2);
        for n in 1..=4 {
            assert_eq!(s.ask(n, false, NOW), Some(None));
        }
        assert_eq!(s.ask(5, false, NOW), Some(Some(1)));
        assert_eq!(s.ask(6, false, NOW), Some(Some(2)));
        assert_eq!(s.places.running.len(), 4);
        // At the limit of an address its own oldest is evicted, although others are older.
        assert_eq!((s.ask(6, false, NOW), s.ask(6, false, NOW)), (Some(Some(3)), Some(Some(6))));
        assert_eq!(s.held(6), 2);
    }

    #[test]
    fn a_client_that_answers_keeps_its_slot() {
        let mut s = server(64 * 8, 8);
        // 64 addresses take every slot and answer.
        for n in 0..64 {
            (0..8).for_each(|_| assert_eq!(s.ask(n, true, NOW), Some(None)));
        }
        assert_eq!(s.ask(3, true, NOW), None, "the ninth of an address");
        // Forty machines arrive, with two files each, one at a time like firmware.
        for machine in 1_000..1_040 {
            assert!(s.ask(machine, true, NOW).is_some(), "{machine}");
        }
        assert!((0..64).all(|n| s.held(n) >= 7), "taken from each in turn");
        for n in 0..64 {
            assert_eq!(s.ask(n, true, NOW), None, "an address with transfers cannot evict others");
        }
        assert!((1_000..1_040).all(|machine| s.held(machine) == 1));
    }

    #[test]
    fn with_one_transfer_per_address_only_a_long_one_is_evicted() {
        let mut s = server(3, 8);
        (1..=3).for_each(|n| assert_eq!(s.ask(n, true, NOW), Some(None)));
        assert_eq!(s.ask(4, true, NOW + LONG), None);
        assert_eq!(s.ask(4, true, NOW + LONG + Duration::from_millis(1)), Some(Some(1)));
    }

    #[test]
    fn evictions_by_one_address_are_limited_per_second() {
        let mut s = server(512, 8);
        let got = (0..10_000).filter(|_| s.ask(1, false, NOW).is_some()).count();
        assert_eq!(got, 8 + MAX_PUSHED_BY_ONE as usize);
        assert!(s.ask(2, false, NOW).is_some(), "another address has its own limit");
        assert!(s.ask(1, false, NOW + Duration::from_secs(1)).is_some(), "the limit is reset in the next second");
        let mut s = server(512, 8);
        let got = (0..40_000u16).filter(|n| s.ask(*n, false, NOW).is_some()).count();
        assert_eq!(got, 512 + MAX_PUSHED as usize);
    }
}
