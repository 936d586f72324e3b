//! How long work tells how far it is, and how it is asked to stop.

/// What a long job reports to. Implemented by the terminal (seedd's CLI), by the daemon's job table and by tests.
pub trait Progress: Send + Sync {
    /// A step begins; `total` is its size in bytes or items where it is known.
    fn begin(&self, step: &str, total: Option<u64>);
    /// `n` more bytes or items of the step are done.
    fn advance(&self, n: u64);
    /// The step is done.
    fn end(&self);
    /// One line a person should see.
    fn say(&self, line: &str);
    /// True once the work was asked to stop. Long loops look at it and return early, leaving nothing half-written.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Reports to nobody.
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _step: &str, _total: Option<u64>) {}
    fn advance(&self, _n: u64) {}
    fn end(&self) {}
    fn say(&self, _line: &str) {}
}
