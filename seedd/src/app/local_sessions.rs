//! The tokens of sessions on this machine, in memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use cluster_seed::ids::Digest;
use subtle::ConstantTimeEq as _;

/// Lifetime in seconds. A command that runs longer (`--watch`) asks for another one.
const SECONDS: u64 = 15 * 60;
/// Most sessions at a time; the oldest ends first.
const MAX_SESSIONS: usize = 64;

/// Digests of tokens, and until when they are valid by the steady clock; oldest first.
#[derive(Default)]
pub struct LocalSessions(Mutex<VecDeque<(Digest, u64)>>);

impl LocalSessions {
    pub fn add(&self, token: &str, now: u64) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|(_, until)| *until > now);
        while held.len() >= MAX_SESSIONS {
            held.pop_front();
        }
        held.push_back((digest(token), now.saturating_add(SECONDS)));
    }

    pub fn has(&self, token: &str, now: u64) -> bool {
        let wanted = digest(token);
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().any(|(digest, until)| *until > now && bool::from(digest.0.as_slice().ct_eq(wanted.0.as_slice())))
    }
}

fn digest(token: &str) -> Digest {
    Digest::of(format!("kubedos:local-session:v1\0{token}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_end_with_their_time_and_the_oldest_makes_room() {
        let all = LocalSessions::default();
        all.add("first", 100);
        assert!(all.has("first", 100 + SECONDS - 1) && !all.has("first", 100 + SECONDS) && !all.has("second", 100));
        (1..MAX_SESSIONS).for_each(|n| all.add(&n.to_string(), 101));
        assert!(all.has("first", 102));
        all.add("one more", 102);
        assert!(!all.has("first", 102) && all.has("1", 102) && all.has("one more", 102));
    }
}
