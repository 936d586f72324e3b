//! Who was heard of outside DHCP, on its way to the thread that keeps the leases.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use cluster_seed::ids::Mac;

/// Addresses that may wait; more are forgotten, and heard of again.
const MAX_WAITING: usize = 4_096;

/// Filled by whoever hears a machine, emptied by the DHCP server of its interface.
#[derive(Debug, Default)]
pub struct Presence {
    some: AtomicBool,
    waiting: Mutex<(HashSet<Ipv4Addr>, Vec<Mac>)>,
}

impl Presence {
    /// A machine fetched its loader from this address, or made a request from it over TCP: neither can be done under an address
    /// that is not one's own.
    pub fn heard(&self, ip: Ipv4Addr) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.0.len() < MAX_WAITING {
            waiting.0.insert(ip);
            self.some.store(true, Ordering::Release);
        }
    }

    /// These machines are known, whatever they do. To be called again now and then.
    pub fn known(&self, machines: Vec<Mac>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.1 = machines;
        self.some.store(true, Ordering::Release);
    }

    /// What came since the last call.
    pub(crate) fn take(&self) -> (HashSet<Ipv4Addr>, Vec<Mac>) {
        if !self.some.swap(false, Ordering::Acquire) {
            return Default::default();
        }
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
