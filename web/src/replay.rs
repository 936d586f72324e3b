//! Answers to requests with an idempotency key, kept for a day so that a repeated request gets the same answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use cluster_seed::ids::Digest;

/// Seconds that an answer is kept.
pub(crate) const KEPT: u64 = 24 * 3_600;
/// Most keys kept, and most of one user. Beyond that the oldest answer is forgotten, of this user first: nobody pushes out what others
/// rely on.
pub(crate) const MAX_KEYS: usize = 1_000;
pub(crate) const MAX_OF_USER: usize = 200;
/// Largest answer that is kept, in bytes.
pub(crate) const MAX_ANSWER: u64 = 64 << 10;

/// A user's key.
pub(crate) type KeyOf = (String, String);

/// An answer that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

struct Entry {
    /// Of method, path and body.
    request: Digest,
    /// By the steady clock.
    at: u64,
    /// `None` while the request is being carried out.
    answer: Option<Kept>,
}

/// What is known of a key.
pub(crate) enum Known {
    /// Nothing: carry the request out and [`Turn::keep`] its answer.
    New(Turn),
    Answered(Kept),
    /// The same request is being carried out.
    Running,
    /// The key was used for another request.
    Other,
}

#[derive(Default)]
pub(crate) struct Replay {
    entries: Mutex<HashMap<KeyOf, Entry>>,
}

/// The right to carry a request out. Without an answer worth keeping the key is free again.
pub(crate) struct Turn {
    replay: Arc<Replay>,
    key: KeyOf,
    kept: bool,
}

impl Replay {
    fn lock(&self) -> MutexGuard<'_, HashMap<KeyOf, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `now` is in seconds of the steady clock.
    pub(crate) fn begin(self: &Arc<Self>, key: KeyOf, request: Digest, now: u64) -> Known {
        let mut entries = self.lock();
        entries.retain(|_, e| now.saturating_sub(e.at) < KEPT);
        if let Some(held) = entries.get(&key) {
            return match &held.answer {
                _ if held.request != request => Known::Other,
                Some(kept) => Known::Answered(kept.clone()),
                None => Known::Running,
            };
        }
        let of_user = entries.keys().filter(|(user, _)| *user == key.0).count() >= MAX_OF_USER;
        if of_user || entries.len() >= MAX_KEYS {
            let answered = entries.iter().filter(|((user, _), e)| e.answer.is_some() && (!of_user || *user == key.0));
            let oldest = answered.min_by_key(|(_, e)| e.at).map(|(k, _)| k.clone());
            if let Some(oldest) = oldest {
                entries.remove(&oldest);
            }
        }
        entries.insert(key.clone(), Entry { request, at: now, answer: None });
        Known::New(Turn { replay: self.clone(), key, kept: false })
    }
}

impl Turn {
    pub(crate) fn keep(mut self, answer: Kept) {
        if let Some(entry) = self.replay.lock().get_mut(&self.key) {
            entry.answer = Some(answer);
        }
        self.kept = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.kept {
            self.replay.lock().remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> KeyOf {
        ("ada".to_owned(), format!("key-{n}"))
    }

    /// One of as many users as the answers of all have room for.
    fn key_of_many(n: usize) -> KeyOf {
        (format!("user-{}", n % (MAX_KEYS / MAX_OF_USER + 1)), format!("key-{n}"))
    }

    fn turn_of(replay: &Arc<Replay>, key: KeyOf, now: u64) -> Turn {
        match replay.begin(key.clone(), Digest([1; 32]), now) {
            Known::New(turn) => turn,
            _ => panic!("{key:?} is known"),
        }
    }

    fn turn(replay: &Arc<Replay>, n: usize, now: u64) -> Turn {
        turn_of(replay, key(n), now)
    }

    fn kept() -> Kept {
        Kept { status: 200, body: Bytes::from_static(b"{}") }
    }

    #[test]
    fn a_key_answers_the_same_for_a_day() {
        let replay = Arc::new(Replay::default());
        turn(&replay, 1, 100).keep(kept());
        let again = |request, now| replay.begin(key(1), Digest([request; 32]), now);
        assert!(matches!(again(1, 100 + KEPT - 1), Known::Answered(k) if k == kept()));
        assert!(matches!(again(2, 101), Known::Other));
        assert!(matches!(replay.begin(("eve".to_owned(), "key-1".to_owned()), Digest([1; 32]), 101), Known::New(_)));
        assert!(matches!(again(1, 100 + KEPT), Known::New(_)));
    }

    #[test]
    fn a_request_that_is_running_is_not_begun_twice_and_a_failed_one_may_be_repeated() {
        let replay = Arc::new(Replay::default());
        let running = turn(&replay, 1, 1);
        assert!(matches!(replay.begin(key(1), Digest([1; 32]), 1), Known::Running));
        drop(running);
        drop(turn(&replay, 1, 1));
    }

    #[test]
    fn the_oldest_answer_goes_first() {
        let replay = Arc::new(Replay::default());
        for n in 0..=MAX_KEYS {
            turn_of(&replay, key_of_many(n), 1 + n as u64).keep(kept());
        }
        assert_eq!(replay.lock().len(), MAX_KEYS);
        assert!(matches!(replay.begin(key_of_many(1), Digest([1; 32]), 2_000), Known::Answered(_)));
        assert!(matches!(replay.begin(key_of_many(0), Digest([1; 32]), 2_000), Known::New(_)));
    }

    #[test]
    fn a_user_with_many_keys_pushes_out_own_answers_only() {
        let replay = Arc::new(Replay::default());
        let other = ("eve".to_owned(), "key-1".to_owned());
        turn_of(&replay, other.clone(), 1).keep(kept());
        for n in 0..2 * MAX_KEYS {
            turn(&replay, n, 2 + n as u64).keep(kept());
        }
        assert_eq!(replay.lock().len(), MAX_OF_USER + 1);
        assert!(matches!(replay.begin(other, Digest([1; 32]), 5_000), Known::Answered(_)));
        assert!(matches!(replay.begin(key(2 * MAX_KEYS - 1), Digest([1; 32]), 5_000), Known::Answered(_)));
    }
}
