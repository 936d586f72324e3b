//! Decides which network events are written: repeats become one row with a count, and floods cannot fill the disk.
//!
//! Pure: the time comes with the events. There are three token buckets: per machine, for all strangers together, and for all
//! machines together. A machine that holds one of the seed's addresses, whose number is limited, is not a stranger.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use cluster_seed::events::EventKind;
use cluster_seed::ids::Mac;

use super::WireEvent;

/// Repeats within this time are counted in one row; the time doubles while the repeats continue.
const WINDOW_MS: u64 = 30_000;
const MAX_WINDOW_MS: u64 = 3_600_000;
/// Maximum number of different events of one machine that are checked for repeats at a time.
const MAX_OPEN: usize = 24;
/// Maximum number of machines and strangers remembered.
const MAX_KNOWN: usize = 4_096;
const MAX_STRANGERS: usize = 512;
/// A stranger that was silent for this time can be replaced by another.
const IDLE_MS: u64 = 60_000;

/// Tokens at the start, and milliseconds for one more: about 2,900 rows a day for one machine, 8,600 for all strangers,
/// 86,000 in total, which is about 30 MB.
const MACHINE: (u64, u64) = (256, 30_000);
const STRANGERS: (u64, u64) = (512, 10_000);
const ALL: (u64, u64) = (8_192, 1_000);

#[derive(Debug)]
struct Bucket {
    tokens: u64,
    most: u64,
    per_token_ms: u64,
    filled: u64,
}

impl Bucket {
    fn new((most, per_token_ms): (u64, u64), now: u64) -> Self {
        Bucket { tokens: most, most, per_token_ms, filled: now }
    }

    fn refill(&mut self, now: u64) {
        // The clock may be set back.
        self.filled = self.filled.min(now);
        let new = (now - self.filled) / self.per_token_ms;
        self.filled += new * self.per_token_ms;
        self.tokens = self.tokens.saturating_add(new).min(self.most);
    }

    fn take(&mut self, now: u64) -> bool {
        self.refill(now);
        let some = self.tokens > 0;
        self.tokens -= u64::from(some);
        some
    }
}

/// An event whose repeats are counted.
#[derive(Debug)]
struct Open {
    event: WireEvent,
    since: u64,
    window: u64,
    repeats: u32,
}

impl Open {
    fn is_like(&self, e: &WireEvent) -> bool {
        let (a, b) = (&self.event, e);
        let (f, g) = (&a.facts, &b.facts);
        a.kind == b.kind && a.ip == b.ip && f.xid == g.xid && f.file == g.file && f.why == g.why && f.server == g.server
    }

    /// The row that represents the repeats, if there were any.
    fn told(&mut self) -> Option<WireEvent> {
        let repeats = std::mem::take(&mut self.repeats);
        let mut event = self.event.clone();
        event.facts.repeats = Some(repeats);
        event.text = format!("{} ({repeats} more times)", event.text);
        (repeats > 0).then_some(event)
    }
}

#[derive(Debug)]
struct Book {
    bucket: Bucket,
    open: Vec<Open>,
    heard: u64,
}

impl Book {
    fn new(now: u64) -> Self {
        Book { bucket: Bucket::new(MACHINE, now), open: Vec::new(), heard: now }
    }

    /// Whether repeats of this event are counted.
    fn counts(&mut self, e: &WireEvent) -> bool {
        self.heard = e.at;
        let Some(open) = self.open.iter_mut().find(|o| o.is_like(e)) else { return false };
        open.repeats = open.repeats.saturating_add(1);
        open.event.at = e.at;
        true
    }

    fn watch(&mut self, e: &WireEvent, out: &mut Vec<WireEvent>) {
        if self.open.len() >= MAX_OPEN {
            out.extend(self.open.remove(0).told());
        }
        self.open.push(Open { event: e.clone(), since: e.at, window: WINDOW_MS, repeats: 0 });
    }

    fn tick(&mut self, now: u64, out: &mut Vec<WireEvent>) {
        self.open.retain_mut(|o| {
            if now.saturating_sub(o.since) < o.window {
                return true;
            }
            let told = o.told();
            (o.since, o.window) = (now, (o.window * 2).min(MAX_WINDOW_MS));
            let goes_on = told.is_some();
            out.extend(told);
            goes_on
        });
    }
}

/// The machine or address that an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Machine(Mac),
    Address(Option<Ipv4Addr>),
}

/// The filter in front of the event log.
#[derive(Debug)]
pub struct Gate {
    known: HashMap<Who, Book>,
    strangers: HashMap<Who, Book>,
    /// Which machine was assigned which address.
    holders: HashMap<Ipv4Addr, Mac>,
    of_strangers: Bucket,
    all: Bucket,
    suppressed: u64,
    told: u64,
}

impl Gate {
    pub fn new(now: u64) -> Self {
        Gate {
            known: HashMap::new(),
            strangers: HashMap::new(),
            holders: HashMap::new(),
            of_strangers: Bucket::new(STRANGERS, now),
            all: Bucket::new(ALL, now),
            suppressed: 0,
            told: now,
        }
    }

    /// Events that were neither written nor counted in a row.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// Processes one event; events to be written now are added to `out`.
    pub fn push(&mut self, mut e: WireEvent, out: &mut Vec<WireEvent>) {
        if let (None, Some(ip)) = (e.mac, e.ip) {
            e.mac = self.holders.get(&ip).copied();
        }
        let who = e.mac.map_or(Who::Address(e.ip), Who::Machine);
        if let (Some(mac), Some(ip), EventKind::DhcpAck) = (e.mac, e.ip, e.kind) {
            self.know(who, e.at);
            if self.holders.len() < MAX_KNOWN || self.holders.contains_key(&ip) {
                self.holders.insert(ip, mac);
            }
        }
        // An address that downloaded a file exists. When another DHCP server assigns the addresses, only such machines are known.
        if matches!(e.kind, EventKind::TftpDone | EventKind::HttpStarted) {
            self.know(who, e.at);
        }
        let known = self.known.contains_key(&who);
        if !known && !self.strangers.contains_key(&who) && !self.admit(who, e.at) {
            self.suppressed += 1;
            return;
        }
        let books = if known { &mut self.known } else { &mut self.strangers };
        let Some(book) = books.get_mut(&who) else { return };
        if book.counts(&e) {
            return;
        }
        let shared = if known { &mut self.all } else { &mut self.of_strangers };
        if !book.bucket.take(e.at) || !shared.take(e.at) {
            self.suppressed += 1;
            return;
        }
        book.watch(&e, out);
        out.push(e);
    }

    fn know(&mut self, who: Who, now: u64) {
        if self.known.contains_key(&who) {
            return;
        }
        if self.known.len() >= MAX_KNOWN
            && let Some(oldest) = self.known.iter().min_by_key(|(_, b)| b.heard).map(|(w, _)| *w)
        {
            self.known.remove(&oldest);
        }
        let book = self.strangers.remove(&who).unwrap_or_else(|| Book::new(now));
        self.known.insert(who, book);
    }

    /// Adds a record for a stranger, if there is space and the limit for strangers is not exceeded.
    fn admit(&mut self, who: Who, now: u64) -> bool {
        self.of_strangers.refill(now);
        if self.of_strangers.tokens == 0 {
            return false;
        }
        if self.strangers.len() >= MAX_STRANGERS {
            let oldest = self.strangers.iter().min_by_key(|(_, b)| b.heard).map(|(w, b)| (*w, b.heard));
            match oldest {
                Some((oldest, heard)) if now.saturating_sub(heard) >= IDLE_MS => self.strangers.remove(&oldest),
                _ => return false,
            };
        }
        self.strangers.insert(who, Book::new(now));
        true
    }

    /// Writes rows for repeats whose time is over, and once a minute one for suppressed events. To be called every few seconds.
    pub fn tick(&mut self, now: u64, out: &mut Vec<WireEvent>) {
        for book in self.known.values_mut().chain(self.strangers.values_mut()) {
            book.tick(now, out);
        }
        if self.suppressed > 0 && now.saturating_sub(self.told) >= IDLE_MS && self.all.take(now) {
            self.told = now;
            let n = std::mem::take(&mut self.suppressed);
            let text = format!("{n} packet events were suppressed: too many, or from too many unknown machines");
            out.push(WireEvent { text, ..WireEvent::new(now, EventKind::RecorderSuppressed) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: u64, kind: EventKind, n: u32) -> WireEvent {
        let [a, b, c, d] = n.to_be_bytes();
        let mut e = WireEvent { mac: Some(Mac([2, 0, a, b, c, d])), text: kind.to_string(), ..WireEvent::new(at, kind) };
        e.facts.xid = Some("1".to_owned());
        e
    }

    fn run(gate: &mut Gate, events: impl IntoIterator<Item = WireEvent>) -> Vec<WireEvent> {
        let mut out = Vec::new();
        events.into_iter().for_each(|e| gate.push(e, &mut out));
        out
    }

    #[test]
    fn repeats_are_told_once_with_their_number() {
        let mut gate = Gate::new(0);
        let both = |at| [event(at, EventKind::DhcpDiscover, 1), event(at + 1, EventKind::DhcpOffer, 1)];
        let out = run(&mut gate, (0..8).flat_map(|i| both(i * 2_000)));
        assert_eq!(out.iter().map(|e| e.kind).collect::<Vec<_>>(), [EventKind::DhcpDiscover, EventKind::DhcpOffer]);
        let mut told = Vec::new();
        gate.tick(WINDOW_MS - 1, &mut told);
        assert!(told.is_empty());
        gate.tick(WINDOW_MS + 1, &mut told);
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].facts.repeats, told[0].at, told[0].text.as_str()), (Some(7), 14_000, "dhcp.discover (7 more times)"));
        // Silence: the next one is news again.
        gate.tick(10 * WINDOW_MS, &mut told);
        assert_eq!(told.len(), 2);
        assert_eq!(run(&mut gate, both(11 * WINDOW_MS)).len(), 2);
    }

    #[test]
    fn another_transaction_file_or_reason_is_no_repeat() {
        let mut gate = Gate::new(0);
        let mut other = event(1, EventKind::DhcpDiscover, 1);
        other.facts.xid = Some("2".to_owned());
        let mut why = event(2, EventKind::DhcpDiscover, 1);
        why.facts.why = Some("pool_exhausted".to_owned());
        assert_eq!(run(&mut gate, [event(0, EventKind::DhcpDiscover, 1), other, why]).len(), 3);
    }

    #[test]
    fn a_flood_of_made_up_machines_is_bounded_and_hides_nobody() {
        let mut gate = Gate::new(0);
        let mut ack = event(0, EventKind::DhcpAck, 0);
        ack.ip = Some(Ipv4Addr::new(10, 44, 0, 100));
        assert_eq!(run(&mut gate, [ack]).len(), 1);
        let flood = run(&mut gate, (1..50_000u32).map(|n| event(u64::from(n) / 50, EventKind::DhcpDiscover, n)));
        assert!(flood.len() as u64 <= STRANGERS.0, "{}", flood.len());
        assert!(gate.suppressed() > 49_000 && gate.strangers.len() <= MAX_STRANGERS);
        // The machine that holds an address is written about, also where only the address is known.
        let tftp = WireEvent { ip: Some(Ipv4Addr::new(10, 44, 0, 100)), ..WireEvent::new(1_001, EventKind::TftpStarted) };
        let told = run(&mut gate, [event(1_000, EventKind::DhcpRequest, 0), tftp]);
        assert_eq!(told.len(), 2);
        assert_eq!(told[1].mac, told[0].mac);
        let mut out = Vec::new();
        gate.tick(IDLE_MS + 1_000, &mut out);
        assert!(out.iter().any(|e| e.kind == EventKind::RecorderSuppressed), "{out:?}");
        assert_eq!(gate.suppressed(), 0);
    }

    #[test]
    fn a_day_of_noise_of_one_machine_stays_within_its_budget() {
        let mut gate = Gate::new(0);
        let mut rows = 0;
        for second in 0..86_400u64 {
            let mut e = event(second * 1_000, EventKind::DhcpDiscover, 1);
            e.facts.xid = Some(second.to_string());
            rows += run(&mut gate, [e]).len();
            let mut out = Vec::new();
            gate.tick(second * 1_000, &mut out);
            rows += out.iter().filter(|e| e.mac.is_some()).count();
        }
        assert!((2_000..4_000).contains(&rows), "{rows}");
    }

    #[test]
    fn a_clock_that_is_set_back_harms_nothing() {
        let mut gate = Gate::new(1_000_000_000);
        assert_eq!(
            run(&mut gate, [event(1_000_000_000, EventKind::DhcpDiscover, 1), event(5, EventKind::DhcpOffer, 1)]).len(),
            2
        );
        let mut out = Vec::new();
        gate.tick(7, &mut out);
        gate.tick(5 + 2 * WINDOW_MS, &mut out);
        assert!(out.is_empty());
    }
}
