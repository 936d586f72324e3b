//! The last packets of each machine, in memory, for the download on its page. They are lost when the process ends.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cluster_seed::ids::Mac;

/// Maximum packets and bytes kept for one machine.
pub const MAX_PACKETS: usize = 512;
pub const MAX_BYTES: usize = 128 << 10;
/// Maximum number of machines that hold an address of this seed, and of strangers: a flood of invented machines evicts
/// only strangers. Together at most 80 MiB.
pub const MAX_MACHINES: usize = 512;
pub const MAX_STRANGERS: usize = 128;

/// One captured frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Unix nanoseconds.
    pub at: u64,
    /// Length on the wire; `bytes` may be less.
    pub length: u32,
    pub bytes: Box<[u8]>,
}

#[derive(Debug, Default)]
struct Kept {
    packets: VecDeque<Packet>,
    bytes: usize,
    /// A counter of its last packet: the machine with the lowest is evicted first.
    turn: u64,
}

impl Kept {
    fn push(&mut self, packet: Packet) {
        self.bytes += packet.bytes.len();
        self.packets.push_back(packet);
        while self.packets.len() > MAX_PACKETS || self.bytes > MAX_BYTES {
            let Some(old) = self.packets.pop_front() else { break };
            self.bytes -= old.bytes.len();
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    machines: HashMap<Mac, Kept>,
    strangers: HashMap<Mac, Kept>,
    turn: u64,
}

/// Shared by the sniffer, which writes, and the web interface, which reads.
#[derive(Debug, Default)]
pub struct Ring(Mutex<Inner>);

fn make_room(map: &mut HashMap<Mac, Kept>, limit: usize) {
    while map.len() >= limit {
        let Some(oldest) = map.iter().min_by_key(|(_, k)| k.turn).map(|(mac, _)| *mac) else { return };
        map.remove(&oldest);
    }
}

impl Ring {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a packet. `granted`: it shows that the machine holds an address of this seed, so it is no longer a stranger.
    pub fn push(&self, mac: Mac, granted: bool, packet: Packet) {
        let inner = &mut *self.lock();
        inner.turn += 1;
        let turn = inner.turn;
        if granted && !inner.machines.contains_key(&mac) {
            make_room(&mut inner.machines, MAX_MACHINES);
            let before = inner.strangers.remove(&mac).unwrap_or_default();
            inner.machines.insert(mac, before);
        }
        let kept = match inner.machines.get_mut(&mac) {
            Some(kept) => kept,
            None => {
                if !inner.strangers.contains_key(&mac) {
                    make_room(&mut inner.strangers, MAX_STRANGERS);
                }
                inner.strangers.entry(mac).or_default()
            }
        };
        kept.turn = turn;
        kept.push(packet);
    }

    /// Oldest first.
    pub fn of(&self, mac: Mac) -> Vec<Packet> {
        let inner = self.lock();
        let kept = inner.machines.get(&mac).or_else(|| inner.strangers.get(&mac));
        kept.map(|k| k.packets.iter().cloned().collect()).unwrap_or_default()
    }

    pub fn count(&self, mac: Mac) -> u32 {
        let inner = self.lock();
        let kept = inner.machines.get(&mac).or_else(|| inner.strangers.get(&mac));
        kept.map_or(0, |k| u32::try_from(k.packets.len()).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(at: u64, len: usize) -> Packet {
        Packet { at, length: len as u32, bytes: vec![0; len].into() }
    }

    fn mac(n: u32) -> Mac {
        let [a, b, c, d] = n.to_be_bytes();
        Mac([2, 0, a, b, c, d])
    }

    #[test]
    fn a_machine_keeps_its_newest_packets_within_both_limits() {
        let ring = Ring::default();
        for at in 0..MAX_PACKETS as u64 + 1 {
            ring.push(mac(1), true, packet(at, 60));
        }
        assert_eq!((ring.count(mac(1)) as usize, ring.of(mac(1))[0].at), (MAX_PACKETS, 1));
        for at in 0..200 {
            ring.push(mac(2), true, packet(at, 1500));
        }
        assert_eq!(ring.count(mac(2)) as usize, MAX_BYTES / 1500);
        assert_eq!(ring.of(mac(2)).last().unwrap().at, 199);
        assert!(ring.of(mac(3)).is_empty());
    }

    #[test]
    fn a_flood_of_strangers_pushes_out_strangers_only() {
        let ring = Ring::default();
        ring.push(mac(1), false, packet(1, 60));
        ring.push(mac(1), true, packet(2, 60));
        for n in 2..50_000 {
            ring.push(mac(n), false, packet(3, 60));
        }
        assert_eq!(ring.of(mac(1)).len(), 2, "what it sent as a stranger is kept, too");
        assert_eq!(ring.lock().strangers.len(), MAX_STRANGERS);
        assert_eq!(ring.count(mac(49_999)), 1);
        for n in 0..2 * MAX_MACHINES as u32 {
            ring.push(mac(100_000 + n), true, packet(4, 60));
        }
        assert_eq!(ring.lock().machines.len(), MAX_MACHINES);
    }
}
