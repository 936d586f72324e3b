//! Output of the lab on the terminal.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Without a terminal, at most one progress line in this time.
const QUIET: Duration = Duration::from_secs(20);
/// Width of a progress line on a terminal.
const WIDTH: usize = 100;

struct Screen {
    start: Instant,
    terminal: bool,
    /// Something is on the line that a newline has not ended yet.
    open: bool,
    last: Option<Instant>,
}

fn screen() -> &'static Mutex<Screen> {
    static SCREEN: OnceLock<Mutex<Screen>> = OnceLock::new();
    let new = || Screen { start: Instant::now(), terminal: std::io::stdout().is_terminal(), open: false, last: None };
    SCREEN.get_or_init(|| Mutex::new(new()))
}

fn with(act: impl FnOnce(&mut Screen)) {
    if let Ok(mut screen) = screen().lock() {
        act(&mut screen);
        let _ = std::io::stdout().flush();
    }
}

/// A line that stays, with the seconds since the start.
pub fn line(text: &str) {
    with(|s| {
        if s.open {
            print!("\r\x1b[K");
            s.open = false;
        }
        println!("[{:7.1}] {text}", s.start.elapsed().as_secs_f64());
    });
}

/// Text as it is, for tables.
pub fn plain(text: &str) {
    with(|s| {
        if s.open {
            print!("\r\x1b[K");
            s.open = false;
        }
        println!("{text}");
    });
}

/// A line that the next one replaces; on a pipe it is printed now and then.
pub fn progress(text: &str) {
    with(|s| {
        let cut: String = text.chars().filter(|c| !c.is_control()).take(WIDTH).collect();
        if s.terminal {
            print!("\r\x1b[K          {cut}");
            s.open = true;
        } else if s.last.is_none_or(|at| at.elapsed() >= QUIET) {
            s.last = Some(Instant::now());
            println!("[{:7.1}]   {cut}", s.start.elapsed().as_secs_f64());
        }
    });
}

/// `83 s` or `4 min 10 s`.
pub fn seconds(duration: Duration) -> String {
    let s = duration.as_secs();
    if s < 100 { format!("{s} s") } else { format!("{} min {:02} s", s / 60, s % 60) }
}

/// Bytes as MB (10^6) with one digit.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_well() {
        for (s, want) in [(0, "0 s"), (99, "99 s"), (100, "1 min 40 s"), (605, "10 min 05 s")] {
            assert_eq!(seconds(Duration::from_secs(s)), want);
        }
        assert_eq!(megabytes(1_250_000), "1.2 MB");
    }
}
