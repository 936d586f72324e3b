//! Counts answers to machines over HTTP, by kind, and refused connections: shared by the listeners and the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Kinds of requests, by the first part of the path; `other` is the rest.
pub const KINDS: [&str; 7] = ["boot", "darksite", "chunks", "artifacts", "media", "api", "other"];
const STATUSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

#[derive(Debug, Default)]
struct Row {
    statuses: [AtomicU64; STATUSES.len()],
    bytes: AtomicU64,
}

/// Why a connection was refused or closed early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The address or its network has reached its limit, and none of its connections is idle.
    Address,
    /// All slots are in use.
    Full,
    /// It was idle, and its slot was needed.
    Idle,
    /// It had not sent a complete request, and its slot was needed.
    Unfinished,
    /// An answer was in progress, but its slot was needed: its address held more connections than any other.
    Answering,
    /// The system had no descriptor or memory for it.
    System,
}

impl Turn {
    pub const ALL: [Turn; 6] = [Turn::Address, Turn::Full, Turn::Idle, Turn::Unfinished, Turn::Answering, Turn::System];

    /// The stable name, used as a metric label.
    pub fn name(self) -> &'static str {
        match self {
            Turn::Address => "address",
            Turn::Full => "full",
            Turn::Idle => "idle",
            Turn::Unfinished => "unfinished",
            Turn::Answering => "answering",
            Turn::System => "system",
        }
    }
}

/// Counts refused and closed connections of a listener.
#[derive(Debug, Default)]
pub struct DoorMeter([AtomicU64; Turn::ALL.len()]);

impl DoorMeter {
    pub fn count(&self, turn: Turn) {
        self.0[turn as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self, turn: Turn) -> u64 {
        self.0[turn as usize].load(Ordering::Relaxed)
    }
}

/// Counters without locks.
#[derive(Debug, Default)]
pub struct HttpMeter([Row; KINDS.len()], Arc<DoorMeter>);

impl HttpMeter {
    /// Of the machines' listener.
    pub fn door(&self) -> &Arc<DoorMeter> {
        &self.1
    }

    /// Counts an answer to a request for `path` with a body of `bytes`.
    pub fn answered(&self, path: &str, status: u16, bytes: u64) {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or("");
        let other = KINDS.len() - 1;
        let row = &self.0[KINDS[..other].iter().position(|k| *k == first).unwrap_or(other)];
        let class = usize::from(status / 100).clamp(2, 5) - 2;
        row.statuses[class].fetch_add(1, Ordering::Relaxed);
        row.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// (kind, class of status, answers)
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let of = |(kind, row): (&&'static str, &Row)| {
            let (kind, counts) = (*kind, row.statuses.each_ref().map(|n| n.load(Ordering::Relaxed)));
            STATUSES.into_iter().zip(counts).map(move |(status, n)| (kind, status, n))
        };
        KINDS.iter().zip(&self.0).flat_map(of)
    }

    /// (kind, bytes of bodies)
    pub fn bytes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS.iter().zip(&self.0).map(|(kind, row)| (*kind, row.bytes.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fall_into_their_kind() {
        let meter = HttpMeter::default();
        for (path, status) in
            [("/chunks/ab", 206), ("/darksite", 308), ("/", 404), ("/chunksx/ab", 404), ("/api/v1/peers", 503), ("x", 100)]
        {
            meter.answered(path, status, 10);
        }
        let some: Vec<_> = meter.requests().filter(|r| r.2 > 0).collect();
        assert_eq!(
            some,
            [("darksite", "3xx", 1), ("chunks", "2xx", 1), ("api", "5xx", 1), ("other", "2xx", 1), ("other", "4xx", 2)]
        );
        assert_eq!(meter.bytes().map(|(_, n)| n).sum::<u64>(), 60);
    }
}
