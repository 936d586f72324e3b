//! Connection slots: how many one address may hold, and which connection is closed when slots are scarce.
//!
//! A connection is cheap for its peer but uses a descriptor here. So every connection is accepted and then checked: three
//! quarters of the slots are for all addresses, the rest only for addresses without a connection. A connection in one of the
//! latter may evict another, in this order: an idle one, one without a complete request, and finally the oldest of the address
//! with the most connections. Answers in progress are evicted last.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::meter::{DoorMeter, Turn};

/// Slots of one IPv6 network (/64), in multiples of the limit for an address: a host can use any number of addresses.
const PER_NET: usize = 8;
/// Most connections that are being closed; beyond that no further one is evicted.
const MAX_LEAVING: usize = 128;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    /// Connections in total.
    pub(crate) connections: usize,
    /// Connections of one address.
    pub(crate) per_address: usize,
}

impl Capacity {
    /// Slots available to addresses with connections; above it, slots are scarce.
    fn share(self) -> usize {
        (self.connections / 4 * 3).max(1)
    }
}

/// State of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Between two requests.
    Nothing = 0,
    /// Waiting for its first request, a handshake or a body, or preparing an answer.
    Reading = 1,
    Answering = 2,
}

/// The slots of one listener.
#[derive(Clone)]
pub(crate) struct Places(Arc<Inner>);

struct Inner {
    capacity: Capacity,
    meter: Arc<DoorMeter>,
    /// Counts state changes: the lowest number is the oldest.
    changes: AtomicU64,
    held: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Arc<Seat>>,
    /// Connections of each address, and of each IPv6 network.
    of: HashMap<IpAddr, usize>,
    leaving: usize,
}

struct Seat {
    address: IpAddr,
    net: Option<IpAddr>,
    /// Its state in the two lowest bits, and the number of its last change.
    mark: AtomicU64,
    /// It may finish an answer in progress.
    leave: Notify,
    /// It is closed at once.
    cut: Notify,
}

impl Seat {
    fn doing(&self) -> Doing {
        match self.mark.load(Ordering::Relaxed) & 3 {
            0 => Doing::Nothing,
            1 => Doing::Reading,
            _ => Doing::Answering,
        }
    }
}

/// A slot, released on drop.
pub(crate) struct Place {
    id: u64,
    seat: Arc<Seat>,
    places: Places,
}

impl Place {
    pub(crate) fn does(&self, what: Doing) {
        let change = self.places.0.changes.fetch_add(1, Ordering::Relaxed);
        self.seat.mark.store(change << 2 | what as u64, Ordering::Relaxed);
    }

    /// Whether answers should end their connections.
    pub(crate) fn is_scarce(&self) -> bool {
        self.places.0.held.load(Ordering::Relaxed) >= self.places.0.capacity.share()
    }

    /// Completes once the slot of an idle connection is needed.
    pub(crate) async fn to_leave(&self) {
        self.seat.leave.notified().await;
    }

    /// Completes once the slot of a busy connection is needed.
    pub(crate) async fn cut_off(&self) {
        self.seat.cut.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.places.table();
        match table.open.remove(&self.id) {
            Some(seat) => table.forget(&seat),
            None => table.leaving -= 1,
        }
        self.places.0.held.store(table.open.len(), Ordering::Relaxed);
    }
}

impl Table {
    fn count(&self, key: IpAddr) -> usize {
        self.of.get(&key).copied().unwrap_or(0)
    }

    fn forget(&mut self, seat: &Seat) {
        for key in [Some(seat.address), seat.net].into_iter().flatten() {
            if let Some(count) = self.of.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.of.remove(&key);
                }
            }
        }
    }

    fn oldest(&self, which: impl Fn(&Seat) -> bool) -> Option<u64> {
        let of_these = self.open.iter().filter(|(_, seat)| which(seat));
        of_these.min_by_key(|(_, seat)| seat.mark.load(Ordering::Relaxed) >> 2).map(|(id, _)| *id)
    }

    fn idle(&self, which: impl Fn(&Seat) -> bool) -> Option<u64> {
        self.oldest(|s| s.doing() == Doing::Nothing && which(s))
    }

    /// The connection to evict for an address without one.
    fn for_a_newcomer(&self, which: impl Fn(&Seat) -> bool) -> Option<u64> {
        let reading = || self.oldest(|s| s.doing() == Doing::Reading && which(s));
        let of_most = || {
            let most = self.open.values().filter(|s| which(s)).map(|s| s.address).max_by_key(|a| (self.count(*a), *a))?;
            if self.count(most) < 2 { None } else { self.oldest(|s| s.address == most) }
        };
        self.idle(&which).or_else(reading).or_else(of_most)
    }
}

impl Places {
    pub(crate) fn new(capacity: Capacity, meter: Arc<DoorMeter>) -> Self {
        let (changes, held) = (AtomicU64::new(0), AtomicUsize::new(0));
        Places(Arc::new(Inner { capacity, meter, changes, held, table: Mutex::default() }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot for a connection of this address, or the reason why there is none. `own`: the peer is this machine itself, which
    /// cannot be spoofed; it may be a proxy with many clients, or a simulated rack.
    pub(crate) fn enter(&self, peer: IpAddr, own: bool) -> Result<Place, Turn> {
        let Capacity { connections, per_address, .. } = self.0.capacity;
        let address = peer.to_canonical();
        let net = net_of(address);
        let mut table = self.table();
        let (held, all, share) = (table.count(address), table.open.len(), self.0.capacity.share());
        let fresh = held == 0;
        let find = |table: &Table, which: &dyn Fn(&Seat) -> bool| match fresh {
            true => table.for_a_newcomer(which),
            false => table.idle(which),
        };
        if !own && held >= per_address {
            let out = table.idle(|s| s.address == address).ok_or(Turn::Address);
            self.displace(&mut table, out)?;
        } else if net.is_some_and(|net| table.count(net) >= per_address * PER_NET) {
            let out = find(&table, &|s| s.net == net).ok_or(Turn::Address);
            self.displace(&mut table, out)?;
        } else if all >= if fresh { connections } else { share } {
            let out = find(&table, &|_| true).ok_or(Turn::Full);
            self.displace(&mut table, out)?;
        } else if all >= share
            && let Some(idle) = table.idle(|_| true)
        {
            // Make room for the next one in advance.
            let _ = self.displace(&mut table, Ok(idle));
        }
        let seat = Seat { address, net, mark: AtomicU64::new(0), leave: Notify::new(), cut: Notify::new() };
        let (id, seat) = (table.next, Arc::new(seat));
        table.next += 1;
        for key in [Some(address), net].into_iter().flatten() {
            *table.of.entry(key).or_default() += 1;
        }
        table.open.insert(id, seat.clone());
        self.0.held.store(table.open.len(), Ordering::Relaxed);
        let place = Place { id, seat, places: self.clone() };
        place.does(Doing::Reading);
        Ok(place)
    }

    /// Closes the longest idle connection: descriptors are scarce.
    pub(crate) fn close_one(&self) {
        let mut table = self.table();
        if let Some(idle) = table.idle(|_| true) {
            let _ = self.displace(&mut table, Ok(idle));
        }
    }

    fn displace(&self, table: &mut Table, out: Result<u64, Turn>) -> Result<(), Turn> {
        let id = out.and_then(|id| if table.leaving < MAX_LEAVING { Ok(id) } else { Err(Turn::Full) });
        let id = id.inspect_err(|turn| self.0.meter.count(*turn))?;
        let Some(seat) = table.open.remove(&id) else { return Ok(()) };
        table.forget(&seat);
        table.leaving += 1;
        self.0.held.store(table.open.len(), Ordering::Relaxed);
        match seat.doing() {
            Doing::Nothing => {
                self.0.meter.count(Turn::Idle);
                seat.leave.notify_one();
            }
            Doing::Reading => {
                self.0.meter.count(Turn::Unfinished);
                seat.cut.notify_one();
            }
            Doing::Answering => {
                self.0.meter.count(Turn::Answering);
                seat.cut.notify_one();
            }
        }
        Ok(())
    }
}

/// The /64 of an IPv6 address, as the key of a network.
fn net_of(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    // Never a peer's address: host addresses have a non-zero suffix.
    Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)))
}

#[cfg(test)]
mod tests;
