//! Progress reports and stop requests of long jobs.

/// Receiver of a job's progress. Implemented by the terminal (seedd's CLI), the daemon's jobs and tests.
pub trait Progress: Send + Sync {
    /// A step begins; `total` is its size in bytes or items, if known.
    fn begin(&self, step: &str, total: Option<u64>);
    /// `n` more bytes or items of the step are done.
    fn advance(&self, n: u64);
    /// The step is done.
    fn end(&self);
    /// A line for the user.
    fn say(&self, line: &str);
    /// True once a stop was requested. Long loops check it and return early, leaving nothing half-written.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Discards all reports.
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _step: &str, _total: Option<u64>) {}
    fn advance(&self, _n: u64) {}
    fn end(&self) {}
    fn say(&self, _line: &str) {}
}
