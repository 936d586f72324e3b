//! Leases of unknown machines: short, and reclaimed when addresses are scarce and the machine does not answer.
//!
//! Any host on the link can request every address under invented MAC addresses. A real machine then fetches its loader or
//! contacts the seed from its address; until that happens, its lease is short.

use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;

use super::{LeaseRecord, LeaseTable, State};

/// Lease of an unknown machine, in seconds: a ROM needs only a few from its ACK to the first packet of its loader.
pub const STRANGER_LEASE: u32 = 120;
/// If fewer than one in this many addresses is free, unknown machines that do not answer lose theirs.
pub const SCARCE: usize = 5;
/// A lease younger than this many seconds is not reclaimed: the client may not have configured its address yet.
pub const YOUNG: u64 = 5;
/// A machine that answered is not probed again for this many seconds.
pub const ASK_AGAIN: u64 = 60;
/// Number of unanswered probes, about a second each, before a lease is reclaimed.
pub const MISSES: u8 = 2;
/// A declined address that does not answer a probe stays quarantined for this many seconds.
pub const DECLINE_HOLD: u64 = 60;
/// Most known machines that are remembered.
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

    /// Marks this machine as known, from its next request on.
    pub fn vouch(&mut self, mac: Mac, now: u64) {
        if self.vouched.len() >= MAX_VOUCHED
            && !self.vouched.contains_key(&mac)
            && let Some(oldest) = self.vouched.iter().min_by_key(|(_, at)| **at).map(|(mac, _)| *mac)
        {
            self.vouched.remove(&oldest);
        }
        self.vouched.insert(mac, now);
    }

    /// A loader was fetched or a request made from this address: its lease holder is present.
    pub fn heard_from(&mut self, ip: Ipv4Addr, now: u64) {
        if let Some(mac) = self.by_ip.get(&ip).filter(|b| b.state == State::Bound && b.until > now).map(|b| b.mac) {
            self.vouch(mac, now);
        }
    }

    /// Addresses that are free at `now`.
    pub fn free(&self, now: u64) -> usize {
        let from = (now.saturating_add(1), Ipv4Addr::UNSPECIFIED);
        self.config.size().saturating_sub(self.leases.range(from..).count() + self.offers.range(from..).count())
    }

    fn is_scarce(&self, now: u64) -> bool {
        self.free(now) * SCARCE < self.config.size()
    }

    /// Addresses to probe, up to `most`; call [`LeaseTable::answered`] for each afterwards.
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

    /// Result of a probe. Returns the record of a lease that ends, to be stored.
    pub fn answered(&mut self, ip: Ipv4Addr, by: Option<Mac>, now: u64) -> Option<LeaseRecord> {
        let scarce = self.is_scarce(now);
        let mut binding = self.by_ip.get(&ip)?.clone();
        // The client requested it in the meantime: it is present.
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
