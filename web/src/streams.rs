//! How many live pages and exports of the log are open: each holds a connection, and calls into the daemon again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::{LAST_STREAMS, MAX_STREAMS};

/// The streams of each user.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<String, usize>>>);

/// A stream that may be open until this is dropped.
pub(crate) struct OpenStream {
    streams: Streams,
    user: String,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more for this user; `None` if all are open, or only those are left that are for users without one.
    pub(crate) fn open(&self, user: &str) -> Option<OpenStream> {
        let mut held = self.lock();
        let (all, own) = (held.values().sum::<usize>(), held.get(user).copied().unwrap_or(0));
        let most = if own == 0 { MAX_STREAMS } else { MAX_STREAMS - LAST_STREAMS };
        if all >= most {
            return None;
        }
        held.insert(user.to_owned(), own + 1);
        Some(OpenStream { streams: self.clone(), user: user.to_owned() })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut held = self.streams.lock();
        let left = held.get(&self.user).map_or(0, |open| open.saturating_sub(1));
        if left == 0 {
            held.remove(&self.user);
        } else {
            held.insert(self.user.clone(), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_leaves_live_pages_to_others_and_closed_ones_are_free_again() {
        let streams = Streams::default();
        let mut of_ada: Vec<OpenStream> = std::iter::from_fn(|| streams.open("ada")).collect();
        assert_eq!(of_ada.len(), MAX_STREAMS - LAST_STREAMS);
        let others: Vec<OpenStream> = (0..LAST_STREAMS).map(|n| streams.open(&format!("user-{n}")).unwrap()).collect();
        assert!(streams.open("user-0").is_none() && streams.open("late").is_none(), "all are open");
        of_ada.pop();
        assert!(streams.open("ada").is_none() && streams.open("late").is_some());
        drop((of_ada, others));
        assert!(streams.lock().is_empty());
        assert!(streams.open("ada").is_some());
    }
}
