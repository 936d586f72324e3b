//! Passes machines heard from outside DHCP to the lease thread.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use cluster_seed::ids::Mac;

/// Most queued addresses; further ones are dropped and queued again when next heard.
const MAX_WAITING: usize = 4_096;

/// Filled by other servers that hear from a machine, drained by the DHCP server of its interface.
#[derive(Debug, Default)]
pub struct Presence {
    some: AtomicBool,
    waiting: Mutex<(HashSet<Ipv4Addr>, Vec<Mac>)>,
}

impl Presence {
    /// A machine fetched its loader from this address, or made a TCP request from it: neither is possible with a spoofed
    /// address.
    pub fn heard(&self, ip: Ipv4Addr) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.0.len() < MAX_WAITING {
            waiting.0.insert(ip);
            self.some.store(true, Ordering::Release);
        }
    }

    /// Marks these machines as known. Has to be repeated periodically.
    pub fn known(&self, machines: Vec<Mac>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.1 = machines;
        self.some.store(true, Ordering::Release);
    }

    /// Takes everything queued since the last call.
    pub(crate) fn take(&self) -> (HashSet<Ipv4Addr>, Vec<Mac>) {
        if !self.some.swap(false, Ordering::Acquire) {
            return Default::default();
        }
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
