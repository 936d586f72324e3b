//! The lease table: pure. Time is an argument (seconds since 1970); the caller stores records.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use cluster_seed::ids::Mac;
use serde::{Deserialize, Serialize};

use crate::dhcp::pool::{PoolConfig, Reservation};
use crate::dhcp::request::{ClientKey, LeaseRequest};
use crate::why::Why;

mod choose;

pub mod strangers;

/// An offer is reserved this many seconds for its client's REQUEST.
pub const OFFER_HOLD: u64 = 30;
/// A declined address is not offered for this many seconds.
pub const QUARANTINE: u64 = 600;
/// After a probe without an answer, an address is offered without another probe for this many seconds.
pub const PROBE_GOOD: u64 = 120;
/// Most open offers. A flood of DISCOVERs with random addresses evicts the oldest offers, never a lease.
pub const MAX_OFFERS: usize = 1_024;

/// One stored lease; a newer record of an address replaces the older one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    pub mac: Mac,
    pub ip: Ipv4Addr,
    /// Seconds since 1970. In the past once released.
    pub expires_at: u64,
    /// Untrusted text, printable, up to 64 characters.
    pub hostname: Option<String>,
    /// Option 61, unless it repeats the hardware address.
    pub client_id: Option<Vec<u8>>,
}

/// The answer to a REQUEST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To be sent once the record is durable.
    Ack(LeaseRecord),
    Nak(Why),
    Silent(Why),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Offered,
    Bound,
    Quarantined,
}

/// When the holder of a binding was probed on the link.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    /// When the client got the address, and when it last requested it.
    since: u64,
    renewed: u64,
    /// When the address was last probed, and the number of consecutive probes without an answer.
    at: Option<u64>,
    misses: u8,
    /// A client declined the address as used by another machine, and it was not probed yet.
    due: bool,
}

impl Asked {
    fn new(now: u64) -> Self {
        Asked { since: now, renewed: now, ..Asked::default() }
    }

    fn due() -> Self {
        Asked { due: true, ..Asked::default() }
    }
}

#[derive(Debug, Clone)]
struct Binding {
    key: ClientKey,
    mac: Mac,
    state: State,
    until: u64,
    hostname: Option<String>,
    client_id: Option<Vec<u8>>,
    /// Probes of the address.
    asked: Asked,
    /// For an offer: the previous holder of the lease. Any host can send a RELEASE, so the holder may still use the address.
    before: Option<Box<Binding>>,
}

/// All addresses of one interface. The size is bounded by the pool and the reservations.
#[derive(Debug)]
pub struct LeaseTable {
    config: PoolConfig,
    max_offers: usize,
    reserved_ips: BTreeMap<Ipv4Addr, Mac>,
    by_ip: HashMap<Ipv4Addr, Binding>,
    by_key: HashMap<ClientKey, Ipv4Addr>,
    /// Pool addresses by the end of their state, so that the least recently used one is taken first.
    leases: BTreeSet<(u64, Ipv4Addr)>,
    offers: BTreeSet<(u64, Ipv4Addr)>,
    /// Used earlier, now free.
    free: BTreeSet<Ipv4Addr>,
    /// The range, and the first address in it that was never used.
    fresh: (usize, u32),
    quarantined: usize,
    /// When a probe last found the address unused.
    probed: HashMap<Ipv4Addr, u64>,
    /// Known machines, and when they were last heard from.
    vouched: HashMap<Mac, u64>,
}

impl LeaseTable {
    /// A table with the leases stored by an earlier run. Records of addresses that can no longer be leased are
    /// dropped; of two records of one client, the later one wins.
    pub fn new(config: PoolConfig, records: Vec<LeaseRecord>) -> Self {
        let size = config.size();
        let mut table = LeaseTable {
            // Except in a small pool, a flood of DISCOVERs can take at most half of the addresses.
            max_offers: MAX_OFFERS.min((size / 2).max(64)).min(size),
            reserved_ips: config.reservations.iter().map(|(mac, r)| (r.ip, *mac)).collect(),
            by_ip: HashMap::new(),
            by_key: HashMap::new(),
            leases: BTreeSet::new(),
            offers: BTreeSet::new(),
            free: BTreeSet::new(),
            fresh: (0, config.ranges.first().map_or(0, |r| u32::from(r.first))),
            quarantined: 0,
            probed: HashMap::new(),
            vouched: HashMap::new(),
            config,
        };
        let mut records = records;
        records.sort_by_key(|r| r.expires_at);
        for record in records {
            if table.leasable(record.ip, record.mac) {
                let key = ClientKey::new(record.mac, record.client_id.as_deref());
                let LeaseRecord { mac, ip, expires_at, hostname, client_id } = record;
                let (state, until) = (State::Bound, expires_at);
                let (asked, before) = (Asked::default(), None);
                table.set(ip, Binding { key, mac, state, until, hostname, client_id, asked, before });
            }
        }
        table
    }

    /// The network's configuration.
    pub fn pool(&self) -> &PoolConfig {
        &self.config
    }

    /// This client's lease that is valid at `now`.
    pub fn lease_of(&self, key: &ClientKey, now: u64) -> Option<Ipv4Addr> {
        let ip = *self.by_key.get(key)?;
        self.by_ip.get(&ip).filter(|b| b.state == State::Bound && b.until > now).map(|_| ip)
    }

    /// Whether an address chosen by [`LeaseTable::offer`] should be probed first: it is not this client's lease, and
    /// was not found unused in the last [`PROBE_GOOD`] seconds.
    pub fn wants_probe(&self, ip: Ipv4Addr, now: u64) -> bool {
        let offered = self.by_ip.get(&ip).is_some_and(|b| b.state == State::Offered);
        offered && self.probed.get(&ip).is_none_or(|at| at.saturating_add(PROBE_GOOD) <= now)
    }

    /// The probe found the address unused.
    pub fn found_unused(&mut self, ip: Ipv4Addr, now: u64) {
        if self.in_pool(ip) || self.reserved_ips.contains_key(&ip) {
            self.probed.insert(ip, now);
        }
    }

    /// The probe found an offered address in use: it is quarantined for [`QUARANTINE`] seconds. If the previous holder answered,
    /// it gets its lease back: another host released it in its name.
    pub fn found_in_use(&mut self, ip: Ipv4Addr, by: Mac, now: u64) {
        if let Some(mut binding) = self.by_ip.get(&ip).filter(|b| b.state == State::Offered).cloned() {
            if let Some(mut before) = binding.before.take().filter(|b| b.mac == by && !self.by_key.contains_key(&b.key)) {
                before.until = now.saturating_add(self.lease_secs(by).into());
                return self.set(ip, *before);
            }
            self.quarantine(ip, &mut binding, now);
            self.set(ip, binding);
        }
    }

    pub fn reservation(&self, mac: Mac) -> Option<&Reservation> {
        self.config.reservations.get(&mac)
    }

    /// Leases valid at `now`.
    pub fn active(&self, now: u64) -> usize {
        self.by_ip.values().filter(|b| b.state == State::Bound && b.until > now).count()
    }

    /// Chooses an address for a DISCOVER (RFC 2131 section 4.3.1: the client's current one, its last one, the
    /// requested one, any) and reserves it for [`OFFER_HOLD`] seconds.
    pub fn offer(&mut self, request: &LeaseRequest, now: u64) -> Result<Ipv4Addr, Why> {
        let ip = self.choose(request, now)?;
        let held = self.by_ip.get(&ip).is_some_and(|b| b.key == request.key && b.state == State::Bound && b.until > now);
        if !held {
            let mut binding = Self::binding(request, State::Offered, now.saturating_add(OFFER_HOLD), now);
            binding.before = self.by_ip.get(&ip).and_then(|old| match old.state {
                State::Bound if old.key != request.key => Some(Box::new(old.clone())),
                State::Offered => old.before.clone(),
                _ => None,
            });
            self.set(ip, binding);
        }
        Ok(ip)
    }

    /// Answers a REQUEST in each of the states of RFC 2131 section 4.3.2.
    pub fn request(&mut self, request: &LeaseRequest, now: u64) -> Answer {
        if request.selects(self.config.server_ip) == Some(false) {
            self.withdraw_offer(&request.key);
            return Answer::Silent(Why::OtherServer);
        }
        let renewing = !request.ciaddr.is_unspecified();
        let Some(ip) = (if renewing { Some(request.ciaddr) } else { request.requested }) else {
            return Answer::Silent(Why::NoAddressAsked);
        };
        let own = self.by_key.get(&request.key).copied();
        let selecting = request.server_id.is_some() && !renewing;
        if !self.leasable(ip, request.mac) {
            return self.not_ours(ip, own.is_some() || selecting, request.mac);
        }
        match self.by_ip.get(&ip) {
            Some(b) if b.state == State::Quarantined && b.until > now => Answer::Nak(Why::AddressTaken),
            Some(b) if self.is_holder(b, ip, request) => self.bind(ip, request, now),
            // An offer evicted by a flood remains valid until the address is acknowledged to another client.
            Some(b) if b.until > now && !(selecting && b.state == State::Offered) => Answer::Nak(Why::AddressTaken),
            _ if selecting => self.bind(ip, request, now),
            _ if own.is_some() => Answer::Nak(Why::WrongAddress),
            _ => Answer::Silent(Why::UnknownClient),
        }
    }

    /// An address that is not leased from here. RFC 2131 section 4.3.2: NAK on the wrong network; on the right one, silence
    /// unless there is a record of this client or it chose this server (docs/compatibility.md has each mode).
    fn not_ours(&self, ip: Ipv4Addr, is_known: bool, mac: Mac) -> Answer {
        let is_reserved = self.reservation(mac).is_some();
        // Without pools, this server does not know which addresses are in use on this network.
        if self.config.ranges.is_empty() && !is_reserved {
            return Answer::Silent(Why::NotReserved);
        }
        let refused = is_known || is_reserved || !self.config.subnet.is_host(ip);
        if refused { Answer::Nak(Why::WrongNetwork) } else { Answer::Silent(Why::UnknownClient) }
    }

    /// Ends the client's lease. The record is stored; there is no reply.
    pub fn release(&mut self, request: &LeaseRequest, now: u64) -> Result<LeaseRecord, Why> {
        let ip = request.ciaddr;
        let mut binding = self.held(ip, request, now)?.clone();
        binding.until = now;
        let record = Self::record(ip, &binding);
        self.set(ip, binding);
        Ok(record)
    }

    /// Quarantines an address that the client found in use for [`QUARANTINE`] seconds. At most a quarter of the pool can
    /// be quarantined; beyond that the address is only released.
    pub fn decline(&mut self, request: &LeaseRequest, now: u64) -> Result<LeaseRecord, Why> {
        let ip = request.requested.ok_or(Why::NoAddressAsked)?;
        let mut binding = self.held(ip, request, now)?.clone();
        binding.until = now;
        let record = Self::record(ip, &binding);
        self.quarantine(ip, &mut binding, now);
        binding.asked = Asked::due();
        self.set(ip, binding);
        Ok(record)
    }

    fn quarantine(&mut self, ip: Ipv4Addr, binding: &mut Binding, now: u64) {
        self.probed.remove(&ip);
        binding.until = now;
        if self.quarantined < (self.config.size() / 4).max(1) {
            binding.state = State::Quarantined;
            binding.until = now.saturating_add(QUARANTINE);
        }
    }

    fn in_pool(&self, ip: Ipv4Addr) -> bool {
        self.config.ranges.iter().any(|r| r.contains(ip))
            && ip != self.config.server_ip
            && Some(ip) != self.config.router
            && !self.reserved_ips.contains_key(&ip)
    }

    fn leasable(&self, ip: Ipv4Addr, mac: Mac) -> bool {
        self.in_pool(ip) || self.reserved_ips.get(&ip) == Some(&mac)
    }

    /// A reserved address belongs to its machine, whatever identifier the current boot stage uses.
    fn is_holder(&self, binding: &Binding, ip: Ipv4Addr, request: &LeaseRequest) -> bool {
        binding.key == request.key || (self.reserved_ips.get(&ip) == Some(&request.mac) && binding.mac == request.mac)
    }

    /// The valid lease that a client may end. A lease that has ended produces no further record, however often it is released.
    fn held(&self, ip: Ipv4Addr, request: &LeaseRequest, now: u64) -> Result<&Binding, Why> {
        if request.selects(self.config.server_ip) == Some(false) {
            return Err(Why::OtherServer);
        }
        let binding = self.by_ip.get(&ip).ok_or(Why::NotTheHolder)?;
        let good = self.is_holder(binding, ip, request) && binding.state != State::Quarantined && binding.until > now;
        if good { Ok(binding) } else { Err(Why::NotTheHolder) }
    }

    fn bind(&mut self, ip: Ipv4Addr, request: &LeaseRequest, now: u64) -> Answer {
        let until = now.saturating_add(self.lease_secs(request.mac).into());
        let mut binding = Self::binding(request, State::Bound, until, now);
        if let Some(old) = self.by_ip.get(&ip).filter(|b| b.state == State::Bound && b.key == request.key && b.until > now) {
            binding.asked.since = old.asked.since;
        }
        let record = Self::record(ip, &binding);
        self.set(ip, binding);
        Answer::Ack(record)
    }

    fn withdraw_offer(&mut self, key: &ClientKey) {
        if let Some(ip) = self.by_key.get(key).copied()
            && self.by_ip.get(&ip).is_some_and(|b| b.state == State::Offered)
        {
            self.clear(ip);
            self.put_back(ip);
        }
    }

    fn binding(request: &LeaseRequest, state: State, until: u64, now: u64) -> Binding {
        let (hostname, client_id) = (request.hostname.clone(), request.client_id.clone());
        let (key, mac, asked) = (request.key.clone(), request.mac, Asked::new(now));
        Binding { key, mac, state, until, hostname, client_id, asked, before: None }
    }

    fn record(ip: Ipv4Addr, b: &Binding) -> LeaseRecord {
        let (hostname, client_id) = (b.hostname.clone(), b.client_id.clone());
        LeaseRecord { mac: b.mac, ip, expires_at: b.until, hostname, client_id }
    }

    /// The only function that changes a binding, so that the indexes stay consistent.
    fn set(&mut self, ip: Ipv4Addr, binding: Binding) {
        self.clear(ip);
        self.free.remove(&ip);
        let of_client = binding.state != State::Quarantined;
        if of_client && let Some(old) = self.by_key.get(&binding.key).copied() {
            // One address per client: the previous one is released.
            self.clear(old);
            self.put_back(old);
        }
        if self.in_pool(ip) {
            if binding.state == State::Offered
                && self.offers.len() >= self.max_offers
                && let Some((_, oldest)) = self.offers.first().copied()
            {
                self.clear(oldest);
                self.put_back(oldest);
            }
            let index = if binding.state == State::Offered { &mut self.offers } else { &mut self.leases };
            index.insert((binding.until, ip));
        }
        if of_client {
            self.by_key.insert(binding.key.clone(), ip);
        } else {
            self.quarantined += 1;
        }
        self.by_ip.insert(ip, binding);
    }

    fn put_back(&mut self, ip: Ipv4Addr) {
        if self.in_pool(ip) {
            self.free.insert(ip);
        }
    }

    fn clear(&mut self, ip: Ipv4Addr) {
        let Some(old) = self.by_ip.remove(&ip) else { return };
        self.leases.remove(&(old.until, ip));
        self.offers.remove(&(old.until, ip));
        if old.state == State::Quarantined {
            self.quarantined -= 1;
        } else if self.by_key.get(&old.key) == Some(&ip) {
            self.by_key.remove(&old.key);
        }
    }
}

#[cfg(test)]
pub(in crate::dhcp) mod tests;
