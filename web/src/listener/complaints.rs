//! Rate limit for log lines: one line per minute for a failure that may repeat several times per second.

use tokio::time::Instant;

use crate::limits::COMPLAIN_EVERY;

#[derive(Debug, Default)]
pub(crate) struct Complaints {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    /// Counts a failure; returns the number to log, if a line is due.
    pub(crate) fn say(&mut self, now: Instant) -> Option<u64> {
        self.unsaid += 1;
        if self.last.is_some_and(|last| now.duration_since(last) < COMPLAIN_EVERY) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_logged_once_a_minute_with_their_number() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let mut told = Vec::new();
        for fifth in 0..=600u32 {
            let now = start + COMPLAIN_EVERY / 300 * fifth;
            told.extend(complaints.say(now).map(|times| (fifth, times)));
        }
        assert_eq!(told, [(0, 1), (300, 300), (600, 300)]);
    }
}
