//! When a node is checked: rounds on a thread of their own, so that messages to the seed go on meanwhile.

use std::thread::ScopedJoinHandle;
use std::time::Duration;

use cluster_seed::agent::GateCheck;
use host::clock::Stopwatch;

/// Least and most time between two rounds.
const EVERY: Duration = Duration::from_secs(30);
const AT_MOST: Duration = Duration::from_secs(120);
/// In between, checks of a slow machine take at most a third of its time.
const REST: u32 = 2;

/// One round at a time.
#[derive(Default)]
pub struct Rounds<'s> {
    open: Option<(ScopedJoinHandle<'s, Vec<GateCheck>>, Stopwatch)>,
    /// Since the last round, and how long to wait.
    rest: Option<(Stopwatch, Duration)>,
}

impl<'s> Rounds<'s> {
    /// A round is under way.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The open round has ended; [`Rounds::take`] gives its result.
    pub fn is_done(&self) -> bool {
        self.open.as_ref().is_some_and(|(thread, _)| thread.is_finished())
    }

    pub fn is_due(&self) -> bool {
        self.open.is_none() && self.rest.as_ref().is_none_or(|(since, time)| since.elapsed() >= *time)
    }

    /// No round has ended since the start, or since the last [`Rounds::reset`]: what is known of the node is older.
    pub fn is_first(&self) -> bool {
        self.rest.is_none()
    }

    pub fn begin(&mut self, round: ScopedJoinHandle<'s, Vec<GateCheck>>) {
        self.open = Some((round, Stopwatch::start()));
    }

    /// What the round found, once it has ended.
    pub fn take(&mut self) -> Option<Vec<GateCheck>> {
        let (round, clock) = self.open.take_if(|(thread, _)| thread.is_finished())?;
        self.rest = Some((Stopwatch::start(), (clock.elapsed() * REST).clamp(EVERY, AT_MOST)));
        match round.join() {
            Ok(checks) => Some(checks),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// The next round is due at once: what was found before is no longer true.
    pub fn reset(&mut self) {
        self.rest = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn named(name: &str) -> Vec<GateCheck> {
        vec![GateCheck { name: name.to_owned(), ok: true, detail: String::new() }]
    }

    #[test]
    fn one_round_at_a_time_and_then_a_rest() {
        std::thread::scope(|scope| {
            let mut rounds = Rounds::default();
            assert!(rounds.is_due() && rounds.is_first() && !rounds.is_open() && rounds.take().is_none());
            let (send, receive) = channel::<()>();
            rounds.begin(scope.spawn(move || {
                let _ = receive.recv();
                named("etcd")
            }));
            assert!(rounds.is_open() && !rounds.is_due() && !rounds.is_done() && rounds.take().is_none());
            drop(send);
            while !rounds.is_done() {
                std::thread::yield_now();
            }
            assert_eq!(rounds.take(), Some(named("etcd")));
            assert!(!rounds.is_open() && !rounds.is_due() && !rounds.is_first(), "it rests");
            rounds.reset();
            assert!(rounds.is_due() && rounds.is_first());
        });
    }
}
