//! Detects other DHCP servers on the link, with a client that sends DISCOVERs and never accepts an offer.
//!
//! Pure: seconds in, packets and findings out. Before `auto` serves, it sends [`FIRST_ASKS`] DISCOVERs; after that one every
//! [`PERIOD`] seconds, in every mode, so that the operator learns of a second server.
//!
//! DISCOVERs are broadcast, so any host on the link can answer one under any address. A server is confirmed once it has
//! answered [`CONFIRM`] of them and a host answers ARP for its address; until then it is only reported.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;

use crate::dhcp::mode::{DhcpMode, Serving};
pub use crate::dhcp::owner::Owner;
use crate::dhcp::wire::{MIN_PACKET, Packet};
use crate::policy::BootEventKind;
use crate::subnet::Subnet;

/// DISCOVERs before `auto` decides, one per second.
pub const FIRST_ASKS: u32 = 4;
/// Further DISCOVERs if a server has answered and is not confirmed yet.
pub const MORE_ASKS: u32 = 3;
/// DISCOVERs that a server has to answer, counting one answer each; more if ARP is not available.
pub const CONFIRM: u32 = 2;
pub const CONFIRM_WITHOUT_ARP: u32 = 3;
/// Seconds between two later DISCOVERs.
pub const PERIOD: u64 = 30;
/// A server that has not answered for this many seconds counts as gone.
pub const GONE: u64 = 100;
/// Consecutive DISCOVERs that an unconfirmed server may leave unanswered.
pub const MAX_UNANSWERED: u32 = 2;
/// Most servers remembered, against a flood of forged ones.
pub const MAX_SERVERS: usize = 16;

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Ask(Vec<u8>),
    /// Probe (ARP) this address; call [`Watch::owner`] with the result within a second or two.
    Arp(Ipv4Addr),
    Event(BootEventKind),
    Serve(Serving),
}

/// A server that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Time of its last answer, in seconds.
    pub last: u64,
    /// DISCOVERs answered.
    pub answers: u32,
    /// Of `at`.
    pub owner: Owner,
    /// The address to probe: the server's own, or the relay's if a relay forwarded the answer from another network.
    pub at: Option<Ipv4Addr>,
    pub confirmed: bool,
    /// Number of the last DISCOVER that it answered.
    question: u32,
}

/// The state for one interface.
#[derive(Debug)]
pub struct Watch {
    mode: DhcpMode,
    server_ip: Ipv4Addr,
    subnet: Subnet,
    mac: Mac,
    seed: u32,
    /// DISCOVERs sent so far.
    question: u32,
    next_at: u64,
    /// DISCOVERs since the link came up.
    asked: u32,
    /// Additional DISCOVERs since the last regular one.
    early: u32,
    serving: Serving,
    others: BTreeMap<Ipv4Addr, Other>,
}

impl Watch {
    /// A random `seed` makes the transaction ids unpredictable for a host that does not see the packets.
    pub fn new(mode: DhcpMode, server_ip: Ipv4Addr, subnet: Subnet, mac: Mac, seed: u32) -> Self {
        let serving = match mode {
            DhcpMode::Full | DhcpMode::Reservation => Serving::Addresses,
            DhcpMode::Proxy => Serving::Proxy,
            DhcpMode::Auto => Serving::Undecided,
        };
        let (question, next_at, asked, early, others) = (0, 0, 0, 0, BTreeMap::new());
        Watch { mode, server_ip, subnet, mac, seed, question, next_at, asked, early, serving, others }
    }

    pub fn serving(&self) -> Serving {
        self.serving
    }

    /// Other servers that answer.
    pub fn others(&self) -> &BTreeMap<Ipv4Addr, Other> {
        &self.others
    }

    /// Call it about once per second.
    pub fn tick(&mut self, now: u64) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.forget(now, &mut findings);
        if now >= self.next_at {
            let doubtful = self.others.values().any(|o| !o.confirmed);
            if self.asked >= FIRST_ASKS && (self.serving != Serving::Undecided || !doubtful || self.early >= MORE_ASKS) {
                self.decide(&mut findings);
            }
            let soon = doubtful && self.early < MORE_ASKS;
            self.early = if soon { self.early + 1 } else { 0 };
            self.asked = self.asked.saturating_add(1);
            self.next_at = now + if soon || self.asked <= FIRST_ASKS { 1 } else { PERIOD };
            self.question = self.question.wrapping_add(1);
            findings.push(Finding::Ask(self.discover()));
        }
        findings
    }

    /// Servers that stopped answering: a confirmed one after [`GONE`] seconds, an unconfirmed one after a few DISCOVERs.
    fn forget(&mut self, now: u64, findings: &mut Vec<Finding>) {
        let question = self.question;
        self.others.retain(|server, other| {
            let (server, answers, owner) = (*server, other.answers, other.owner);
            let silent = other.last.saturating_add(GONE) <= now;
            let kind = match other.confirmed {
                true if silent => BootEventKind::OtherServerGone { server },
                false if silent || question.wrapping_sub(other.question) > MAX_UNANSWERED => {
                    BootEventKind::OtherServerDoubted { server, answers, owner }
                }
                _ => return true,
            };
            findings.push(Finding::Event(kind));
            false
        });
    }

    /// The link is down: earlier answers do not apply to the next network. Serving continues (a machine on a direct cable drops
    /// its link at every reset), but probing starts again at once.
    pub fn link_lost(&mut self) {
        (self.asked, self.early, self.next_at) = (0, 0, 0);
    }

    /// Reads a packet from port 68. An answer to one of the last DISCOVERs names a server.
    pub fn heard(&mut self, bytes: &[u8], now: u64) -> Vec<Finding> {
        let mut findings = Vec::new();
        let Ok(packet) = Packet::read(bytes) else { return findings };
        let recent = (0..FIRST_ASKS.min(self.question)).any(|n| self.xid(self.question - n) == packet.xid);
        let ours = recent && packet.chaddr[..6] == self.mac.0;
        let offer = packet.op == 2 && matches!(packet.option(53), Some([2 | 5 | 6]));
        // A proxy offers no address, so it does not conflict.
        let address = bytes[16..20] != [0; 4];
        let Some(server) = packet.address(54).filter(|s| ours && offer && address && *s != self.server_ip) else {
            return findings;
        };
        if self.others.len() >= MAX_SERVERS && !self.others.contains_key(&server) {
            return findings;
        }
        let question = self.question;
        let at = [server, packet.giaddr].into_iter().find(|ip| self.subnet.is_host(*ip) && *ip != self.server_ip);
        let first =
            Other { last: now, answers: 0, owner: Owner::Unknown, at, confirmed: false, question: question.wrapping_sub(1) };
        let other = self.others.entry(server).or_insert(first);
        other.last = now;
        // Several answers to one DISCOVER count once: a burst may replay earlier answers.
        if other.question == question || other.confirmed {
            return findings;
        }
        (other.question, other.answers) = (question, other.answers.saturating_add(1));
        match (other.at, other.owner) {
            (Some(at), Owner::Unknown | Owner::Nobody) => findings.push(Finding::Arp(at)),
            (None, _) => other.owner = Owner::Nobody,
            _ => {}
        }
        if self.early < MORE_ASKS {
            self.next_at = self.next_at.min(now.saturating_add(1));
        }
        self.confirm(&mut findings);
        findings
    }

    /// Takes the ARP result of an address.
    pub fn owner(&mut self, at: Ipv4Addr, owner: Owner) -> Vec<Finding> {
        let mut findings = Vec::new();
        let owner = if owner == Owner::Machine(self.mac) { Owner::Nobody } else { owner };
        self.others.values_mut().filter(|o| o.at == Some(at)).for_each(|o| o.owner = owner);
        self.confirm(&mut findings);
        findings
    }

    fn confirm(&mut self, findings: &mut Vec<Finding>) {
        let before = findings.len();
        for (server, other) in self.others.iter_mut().filter(|(_, o)| !o.confirmed) {
            let enough = match other.owner {
                Owner::Machine(_) => CONFIRM,
                Owner::NotAsked => CONFIRM_WITHOUT_ARP,
                Owner::Unknown | Owner::Nobody => continue,
            };
            if other.answers >= enough {
                other.confirmed = true;
                let (server, answers, owner) = (*server, other.answers, other.owner);
                findings.push(Finding::Event(BootEventKind::OtherServer { server, answers, owner }));
            }
        }
        if findings.len() > before {
            self.decide(findings);
        }
    }

    fn decide(&mut self, findings: &mut Vec<Finding>) {
        if self.mode != DhcpMode::Auto {
            return;
        }
        let beside = self.others.values().any(|o| o.confirmed);
        let serving = if beside { Serving::Proxy } else { Serving::Addresses };
        if serving != self.serving {
            self.serving = serving;
            findings.push(Finding::Serve(serving));
            findings.push(Finding::Event(BootEventKind::Serving { proxy: serving == Serving::Proxy }));
        }
    }

    /// The transaction id of a DISCOVER. A host that saw one cannot compute the next (MurmurHash3's finalizer over a secret).
    fn xid(&self, question: u32) -> u32 {
        let mut x = self.seed ^ question.wrapping_mul(0x9e37_79b9);
        x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
        x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
        x ^ (x >> 16)
    }

    /// A DISCOVER that asks for a broadcast answer. Without a PXE class, only a server with addresses answers.
    fn discover(&self) -> Vec<u8> {
        let mut bytes = vec![0u8; MIN_PACKET];
        bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
        bytes[4..8].copy_from_slice(&self.xid(self.question).to_be_bytes());
        bytes[10] = 0x80;
        bytes[28..34].copy_from_slice(&self.mac.0);
        bytes[236..240].copy_from_slice(&[99, 130, 83, 99]);
        bytes.extend_from_slice(&[53, 1, 1, 55, 2, 1, 3, 60, 13]);
        bytes.extend_from_slice(b"kubedos-probe");
        bytes.push(255);
        bytes.resize(300, 0);
        bytes
    }

    /// Whether a packet on port 67 is this watch's own DISCOVER, which a bridge may reflect.
    pub fn is_own(&self, bytes: &[u8]) -> bool {
        bytes.get(28..34) == Some(&self.mac.0[..]) && bytes.windows(13).any(|w| w == b"kubedos-probe")
    }
}

#[cfg(test)]
mod tests;
