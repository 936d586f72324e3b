//! One worker pool for short, bounded work: a slice of items on a few threads that end with it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Threads that may compute at once: one per core.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Runs `work` on every item, on at most `threads` threads; results come back in the order of the items.
///
/// The first error stops the work: items not yet started are skipped. A panic in `work` is propagated.
///
/// # Errors
/// The first error in time; later ones are dropped.
pub fn try_each<T: Sync, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(usize, &T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    match work(at, item) {
                        Ok(result) => done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result)),
                        Err(error) => {
                            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                            return next.store(items.len(), Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// As [`try_each`], for work that cannot fail.
pub fn each<T: Sync, R: Send>(threads: usize, items: &[T], work: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    match try_each(threads, items, |at, item| Ok::<_, std::convert::Infallible>(work(at, item))) {
        Ok(results) => results,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..1000).collect();
        assert_eq!(each(4, &items, |at, n| n * 2 + at as u64), items.iter().map(|n| n * 3).collect::<Vec<_>>());
        assert!(each(0, &[] as &[u8], |_, n| *n).is_empty());
    }

    #[test]
    fn the_first_error_ends_the_work() {
        let started = AtomicUsize::new(0);
        let items: Vec<usize> = (0..10_000).collect();
        let result = try_each(2, &items, |at, _| {
            started.fetch_add(1, Ordering::Relaxed);
            if at == 3 { Err("the fourth") } else { Ok(()) }
        });
        assert_eq!(result, Err("the fourth"));
        // One thread at a time: items after the failed one are never started.
        started.store(0, Ordering::Relaxed);
        let single = try_each(1, &items, |at, _| {
            started.fetch_add(1, Ordering::Relaxed);
            if at == 3 { Err(at) } else { Ok(()) }
        });
        assert_eq!((single, started.into_inner()), (Err(3), 4));
    }
}
