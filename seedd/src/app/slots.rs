//! Slots for work that is slow by design: hashing a password takes one core for a tenth of a second, opening the operator's
//! key for a full second. A flood of logins must not occupy all cores.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Passwords hashed at a time.
const HASHES: usize = 2;
/// Of these, slots for addresses without an earlier login.
const STRANGERS: usize = 1;
/// Passphrases tried at a time.
const PASSPHRASES: usize = 1;

#[derive(Debug, Default)]
pub struct Slots {
    hashes: AtomicUsize,
    passphrases: AtomicUsize,
}

/// A slot, held until it is dropped.
#[derive(Debug)]
pub struct Slot<'a>(&'a AtomicUsize);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn take(count: &AtomicUsize, most: usize) -> Option<Slot<'_>> {
    let one_more = |held: usize| (held < most).then_some(held + 1);
    count.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok().map(|_| Slot(count))
}

impl Slots {
    /// A slot to hash a password; `None` if all slots for such an address are in use.
    pub fn hash(&self, known: bool) -> Option<Slot<'_>> {
        take(&self.hashes, if known { HASHES } else { STRANGERS })
    }

    /// A slot to try the passphrase.
    pub fn passphrase(&self) -> Option<Slot<'_>> {
        take(&self.passphrases, PASSPHRASES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_passwords_at_a_time_and_strangers_leave_one_slot() {
        let slots = Slots::default();
        let stranger = slots.hash(false).unwrap();
        assert!(slots.hash(false).is_none());
        let known = slots.hash(true).unwrap();
        assert!(slots.hash(true).is_none() && slots.hash(false).is_none());
        assert!(slots.passphrase().is_some(), "unsealing does not wait for logins");
        drop(stranger);
        assert!(slots.hash(false).is_none(), "a known address may hold what a stranger could have");
        drop(known);
        assert!(slots.hash(false).is_some() && slots.hash(true).is_some());
    }
}
