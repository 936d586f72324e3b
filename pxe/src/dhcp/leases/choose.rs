//! Chooses the address to offer.

use std::net::Ipv4Addr;

use super::{LeaseTable, State};
use crate::dhcp::request::LeaseRequest;
use crate::why::Why;

impl LeaseTable {
    pub(super) fn choose(&mut self, request: &LeaseRequest, now: u64) -> Result<Ipv4Addr, Why> {
        if let Some(reservation) = self.reservation(request.mac)
            && self
                .by_ip
                .get(&reservation.ip)
                .is_none_or(|b| b.mac == request.mac && b.state != State::Quarantined || b.until <= now)
        {
            return Ok(reservation.ip);
        }
        if let Some(ip) = self.by_key.get(&request.key).copied()
            && self.leasable(ip, request.mac)
        {
            return Ok(ip);
        }
        if let Some(ip) = request.requested
            && self.leasable(ip, request.mac)
            && self.by_ip.get(&ip).is_none_or(|b| b.until <= now)
        {
            return Ok(ip);
        }
        let none = if self.config.ranges.is_empty() { Why::NotReserved } else { Why::PoolExhausted };
        self.any(now).ok_or(none)
    }

    /// In this order: released, expired offers, never used, expired leases (oldest first), and last the oldest offer.
    fn any(&mut self, now: u64) -> Option<Ipv4Addr> {
        if self.offers.len() < self.max_offers {
            if let Some(ip) = self.free.pop_first() {
                return Some(ip);
            }
            if let Some((_, ip)) = self.offers.first().filter(|(until, _)| *until <= now) {
                return Some(*ip);
            }
            while let Some(ip) = self.next_fresh() {
                if self.in_pool(ip) && !self.by_ip.contains_key(&ip) {
                    return Some(ip);
                }
            }
            if let Some((_, ip)) = self.leases.first().filter(|(until, _)| *until <= now) {
                return Some(*ip);
            }
        }
        self.offers.first().map(|(_, ip)| *ip)
    }

    fn next_fresh(&mut self) -> Option<Ipv4Addr> {
        let (range, next) = self.fresh;
        let current = self.config.ranges.get(range)?;
        let ended = next == u32::from(current.last);
        let after = self.config.ranges.get(range + 1).map_or(0, |r| u32::from(r.first));
        self.fresh = if ended { (range + 1, after) } else { (range, next + 1) };
        Some(Ipv4Addr::from(next))
    }
}
