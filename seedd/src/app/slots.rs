//! Places for work that is slow on purpose: hashing a password takes a core for a tenth of a second, opening the operator's
//! key for a whole one. A flood of logins may not take both cores.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Passwords that are hashed at a time.
const HASHES: usize = 2;
/// Of these, how many for addresses from which nobody logged in before.
const STRANGERS: usize = 1;
/// Passphrases that are tried at a time.
const PASSPHRASES: usize = 1;

#[derive(Debug, Default)]
pub struct Slots {
    hashes: AtomicUsize,
    passphrases: AtomicUsize,
}

/// A place, until it is dropped.
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
    /// A place to hash a password; none if all that such an address may have are taken.
    pub fn hash(&self, known: bool) -> Option<Slot<'_>> {
        take(&self.hashes, if known { HASHES } else { STRANGERS })
    }

    /// A place to try the passphrase.
    pub fn passphrase(&self) -> Option<Slot<'_>> {
        take(&self.passphrases, PASSPHRASES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_passwords_at_a_time_and_strangers_leave_one_place() {
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
