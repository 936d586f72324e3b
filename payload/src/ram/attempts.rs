//! How often a machine may start over: pauses that grow, and after a few codes that led nowhere, a person.
//!
//! Every code that somebody could guess at costs the guesser one of these attempts. Pure: the caller waits.

use std::time::Duration;

/// Pause after the first failure; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(10);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Failed codes after which somebody has to press a key.
pub const CODES: u32 = 5;

/// How an attempt ended that did not lead to an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No code was shown: the seed does not respond, refuses, or is another site's.
    BeforeTheCode,
    /// A code was shown, and nobody can have guessed at it: it expired.
    Unused,
    /// A code was shown, and this attempt is used up.
    Code,
}

/// What to do before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Pause(Duration),
    /// Wait for a key on a console. Where none can be pressed, pause this long.
    Key(Duration),
}

/// Counts failures since the start, or since a person was there.
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

    /// Attempts within a day, where each fails at once; `key` is what pressing a key takes, `None` where none can be pressed.
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
    fn after_five_codes_somebody_has_to_come() {
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
    fn a_day_has_few_codes_to_guess_at() {
        // Nobody comes: the machine waits.
        assert_eq!(within_a_day(Failure::Code, Some(DAY)), 5);
        // No console to press a key on: a code each quarter of an hour.
        assert_eq!(within_a_day(Failure::Code, None), 100);
        // Codes that nobody can guess at: the pauses alone.
        assert_eq!(within_a_day(Failure::Unused, Some(DAY)), 102);
    }
}
