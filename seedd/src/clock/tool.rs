//! Queries chrony, and sets the clocks of this machine.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use cluster_seed::time::{Tracking, parse_tracking};
use host::tool::Tool;
use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use site::hint::Hint as _;

const LIMIT: Duration = Duration::from_secs(5);

/// The status of chrony on this machine; `None` without chrony.
pub fn tracking() -> Option<Tracking> {
    let output = Tool::new("chronyc").args(["-n", "-c", "tracking"]).timeout(LIMIT).run().ok()?;
    parse_tracking(&output.text())
}

/// Sets the system clock, in Unix milliseconds, and the hardware clock if this process may.
///
/// # Errors
/// Without CAP_SYS_TIME, with a hint; then nothing is changed.
pub fn set(clock_ms: u64) -> Result<()> {
    let seconds = i64::try_from(clock_ms / 1000).context("reading the time")?;
    let nanos = i64::try_from(clock_ms % 1000 * 1_000_000).context("reading the time")?;
    match clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(seconds, nanos)) {
        Ok(()) => {}
        Err(Errno::EPERM) => {
            return Err(anyhow!("the seed may not set this machine's clock"))
                .hint("it needs CAP_SYS_TIME; set the clock of this machine by its own means (date -s)");
        }
        Err(e) => return Err(e).context("setting the clock"),
    }
    if let Err(error) = Tool::new("hwclock").args(["--systohc", "--utc"]).timeout(LIMIT).run() {
        tracing::warn!(error = %error, "the hardware clock was not set; it is wrong again after a power cut");
    }
    Ok(())
}
