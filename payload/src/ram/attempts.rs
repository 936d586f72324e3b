//! Limits how often a machine retries enrollment: growing pauses, and after a few failed codes a key press.
//!
//! Every guess at a code uses up one of these attempts. Pure: the caller does the waiting.

use std::time::Duration;

/// Pause after the first failure; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(10);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Failed codes after which a person has to press a key.
pub const CODES: u32 = 5;

/// How an attempt without approval ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No code was shown: the seed does not respond, refuses, or belongs to another site.
    BeforeTheCode,
    /// A code was shown and expired, so nobody guessed at it.
    Unused,
    /// A code was shown, and the attempt counts as a possible guess.
    Code,
}

/// What to do before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Pause(Duration),
    /// Wait for a key press on a console. If there is no console, pause this long.
    Key(Duration),
}

/// Counts failures since the start, or since the last key press.
#[derive(Debug, Default)]
pub struct Attempts {
    pauses: u32,
    codes: u32,
}

impl Attempts {
    pub fn failed(&mut self, failure: Failure) -> Next {
        if failure == Failure::BeforeTheCode {
            return Next::Pause(FIRST);
        }
        let pause = 2u32.checked_pow(self.pauses).and_then(|n| FIRST.checked_mul(n)).map_or(LONGEST, |p| p.min(LONGEST));
        self.pauses = self.pauses.saturating_add(1);
        if failure == Failure::Code {
            self.codes = self.codes.saturating_add(1);
        }
        if self.codes >= CODES { Next::Key(LONGEST) } else { Next::Pause(pause) }
    }

    /// Codes that failed so far.
    pub fn codes(&self) -> u32 {
        self.codes
    }

    /// A person pressed a key.
    pub fn someone_is_here(&mut self) {
        *self = Attempts::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// Attempts within a day if each fails at once; `key` is the time until a key is pressed, `None` without a console.
    fn within_a_day(failure: Failure, key: Option<Duration>) -> u32 {
        let (mut attempts, mut now, mut count) = (Attempts::default(), Duration::ZERO, 0);
        while now < DAY {
            count += 1;
            now += match attempts.failed(failure) {
                Next::Pause(pause) => pause,
                Next::Key(pause) => {
                    let Some(key) = key else {
                        now += pause;
                        continue;
                    };
                    attempts.someone_is_here();
                    key
                }
            };
        }
        count
    }

    #[test]
    fn pauses_double_from_ten_seconds_to_a_quarter_of_an_hour() {
        let mut attempts = Attempts::default();
        let seconds: Vec<u64> = (0..10)
            .map(|_| match attempts.failed(Failure::Unused) {
                Next::Pause(pause) => pause.as_secs(),
                Next::Key(_) => panic!("nobody guessed"),
            })
            .collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 320, 640, 900, 900, 900]);
        attempts.pauses = u32::MAX;
        assert_eq!(attempts.failed(Failure::Unused), Next::Pause(LONGEST));
        assert_eq!(attempts.failed(Failure::BeforeTheCode), Next::Pause(FIRST));
    }

    #[test]
    fn after_five_codes_a_key_press_is_required() {
        let mut attempts = Attempts::default();
        for _ in 1..CODES {
            assert!(matches!(attempts.failed(Failure::Code), Next::Pause(_)));
            attempts.failed(Failure::BeforeTheCode);
            attempts.failed(Failure::Unused);
        }
        assert_eq!((attempts.failed(Failure::Code), attempts.codes()), (Next::Key(LONGEST), 5));
        assert_eq!(attempts.failed(Failure::Code), Next::Key(LONGEST));
        attempts.someone_is_here();
        assert_eq!(attempts.failed(Failure::Code), Next::Pause(FIRST));
    }

    #[test]
    fn few_codes_can_be_guessed_per_day() {
        // No key is pressed: the machine waits.
        assert_eq!(within_a_day(Failure::Code, Some(DAY)), 5);
        // No console: one code every 15 minutes.
        assert_eq!(within_a_day(Failure::Code, None), 100);
        // Codes that expire: only the pauses apply.
        assert_eq!(within_a_day(Failure::Unused, Some(DAY)), 102);
    }
}
