//! Other DHCP servers on the link, found by a client that asks for an address and never takes one.
//!
//! Pure: seconds in, packets and findings out. Before `auto` serves, it asks [`FIRST_ASKS`] times; after that every
//! [`PERIOD`] seconds, in every mode: the operator wants to know about a second server whatever this one does.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;

use crate::dhcp::mode::{DhcpMode, Serving};
use crate::dhcp::wire::{MIN_PACKET, Packet};
use crate::policy::BootEventKind;

/// DISCOVERs before `auto` decides, one per second.
pub const FIRST_ASKS: u32 = 4;
/// Seconds between two questions afterwards.
pub const PERIOD: u64 = 30;
/// A server that has not answered for this many seconds is gone.
pub const GONE: u64 = 100;
/// The most servers remembered, against a flood of forged ones.
pub const MAX_SERVERS: usize = 16;

/// What watching found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Ask(Vec<u8>),
    Event(BootEventKind),
    Serve(Serving),
}

/// The state of watching one interface.
#[derive(Debug)]
pub struct Watch {
    mode: DhcpMode,
    server_ip: Ipv4Addr,
    mac: Mac,
    /// Number of the last question: its transaction id, with a random start.
    xid: u32,
    next_at: u64,
    asked: u32,
    serving: Serving,
    others: BTreeMap<Ipv4Addr, u64>,
}

impl Watch {
    /// A random `seed` makes the transaction ids hard to guess without seeing the packets.
    pub fn new(mode: DhcpMode, server_ip: Ipv4Addr, mac: Mac, seed: u32) -> Self {
        let serving = match mode {
            DhcpMode::Full | DhcpMode::Reservation => Serving::Addresses,
            DhcpMode::Proxy => Serving::Proxy,
            DhcpMode::Auto => Serving::Undecided,
        };
        Watch { mode, server_ip, mac, xid: seed, next_at: 0, asked: 0, serving, others: BTreeMap::new() }
    }

    pub fn serving(&self) -> Serving {
        self.serving
    }

    /// Other servers that answer, with the second they were last heard.
    pub fn others(&self) -> &BTreeMap<Ipv4Addr, u64> {
        &self.others
    }

    /// To be called about once per second.
    pub fn tick(&mut self, now: u64) -> Vec<Finding> {
        let mut findings = Vec::new();
        let gone = |at: &u64| at.saturating_add(GONE) <= now;
        for server in self.others.iter().filter(|(_, at)| gone(at)).map(|(ip, _)| *ip).collect::<Vec<_>>() {
            self.others.remove(&server);
            findings.push(Finding::Event(BootEventKind::OtherServerGone { server }));
        }
        if now >= self.next_at {
            if self.asked >= FIRST_ASKS {
                self.decide(&mut findings);
            }
            self.asked = self.asked.saturating_add(1);
            self.next_at = now + if self.asked <= FIRST_ASKS { 1 } else { PERIOD };
            self.xid = self.xid.wrapping_add(1);
            findings.push(Finding::Ask(self.discover()));
        }
        findings
    }

    /// The link is down: earlier answers say nothing about the next network. Serving continues (a machine on a direct cable
    /// drops its link at every reset), but the questions start again at once.
    pub fn link_lost(&mut self) {
        (self.asked, self.next_at) = (0, 0);
    }

    /// Reads a packet of port 68. An answer to one of the last questions names a server.
    pub fn heard(&mut self, bytes: &[u8], now: u64) -> Vec<Finding> {
        let mut findings = Vec::new();
        let Ok(packet) = Packet::read(bytes) else { return findings };
        let ours = self.xid.wrapping_sub(packet.xid) < FIRST_ASKS && packet.chaddr[..6] == self.mac.0;
        let offer = packet.op == 2 && matches!(packet.option(53), Some([2 | 5 | 6]));
        // A proxy offers no address: it does not compete.
        let address = bytes[16..20] != [0; 4];
        let Some(server) = packet.address(54).filter(|s| ours && offer && address && *s != self.server_ip) else {
            return findings;
        };
        if self.others.len() >= MAX_SERVERS && !self.others.contains_key(&server) {
            return findings;
        }
        if self.others.insert(server, now).is_none() {
            findings.push(Finding::Event(BootEventKind::OtherServer { server }));
            self.decide(&mut findings);
        }
        findings
    }

    fn decide(&mut self, findings: &mut Vec<Finding>) {
        if self.mode != DhcpMode::Auto {
            return;
        }
        let serving = if self.others.is_empty() { Serving::Addresses } else { Serving::Proxy };
        if serving != self.serving {
            self.serving = serving;
            findings.push(Finding::Serve(serving));
            findings.push(Finding::Event(BootEventKind::Serving { proxy: serving == Serving::Proxy }));
        }
    }

    /// A DISCOVER that asks for a broadcast answer. No PXE class: only a server with addresses answers.
    fn discover(&self) -> Vec<u8> {
        let mut bytes = vec![0u8; MIN_PACKET];
        bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
        bytes[4..8].copy_from_slice(&self.xid.to_be_bytes());
        bytes[10] = 0x80;
        bytes[28..34].copy_from_slice(&self.mac.0);
        bytes[236..240].copy_from_slice(&[99, 130, 83, 99]);
        bytes.extend_from_slice(&[53, 1, 1, 55, 2, 1, 3, 60, 13]);
        bytes.extend_from_slice(b"kubedos-probe");
        bytes.push(255);
        bytes.resize(300, 0);
        bytes
    }

    /// Whether a packet of port 67 is this watch's own question, which a bridge may bring back.
    pub fn is_own(&self, bytes: &[u8]) -> bool {
        bytes.get(28..34) == Some(&self.mac.0[..]) && bytes.windows(13).any(|w| w == b"kubedos-probe")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn watch(mode: DhcpMode) -> Watch {
        Watch::new(mode, OWN, MAC, u32::MAX - 1)
    }

    /// Another server's offer to the question.
    fn offer(question: &[u8], server: [u8; 4], yiaddr: [u8; 4]) -> Vec<u8> {
        let mut bytes = question[..MIN_PACKET].to_vec();
        bytes[0] = 2;
        bytes[16..20].copy_from_slice(&yiaddr);
        bytes.extend_from_slice(&[53, 1, 2, 54, 4]);
        bytes.extend_from_slice(&server);
        bytes.push(255);
        bytes
    }

    fn asks(findings: &[Finding]) -> Vec<Vec<u8>> {
        findings.iter().filter_map(|f| if let Finding::Ask(b) = f { Some(b.clone()) } else { None }).collect()
    }

    #[test]
    fn nobody_answers_and_auto_serves() {
        let mut w = watch(DhcpMode::Auto);
        for now in 0..u64::from(FIRST_ASKS) {
            assert_eq!(asks(&w.tick(now)).len(), 1);
            assert_eq!(w.serving(), Serving::Undecided);
        }
        let found = w.tick(u64::from(FIRST_ASKS));
        assert!(found.contains(&Finding::Serve(Serving::Addresses)), "{found:?}");
        assert!(found.contains(&Finding::Event(BootEventKind::Serving { proxy: false })));
        assert_eq!(w.tick(5), [], "then it waits");
        assert_eq!(asks(&w.tick(4 + PERIOD)).len(), 1);
    }

    #[test]
    fn somebody_answers_and_auto_stands_beside_until_it_is_gone() {
        let mut w = watch(DhcpMode::Auto);
        let question = asks(&w.tick(0)).remove(0);
        let server = Ipv4Addr::new(10, 0, 0, 9);
        let found = w.heard(&offer(&question, server.octets(), [10, 0, 0, 77]), 0);
        assert_eq!(found[0], Finding::Event(BootEventKind::OtherServer { server }));
        assert_eq!(w.serving(), Serving::Proxy);
        assert_eq!(w.heard(&offer(&question, server.octets(), [10, 0, 0, 77]), 50), [], "known already");
        for now in 1..50 + GONE {
            w.tick(now);
            assert_eq!(w.serving(), Serving::Proxy, "{now}");
        }
        let found = w.tick(50 + GONE);
        assert_eq!(found[0], Finding::Event(BootEventKind::OtherServerGone { server }));
        (0..=PERIOD).for_each(|more| drop(w.tick(50 + GONE + more)));
        assert_eq!(w.serving(), Serving::Addresses);
    }

    #[test]
    fn a_second_server_that_comes_later_is_an_event_in_every_mode() {
        for (mode, serving) in [
            (DhcpMode::Full, Serving::Addresses),
            (DhcpMode::Reservation, Serving::Addresses),
            (DhcpMode::Proxy, Serving::Proxy),
            (DhcpMode::Auto, Serving::Proxy),
        ] {
            let mut w = watch(mode);
            let question = (0..10).flat_map(|now| asks(&w.tick(now))).last().unwrap();
            let found = w.heard(&offer(&question, [10, 0, 0, 9], [10, 0, 0, 77]), 10);
            assert!(matches!(found[0], Finding::Event(BootEventKind::OtherServer { .. })), "{mode:?}");
            assert_eq!(w.serving(), serving, "{mode:?}");
        }
    }

    #[test]
    fn a_new_cable_is_asked_about_at_once_and_nothing_is_decided_without_one() {
        let mut w = watch(DhcpMode::Auto);
        for _ in 0..100 {
            w.link_lost();
        }
        assert_eq!(w.serving(), Serving::Undecided);
        (100..110).for_each(|now| drop(w.tick(now)));
        assert_eq!(w.serving(), Serving::Addresses);
        w.link_lost();
        assert_eq!(asks(&w.tick(111)).len(), 1);
        assert_eq!(w.serving(), Serving::Addresses);
    }

    #[test]
    fn what_is_no_answer_of_another_server_changes_nothing() {
        let mut w = watch(DhcpMode::Auto);
        let question = asks(&w.tick(0)).remove(0);
        let good = offer(&question, [10, 0, 0, 9], [10, 0, 0, 77]);
        let mut stranger = good.clone();
        stranger[33] ^= 1;
        let mut old = good.clone();
        old[4..8].copy_from_slice(&5_000u32.to_be_bytes());
        let own = offer(&question, OWN.octets(), [10, 0, 0, 77]);
        let proxy = offer(&question, [10, 0, 0, 9], [0; 4]);
        for packet in [&stranger, &old, &own, &proxy, &question, &good[..100].to_vec()] {
            assert_eq!(w.heard(packet, 0), []);
        }
        assert!(w.is_own(&question) && !w.is_own(&good));
        for n in 0..=MAX_SERVERS as u8 {
            w.heard(&offer(&question, [10, 0, 1, n + 1], [10, 0, 0, 77]), 0);
        }
        assert_eq!(w.others().len(), MAX_SERVERS);
    }
}
