//! Ctrl-C and SIGTERM: a flag that every wait checks, so that everything is cleaned up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Polling interval of waits.
pub const TICK: Duration = Duration::from_millis(100);

fn flag() -> &'static Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(|| Arc::new(AtomicBool::new(false)))
}

/// Turns SIGINT, SIGTERM and SIGHUP into the flag. A second signal ends the program at once.
pub fn install() -> Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(flag())).context("watching signals")?;
        signal_hook::flag::register(signal, Arc::clone(flag())).context("watching signals")?;
    }
    Ok(())
}

pub fn requested() -> bool {
    flag().load(Ordering::Relaxed)
}

/// An error when somebody asked the run to stop.
pub fn check() -> Result<()> {
    if requested() {
        bail!("stopped by a signal");
    }
    Ok(())
}

/// Asks `ready` every tick until it gives a value; an error after `limit`, or when stopped.
pub fn wait_for<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        check()?;
        if let Some(value) = ready()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("waited {} s for {what}", limit.as_secs());
        }
        std::thread::sleep(TICK);
    }
}

/// Sleeps for `time`; an error as soon as somebody asks the run to stop.
pub fn sleep(time: Duration) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        check()?;
        std::thread::sleep(TICK.min(time.saturating_sub(start.elapsed())));
    }
    check()
}
