//! Leases of machines that nobody knows yet: short, and taken back where addresses get scarce and nobody is there.
//!
//! Whoever has a cable can ask for every address under made-up names. What does not follow is that a machine then fetches its
//! loader or talks to the seed from that address, so until it does, its lease is short.

use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;

use super::{LeaseRecord, LeaseTable, State};

/// A stranger's lease, in seconds: the time from a ROM's ACK to the first packet of its loader is a few of them.
pub const STRANGER_LEASE: u32 = 120;
/// Where fewer than one in this many addresses is free, strangers that are not there lose theirs.
pub const SCARCE: usize = 5;
/// A lease younger than this many seconds is left alone: the client may not have taken up its address yet.
pub const YOUNG: u64 = 5;
/// Whoever answered is not asked for again for this many seconds.
pub const ASK_AGAIN: u64 = 60;
/// Times that nobody has to answer for a lease, about a second each.
pub const MISSES: u8 = 2;
/// A declined address for which nobody answers stays out of service for this many seconds.
pub const DECLINE_HOLD: u64 = 60;
/// The most machines remembered that were heard of.
pub const MAX_VOUCHED: usize = 16_384;

impl LeaseTable {
    /// The length of a lease for this machine, in seconds.
    pub fn lease_secs(&self, mac: Mac) -> u32 {
        let config = &self.config;
        if self.is_stranger(mac) { config.stranger_secs.min(config.lease_secs) } else { config.lease_secs }
    }

    fn is_stranger(&self, mac: Mac) -> bool {
        !self.vouched.contains_key(&mac) && !self.config.reservations.contains_key(&mac)
    }

    /// This machine is no stranger, from its next request on.
    pub fn vouch(&mut self, mac: Mac, now: u64) {
        if self.vouched.len() >= MAX_VOUCHED
            && !self.vouched.contains_key(&mac)
            && let Some(oldest) = self.vouched.iter().min_by_key(|(_, at)| **at).map(|(mac, _)| *mac)
        {
            self.vouched.remove(&oldest);
        }
        self.vouched.insert(mac, now);
    }

    /// A loader was fetched, or a request made, from this address: who leases it is there.
    pub fn heard_from(&mut self, ip: Ipv4Addr, now: u64) {
        if let Some(mac) = self.by_ip.get(&ip).filter(|b| b.state == State::Bound && b.until > now).map(|b| b.mac) {
            self.vouch(mac, now);
        }
    }

    /// Addresses that can be had at `now` without taking one from anybody.
    pub fn free(&self, now: u64) -> usize {
        let from = (now.saturating_add(1), Ipv4Addr::UNSPECIFIED);
        self.config.size().saturating_sub(self.leases.range(from..).count() + self.offers.range(from..).count())
    }

    fn is_scarce(&self, now: u64) -> bool {
        self.free(now) * SCARCE < self.config.size()
    }

    /// Addresses to ask the link for, up to `most`; then [`LeaseTable::answered`] is to be called for each.
    pub fn suspects(&mut self, now: u64, most: usize) -> Vec<Ipv4Addr> {
        let scarce = self.is_scarce(now);
        let from = (now.saturating_add(1), Ipv4Addr::UNSPECIFIED);
        let mut found: Vec<(u64, Ipv4Addr)> = Vec::new();
        for (_, ip) in self.leases.range(from..) {
            let Some(b) = self.by_ip.get(ip) else { continue };
            let stranger = scarce
                && b.state == State::Bound
                && self.is_stranger(b.mac)
                && now.saturating_sub(b.asked.renewed) >= YOUNG
                && b.asked.at.is_none_or(|at| at.saturating_add(ASK_AGAIN) <= now);
            if stranger || (b.state == State::Quarantined && b.asked.due) {
                found.push((b.asked.since, *ip));
            }
        }
        found.sort_unstable();
        found.truncate(most);
        for (_, ip) in &found {
            if let Some(b) = self.by_ip.get_mut(ip) {
                (b.asked.at, b.asked.due) = (Some(now), false);
            }
        }
        found.into_iter().map(|(_, ip)| ip).collect()
    }

    /// What the link said about one of the suspects. The record of a lease that ends is returned, to be stored.
    pub fn answered(&mut self, ip: Ipv4Addr, by: Option<Mac>, now: u64) -> Option<LeaseRecord> {
        let scarce = self.is_scarce(now);
        let mut binding = self.by_ip.get(&ip)?.clone();
        // The client asked for it meanwhile: it is there.
        let asked = binding.asked.at.filter(|at| binding.asked.renewed < *at && binding.until > now)?;
        match (binding.state, by) {
            (State::Bound, Some(_)) => binding.asked.misses = 0,
            (State::Bound, None) if binding.asked.misses + 1 < MISSES => {
                (binding.asked.misses, binding.asked.at) = (binding.asked.misses + 1, None);
            }
            (State::Bound, None) => {
                binding.until = now;
                let record = Self::record(ip, &binding);
                self.set(ip, binding);
                self.probed.insert(ip, now);
                return Some(record);
            }
            (State::Quarantined, None) => {
                binding.until = if scarce { now } else { binding.until.min(asked.saturating_add(DECLINE_HOLD)) };
            }
            _ => {}
        }
        self.set(ip, binding);
        None
    }
}

#[cfg(test)]
mod tests;
