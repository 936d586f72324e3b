//! Progress: a bar on a terminal, lines elsewhere; and Ctrl-C.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use cluster_seed::progress::Progress;
use host::clock::Stopwatch;
use indicatif::{ProgressBar, ProgressStyle};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

static STOP: AtomicBool = AtomicBool::new(false);

/// Makes SIGINT and SIGTERM request a stop; a second one exits immediately. Call it once.
pub fn watch_signals() -> Result<()> {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the signal watcher")?;
    // Registered here, not on the thread, so that it is effective when this function returns.
    let listening = |kind| {
        let _inside = runtime.enter();
        signal(kind).context("listening for signals")
    };
    let (mut interrupt, mut terminate) = (listening(SignalKind::interrupt())?, listening(SignalKind::terminate())?);
    std::thread::spawn(move || {
        runtime.block_on(async {
            for _ in 0..2 {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                if STOP.swap(true, Ordering::SeqCst) {
                    restore();
                    #[allow(clippy::disallowed_methods, reason = "interrupted twice; the next run removes temporary files")]
                    std::process::exit(130);
                }
                eprintln!("shutting down; press Ctrl-C again to force");
            }
        });
    });
    Ok(())
}

/// Terminal mode before echo was turned off.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Turns echo off while it exists. The terminal is restored afterwards, also if a signal ends the program.
pub struct Silent(());

impl Silent {
    pub fn new() -> Result<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).context("reading the terminal mode")?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let guard = Silent(());
        tcsetattr(&stdin, SetArg::TCSANOW, &silent).context("turning off echo")?;
        Ok(guard)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &before);
    }
}

pub fn stop_asked() -> bool {
    STOP.load(Ordering::SeqCst)
}

/// Time between two lines of progress without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

pub struct Terminal {
    bar: Option<ProgressBar>,
    step: Mutex<Step>,
    done: AtomicU64,
}

struct Step {
    name: String,
    total: Option<u64>,
    began: Stopwatch,
    said: Stopwatch,
}

impl Terminal {
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(ProgressBar::no_length);
        let step = Step { name: String::new(), total: None, began: Stopwatch::start(), said: Stopwatch::start() };
        Terminal { bar, step: Mutex::new(step), done: AtomicU64::new(0) }
    }

    fn line(&self, step: &Step) {
        let done = self.done.load(Ordering::Relaxed);
        match step.total {
            Some(total) if total > 0 => {
                let pace = pace(done, total, step.began.elapsed().as_secs_f64());
                eprintln!("{}: {} % of {}{pace}", step.name, done.saturating_mul(100) / total, count(total));
            }
            _ => eprintln!("{}: {}", step.name, count(done)),
        }
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

/// A number of bytes in a suitable unit.
pub fn amount(n: u64) -> String {
    match n {
        0..1000 => format!("{n} bytes"),
        1000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        _ => format!("{:.1} MB", n as f64 / 1e6),
    }
}

/// Bytes or items: from a mebibyte on it is bytes.
fn count(n: u64) -> String {
    if n >= 1 << 20 { amount(n) } else { n.to_string() }
}

/// Rate and time left, for steps that count bytes.
fn pace(done: u64, total: u64, seconds: f64) -> String {
    if total < 1 << 20 || done == 0 || seconds < 1.0 {
        return String::new();
    }
    let rate = done as f64 / seconds;
    format!(", {:.1} MB/s, {:.0} s left", rate / 1e6, total.saturating_sub(done) as f64 / rate)
}

impl Progress for Terminal {
    fn begin(&self, name: &str, total: Option<u64>) {
        self.done.store(0, Ordering::Relaxed);
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        *step = Step { name: name.to_owned(), total, began: Stopwatch::start(), said: Stopwatch::start() };
        match &self.bar {
            Some(bar) => {
                let big = total.is_some_and(|t| t >= 1 << 20);
                let template = match (total.is_some(), big) {
                    (true, true) => "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
                    (true, false) => "{msg} [{bar:30}] {pos}/{len}",
                    _ => "{spinner} {msg} {elapsed}",
                };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.reset();
                bar.set_message(name.to_owned());
                bar.set_length(total.unwrap_or(0));
                bar.enable_steady_tick(Duration::from_millis(200));
            }
            None => eprintln!("{name} ..."),
        }
    }

    fn advance(&self, n: u64) {
        self.done.fetch_add(n, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc(n);
            return;
        }
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        if step.said.elapsed() >= LINE_EVERY {
            step.said = Stopwatch::start();
            self.line(&step);
        }
    }

    fn end(&self) {
        let step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{}: done in {:.1} s", step.name, step.began.elapsed().as_secs_f64());
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    fn cancelled(&self) -> bool {
        stop_asked()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_shown_only_for_bytes() {
        assert_eq!(pace(50_000_000, 150_000_000, 5.0), ", 10.0 MB/s, 10 s left");
        assert_eq!(pace(3, 10, 5.0), "");
        assert_eq!(pace(0, 150_000_000, 5.0), "");
        assert_eq!(pace(9_000_000, 8_000_000, 3.0), ", 3.0 MB/s, 0 s left");
    }
}
