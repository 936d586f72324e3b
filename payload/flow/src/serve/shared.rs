//! What the daemon writes and the answering threads read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::book::Book;
use crate::report::Header;

#[derive(Default)]
pub(super) struct State {
    pub(super) header: Header,
    pub(super) book: Book,
}

pub(super) type Shared = Arc<Mutex<State>>;

/// A thread that panicked does not stop the others.
pub(super) fn locked(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
