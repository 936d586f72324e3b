//! The number of connections of each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The addresses that have connections, so at most as many as there are connections.
#[derive(Clone)]
pub(crate) struct Peers {
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The slot of a connection, released when dropped.
pub(crate) struct Slot {
    peers: Peers,
    address: IpAddr,
}

impl Peers {
    pub(crate) fn new(most: usize) -> Self {
        Peers { most, open: Arc::default() }
    }

    /// `None` if the address already has the maximum.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Slot> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Slot { peers: self.clone(), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.peers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_address_and_released() {
        let peers = Peers::new(2);
        let (a, b): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let (one, two) = (peers.enter(a).unwrap(), peers.enter(a).unwrap());
        assert!(peers.enter(a).is_none() && peers.enter(b).is_some());
        drop(one);
        assert!(peers.enter(a).is_some());
        drop(two);
        assert!(peers.open.lock().unwrap().is_empty(), "no entry remains for addresses without connections");
    }
}
