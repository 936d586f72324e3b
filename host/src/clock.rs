//! The clocks of this machine.
//!
//! [`now`] is the wall clock for people and logs, which jumps when it is set. [`steady`] never jumps; all deadlines (sessions,
//! throttling, leases, timeouts of machines) use it.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Unix seconds by the wall clock; 0 before 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Unix milliseconds by the wall clock.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Unix nanoseconds by the wall clock.
pub fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

/// Seconds that start at the wall clock of the first call and then only increase.
///
/// Database rows store deadlines in it. After a restart it starts at the wall clock again, so a stored deadline may seem far
/// away or long past; callers limit such values.
pub fn steady() -> u64 {
    static START: OnceLock<(u64, Instant)> = OnceLock::new();
    let (wall, began) = START.get_or_init(|| (now(), Instant::now()));
    wall.saturating_add(began.elapsed().as_secs())
}

/// Measures durations: for rates, timeouts of waiting loops and progress. Decisions that depend on time take it as an argument
/// instead.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Self {
        Stopwatch(Instant::now())
    }

    /// Time since the start, by a clock that never jumps.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
